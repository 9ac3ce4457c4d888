"""Grants: nothing is open until the owner says so, and nothing stays open when it is taken back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cellplane.api.model.v1 import access_grant_pb2, component_pb2, project_pb2, resource_pb2
from tests.service.model.world import (
    DEV,
    GRPC,
    ORGANIZATION,
    PAY,
    PAY_DEV,
    SHOP,
    SHOP_DEV,
    STAGING,
    Api,
    component,
    connection,
    endpoint,
    failure,
    findings,
)

CHARGE = f"{PAY}/components/charge"
Grant = access_grant_pb2.AccessGrant
_FIELD = "connections[0].component_endpoint.endpoint"


def charge() -> component_pb2.Component:
    return component(
        "charge",
        project=PAY,
        endpoints=[endpoint("grpc", 90, [ORGANIZATION], protocol=GRPC, requires_grant=True)],
    )


def cart() -> component_pb2.Component:
    return component("cart", connections=[connection(CHARGE, "grpc")])


async def ask(api: Api, **more: Any) -> access_grant_pb2.AccessGrant:
    grant = Grant(endpoint="grpc", consumer=SHOP, **more)
    return await api.grants.CreateAccessGrant(
        access_grant_pb2.CreateAccessGrantRequest(parent=CHARGE, access_grant=grant)
    )


async def approve(api: Api, name: str, **more: Any) -> access_grant_pb2.AccessGrant:
    request = access_grant_pb2.ApproveAccessGrantRequest(name=name, **more)
    return await api.grants.ApproveAccessGrant(request)


async def revoke(api: Api, name: str) -> access_grant_pb2.AccessGrant:
    return await api.grants.RevokeAccessGrant(access_grant_pb2.RevokeAccessGrantRequest(name=name))


async def problems(api: Api) -> list[tuple[str, str]]:
    return [(p.field, p.reason) for p in (await api.cell()).problems]


async def admitted(api: Api) -> list[str]:
    """Projects that the provider lets in."""
    cell = await api.resolved(PAY_DEV)
    return list(cell.components[0].endpoints[0].organization_callers)


@pytest.mark.asyncio
async def test_a_connection_without_a_grant_is_a_finding_with_a_way_out(shop: Api) -> None:
    """The caller's Cell says what is missing and how to ask; the provider lets nobody in."""
    await shop.apply(charge(), cart())
    cell = await shop.cell()

    assert [(p.field, p.reason) for p in cell.problems] == [(_FIELD, "GRANT_MISSING")]
    assert "cellplane grant ask" in cell.problems[0].message
    assert await admitted(shop) == []


@pytest.mark.asyncio
async def test_approving_opens_and_revoking_closes(shop: Api) -> None:
    """Both sides are resolved again by the decision itself; a pending grant opens nothing."""
    await shop.apply(charge(), cart())
    asked = await ask(shop, reason="we charge cards")
    pending = await problems(shop)
    active = await approve(shop, asked.name, comment="fine")
    opened = await problems(shop), await admitted(shop)
    revision = (await shop.cell(PAY_DEV)).revision
    revoked = await revoke(shop, asked.name)

    assert (asked.state, asked.requester, pending) == (
        Grant.PENDING,
        "admin",
        [(_FIELD, "GRANT_MISSING")],
    )
    assert (active.state, active.decider, active.decision_comment) == (
        Grant.ACTIVE,
        "admin",
        "fine",
    )
    assert opened == ([], ["shop"])
    assert revoked.state == Grant.REVOKED
    assert await problems(shop) == [(_FIELD, "GRANT_MISSING")]
    assert await admitted(shop) == []
    assert (await shop.cell(PAY_DEV)).revision == revision + 1


@pytest.mark.asyncio
async def test_a_grant_holds_in_its_environments_alone(shop: Api) -> None:
    """One for another environment opens nothing here."""
    await shop.apply(charge(), cart())
    elsewhere = await ask(shop, environments=[STAGING])
    await approve(shop, elsewhere.name)
    closed = await problems(shop)
    here = await ask(shop, environments=[STAGING, DEV])
    await approve(shop, here.name)

    assert closed == [(_FIELD, "GRANT_MISSING")]
    assert await problems(shop) == []


@pytest.mark.asyncio
async def test_a_grant_ends_in_time(shop: Api) -> None:
    """When its time is over, a grant is expired and both sides are closed, without any call."""
    await shop.apply(charge(), cart())
    asked = await ask(shop)
    request = resource_pb2.WatchResourcesRequest(kinds=["AccessGrant"])
    stream = shop.resources.WatchResources(request)
    request = access_grant_pb2.ApproveAccessGrantRequest(name=asked.name)
    request.expire_time.FromDatetime(datetime.now(UTC) + timedelta(seconds=2))
    await shop.grants.ApproveAccessGrant(request)
    opened = await problems(shop)

    state = None
    async with asyncio.timeout(60):
        while state != Grant.EXPIRED:
            told = await stream.read()
            grant = Grant()
            if told.change.resource.Unpack(grant):
                state = grant.state
    stream.cancel()

    assert opened == []
    assert await problems(shop) == [(_FIELD, "GRANT_MISSING")]
    assert await admitted(shop) == []


@pytest.mark.asyncio
async def test_a_decision_is_for_states_that_it_fits(shop: Api) -> None:
    """What was denied can be approved, what is revoked is over, a stale etag decides nothing."""
    await shop.apply(charge(), cart())
    asked = await ask(shop)
    denied = await shop.grants.DenyAccessGrant(
        access_grant_pb2.DenyAccessGrantRequest(name=asked.name, comment="why?")
    )
    stale = await failure(approve(shop, asked.name, etag=asked.etag))
    await approve(shop, asked.name, etag=denied.etag)
    await revoke(shop, asked.name)
    over = await failure(approve(shop, asked.name))

    assert denied.state == Grant.DENIED
    assert stale.code == "ABORTED"
    assert (over.code, over.reason) == ("FAILED_PRECONDITION", "GRANT_STATE")


@pytest.mark.asyncio
async def test_what_is_asked_for_has_to_make_sense(shop: Api) -> None:
    """An endpoint that needs none, its own project, another organization, a time that is past."""
    await shop.apply(charge(), component("cart", endpoints=[endpoint()]))
    grant = Grant(
        endpoint="none",
        consumer=PAY,
        environments=["organizations/other/environments/x"],
    )
    grant.expire_time.FromDatetime(datetime(2020, 1, 1, tzinfo=UTC))
    failed = await failure(
        shop.grants.CreateAccessGrant(
            access_grant_pb2.CreateAccessGrantRequest(parent=CHARGE, access_grant=grant)
        )
    )

    assert findings(failed) == {
        ("access_grant.endpoint", "ENDPOINT_NOT_FOUND"),
        ("access_grant.consumer", "GRANT_NOT_NEEDED"),
        ("access_grant.environments[0]", "OTHER_ORGANIZATION"),
        ("access_grant.expire_time", "TIME_PAST"),
    }


@pytest.mark.asyncio
async def test_a_project_of_the_same_name_inherits_nothing(shop: Api) -> None:
    """A grant of a consumer that was deleted does not open anything for the next of its name."""
    await shop.apply(charge(), cart())
    asked = await ask(shop)
    await approve(shop, asked.name)
    project = await shop.projects.GetProject(project_pb2.GetProjectRequest(name=SHOP))
    await shop.projects.DeleteProject(project_pb2.DeleteProjectRequest(name=SHOP, force=True))
    await shop.apply(
        project_pb2.Project(name=SHOP, deployment_pipeline=project.deployment_pipeline), cart()
    )

    assert await problems(shop) == [(_FIELD, "GRANT_MISSING")]
    assert await admitted(shop) == []


@pytest.mark.asyncio
async def test_deleting_a_grant_closes_what_it_opened(shop: Api) -> None:
    """A grant that is gone is not in force."""
    await shop.apply(charge(), cart())
    asked = await ask(shop)
    await approve(shop, asked.name)
    await shop.grants.DeleteAccessGrant(access_grant_pb2.DeleteAccessGrantRequest(name=asked.name))

    assert await problems(shop) == [(_FIELD, "GRANT_MISSING")]
    assert await shop.cell(SHOP_DEV)


async def broken(api: Api) -> None:
    """Break both Cells, by a component each that needs an endpoint without a grant."""
    guarded = [endpoint(visible=[ORGANIZATION], requires_grant=True)]
    await api.apply(
        component("gate", endpoints=guarded), component("gate", project=PAY, endpoints=guarded)
    )
    await api.apply(
        component("lost", connections=[connection(f"{PAY}/components/gate")]),
        component("lost", project=PAY, connections=[connection(f"{SHOP}/components/gate")]),
    )


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["revoke", "delete"])
async def test_a_broken_cell_keeps_no_path_that_was_taken_back(shop: Api, how: str) -> None:
    """Both Cells are broken and keep their last revision, but for the way in and the way out.

    What told the consumer where the other side was stays, so that nothing of it restarts; once the
    Cells are whole again, nothing is open either.
    """
    await shop.apply(charge(), cart(), component("other", connections=[connection(CHARGE, "grpc")]))
    asked = await ask(shop)
    await approve(shop, asked.name)
    await broken(shop)
    before = await shop.resolved(SHOP_DEV), await shop.cell(PAY_DEV)
    open_still = await admitted(shop)
    if how == "revoke":
        await revoke(shop, asked.name)
    else:
        await shop.grants.DeleteAccessGrant(
            access_grant_pb2.DeleteAccessGrantRequest(name=asked.name)
        )
    provider, consumer = await shop.cell(PAY_DEV), await shop.cell(SHOP_DEV)
    delta = await shop.resolved(SHOP_DEV, base=before[0].revision)
    left = await shop.resolved(SHOP_DEV)

    assert open_still == ["shop"]
    assert {p.resource for p in provider.problems} == {f"{PAY}/components/lost"}
    assert await admitted(shop) == []
    assert provider.revision == before[1].revision + 1
    assert [o.component for o in before[0].frame.outbound] == ["cart", "other"]
    assert list(left.frame.outbound) == []
    assert all(not c.connections for c in left.components)
    assert {c.component for c in delta.components} == {"cart", "other"}
    assert [v.name for v in left.components[0].workload.env] == ["CHARGE_URL"]
    assert consumer.revision == before[0].revision + 1
    assert f"{SHOP}/components/cart" in {p.resource for p in consumer.problems}

    await shop.apply(component("lost", project=PAY), component("lost"), component("other"))
    assert await admitted(shop) == []
    assert [p.reason for p in (await shop.cell(SHOP_DEV)).problems] == ["GRANT_MISSING"]


@pytest.mark.asyncio
async def test_what_another_grant_opens_stays_open(shop: Api) -> None:
    """Of two grants for one path, the end of the first closes nothing, in a broken Cell neither."""
    await shop.apply(charge(), cart())
    first, second = await ask(shop), await ask(shop, environments=[DEV])
    await approve(shop, first.name)
    await approve(shop, second.name)
    await broken(shop)
    await revoke(shop, first.name)
    kept = await admitted(shop)
    await revoke(shop, second.name)

    assert kept == ["shop"]
    assert await admitted(shop) == []
