"""ApplyResources: all or nothing, in any order, with every finding."""

from __future__ import annotations

import uuid

import pytest

from cellplane.api.model.v1 import cell_pb2, component_pb2, resource_pb2
from cellplane.api.type.v1 import workload_pb2
from tests.service.model.world import (
    ORG,
    ORGANIZATION,
    PAY,
    PUBLIC,
    SHOP,
    SHOP_DEV,
    Api,
    component,
    connection,
    endpoint,
    failure,
    findings,
    platform,
)

CREATED = resource_pb2.AppliedResource.CREATED
UNCHANGED = resource_pb2.AppliedResource.UNCHANGED


@pytest.mark.asyncio
async def test_a_batch_in_any_order_becomes_a_cell(api: Api) -> None:
    """References point at each other within one request, and one revision comes of it."""
    resources = [
        component("web", connections=[connection(f"{SHOP}/components/cart")]),
        component("cart", endpoints=[endpoint()]),
        *reversed(platform()),
    ]

    answer = await api.apply(*resources)
    cell = await api.resolved()

    assert [r.outcome for r in answer.resources] == [CREATED] * len(resources)
    assert cell.revision == 1
    assert [c.component for c in cell.components] == ["cart", "web"]
    assert list(cell.components[0].endpoints[0].cell_callers) == ["web"]
    assert cell.components[1].connections[0].cell.port == 80
    assert cell.cell == SHOP_DEV


@pytest.mark.asyncio
async def test_applying_twice_changes_nothing(shop: Api) -> None:
    """The second time everything is unchanged, and the Cell keeps its revision."""
    resources = [*platform(), component("cart", endpoints=[endpoint()])]
    await shop.apply(*resources)
    before = await shop.resolved()

    answer = await shop.apply(*resources)

    assert [r.outcome for r in answer.resources] == [UNCHANGED] * len(resources)
    assert (await shop.resolved()).revision == before.revision


@pytest.mark.asyncio
async def test_one_mistake_keeps_everything_out(shop: Api) -> None:
    """All findings of all resources come at once, and the good resource is not stored."""
    failed = await failure(
        shop.apply(
            component("good"),
            component(
                "egress",
                endpoints=[endpoint("http", 0), endpoint("http", 81)],
                connections=[connection(f"{SHOP}/components/nobody")],
            ),
            component("x", project=f"{ORG}/projects/none"),
            component("y" * 64),
            component("good"),
        )
    )

    assert failed.code == "INVALID_ARGUMENT"
    assert findings(failed) == {
        ("resources[1].name", "NAME_RESERVED"),
        ("resources[1].endpoints[0].port", "INT32_GTE_LTE"),
        ("resources[1].endpoints[1].endpoint", "NAME_DUPLICATE"),
        ("resources[1].connections[0].component_endpoint.component", "REFERENCE_NOT_FOUND"),
        ("resources[2].name", "REFERENCE_NOT_FOUND"),
        ("resources[3].name", "NAME_INVALID"),
        ("resources[4].name", "NAME_DUPLICATE"),
    }
    listed = component_pb2.ListComponentsRequest(parent=f"{ORG}/projects/-")
    assert not (await shop.components.ListComponents(listed)).components


@pytest.mark.asyncio
async def test_trying_it_out_stores_nothing(shop: Api) -> None:
    """validate_only answers what would happen, and nobody sees any of it."""
    answer = await shop.apply(component("cart"), validate_only=True)

    assert answer.resources[0].outcome == CREATED
    assert (await failure(shop.cell())).code == "NOT_FOUND"


@pytest.mark.asyncio
async def test_a_repeated_request_is_answered_as_the_first_one(shop: Api) -> None:
    """A retry with the same id changes nothing, another request under it is refused."""
    key = str(uuid.uuid4())
    first = await shop.apply(component("cart"), request_id=key)

    again = await shop.apply(component("cart"), request_id=key)
    other = await failure(shop.apply(component("other"), request_id=key))

    assert again == first
    assert findings(other) == {("request_id", "REQUEST_ID_REUSED")}


@pytest.mark.asyncio
async def test_an_update_says_what_was_before(shop: Api) -> None:
    """The answer holds the resource as it was and as it is, with their etags."""
    await shop.apply(component("cart", image="app:1"))

    done = (await shop.apply(component("cart", image="app:2"))).resources[0]

    before, after = component_pb2.Component(), component_pb2.Component()
    done.previous.Unpack(before)
    done.resource.Unpack(after)
    assert done.outcome == resource_pb2.AppliedResource.UPDATED
    assert (before.workload.image, after.workload.image) == ("app:1", "app:2")
    assert before.uid == after.uid
    assert before.etag != after.etag
    assert before.latest_release != after.latest_release
    stale = component("cart", image="app:3", etag=before.etag)
    assert (await failure(shop.apply(stale))).code == "ABORTED"


@pytest.mark.asyncio
async def test_an_endpoint_in_use_neither_goes_nor_hides(shop: Api) -> None:
    """Who removes what others call is told who they are; both changes together are fine."""
    charge = component("charge", project=PAY, endpoints=[endpoint(visible=[ORGANIZATION])])
    target = f"{PAY}/components/charge"
    await shop.apply(charge, component("web", connections=[connection(target)]))

    hidden = await failure(shop.apply(component("charge", project=PAY, endpoints=[endpoint()])))
    removed = await failure(shop.apply(component("charge", project=PAY)))

    assert findings(hidden) == {("resources[0].endpoints", "ENDPOINT_IN_USE")}
    assert f"{SHOP}/components/web" in removed.violations[0].message
    await shop.apply(component("charge", project=PAY), component("web"))


@pytest.mark.asyncio
async def test_another_projects_endpoint_must_be_for_the_organization(shop: Api) -> None:
    """What is not visible is refused when it is applied, with the field's path."""
    await shop.apply(component("charge", project=PAY, endpoints=[endpoint(visible=[PUBLIC])]))

    failed = await failure(
        shop.apply(component("web", connections=[connection(f"{PAY}/components/charge")]))
    )

    assert findings(failed) == {
        ("resources[0].connections[0].component_endpoint.component", "ENDPOINT_NOT_VISIBLE")
    }


@pytest.mark.asyncio
async def test_two_public_endpoints_do_not_share_a_route(shop: Api) -> None:
    """The second of two with the same host and path is refused."""
    await shop.apply(component("web", endpoints=[endpoint(visible=[PUBLIC])]))

    failed = await failure(shop.apply(component("site", endpoints=[endpoint(visible=[PUBLIC])])))

    assert ("resources[0].endpoints[0].path", "ROUTE_COLLISION") in findings(failed)


@pytest.mark.asyncio
async def test_what_never_changes_is_refused(shop: Api) -> None:
    """A component keeps its kind."""
    await shop.apply(component("cart"))

    failed = await failure(
        shop.apply(component("cart", component_kind=workload_pb2.COMPONENT_KIND_WORKER))
    )

    assert findings(failed) == {("resources[0].component_kind", "FIELD_IMMUTABLE")}


@pytest.mark.asyncio
async def test_an_unknown_kind_is_refused(shop: Api) -> None:
    """Only what people write can be applied."""
    failed = await failure(shop.apply(cell_pb2.Cell(name=SHOP_DEV)))

    assert findings(failed) == {("resources[0]", "KIND_UNKNOWN")}
