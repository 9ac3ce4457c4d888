"""The catalog: what is offered registers itself, is found, and tells who uses it."""

from __future__ import annotations

from typing import Any

import pytest

from cellplane.api.model.v1 import (
    catalog_pb2,
    component_pb2,
    deployment_pb2,
    project_pb2,
    promotion_pb2,
)
from cellplane.api.type.v1 import endpoint_pb2
from tests.service.model.world import (
    DEV,
    GRPC,
    ORG,
    ORGANIZATION,
    PAY,
    PIPELINE,
    PUBLIC,
    SHOP,
    STAGING,
    Api,
    component,
    connection,
    endpoint,
    failure,
    findings,
)

ENDPOINT = catalog_pb2.CatalogEntry.ENDPOINT
CHANNEL = catalog_pb2.CatalogEntry.EVENT_CHANNEL
CHARGE = f"{PAY}/components/charge"
CART = f"{SHOP}/components/cart"


async def entry(api: Api, name: str) -> catalog_pb2.CatalogEntry:
    return await api.catalog.GetCatalogEntry(catalog_pb2.GetCatalogEntryRequest(name=name))


async def search(api: Api, query: str = "", **more: Any) -> list[str]:
    request = catalog_pb2.SearchCatalogEntriesRequest(parent=ORG, query=query, **more)
    answer = await api.catalog.SearchCatalogEntries(request)
    return [_short(e.name) for e in answer.catalog_entries]


async def impact(api: Api, name: str, **more: Any) -> list[tuple[str, str, int]]:
    request = catalog_pb2.AnalyzeImpactRequest(name=name, **more)
    answer = await api.catalog.AnalyzeImpact(request)
    return [
        (i.environment.rsplit("/", 1)[-1], i.component.rsplit("/", 1)[-1], i.distance)
        for i in answer.impacts
    ]


def _short(name: str) -> str:
    parts = name.split("/")
    return f"{parts[5]}/{parts[7]}"


def charge(**more: Any) -> component_pb2.Component:
    return component(
        "charge",
        project=PAY,
        endpoints=[endpoint("grpc", 90, [ORGANIZATION], protocol=GRPC, description="Takes money")],
        **more,
    )


@pytest.mark.asyncio
async def test_an_endpoint_registers_itself(shop: Api) -> None:
    """What is declared and where it is deployed stands in the catalog, with its consumers."""
    await shop.apply(charge(), component("cart", connections=[connection(CHARGE, "grpc")]))

    found = await entry(shop, f"{CHARGE}/catalogEntries/grpc")

    assert (found.kind, found.component, found.owner) == (ENDPOINT, CHARGE, "pay")
    assert (found.offer.protocol, found.offer.port) == (GRPC, 90)
    assert found.offer.visibilities == [ORGANIZATION]
    assert found.declared
    assert [d.environment for d in found.deployments] == [DEV]
    assert found.deployments[0].release.startswith(f"{CHARGE}/releases/r-")
    assert [(c.component, list(c.environments), c.declared) for c in found.consumers] == [
        (CART, [DEV], True)
    ]


@pytest.mark.asyncio
async def test_an_entry_stays_as_long_as_an_environment_has_it(shop: Api) -> None:
    """An endpoint that is declared no more is there until the last release that has it goes."""
    await shop.apply(component("cart", endpoints=[endpoint("a", 80), endpoint("b", 81)]))
    promotion = promotion_pb2.Promotion(source_environment=DEV, target_environment=STAGING)
    await shop.promotions.CreatePromotion(
        promotion_pb2.CreatePromotionRequest(parent=SHOP, promotion=promotion)
    )

    await shop.apply(component("cart", endpoints=[endpoint("a", 80)]))
    kept = await entry(shop, f"{CART}/catalogEntries/b")
    await shop.deployments.DeleteDeployment(
        deployment_pb2.DeleteDeploymentRequest(name=f"{CART}/deployments/staging")
    )
    gone = await failure(entry(shop, f"{CART}/catalogEntries/b"))

    assert not kept.declared
    assert [d.environment for d in kept.deployments] == [STAGING]
    assert gone.code == "NOT_FOUND"


@pytest.mark.asyncio
async def test_channels_and_products_are_offered_and_used(shop: Api) -> None:
    """What is read through an endpoint has an entry, and who names it in a connection uses it."""
    events = component_pb2.EventChannel(
        event_channel="placed", endpoint="stream", address="orders.placed", description="Orders"
    )
    orders = component("orders", endpoints=[endpoint("stream", 80)], event_channels=[events])
    link = connection(f"{SHOP}/components/orders", "stream")
    link.component_endpoint.offers.append("placed")
    await shop.apply(orders, component("mail", connections=[link]))

    found = await entry(shop, f"{SHOP}/components/orders/catalogEntries/placed")

    assert (found.kind, found.offer.address, found.offer.endpoint) == (
        CHANNEL,
        "orders.placed",
        "stream",
    )
    assert [c.component for c in found.consumers] == [f"{SHOP}/components/mail"]


@pytest.mark.asyncio
async def test_what_is_not_offered_cannot_be_used(shop: Api) -> None:
    """A channel that is not there, one behind another endpoint, and one in use are refused."""
    events = component_pb2.EventChannel(event_channel="placed", endpoint="stream")
    orders = component(
        "orders",
        endpoints=[endpoint("stream", 80), endpoint("other", 81)],
        event_channels=[events],
    )
    link = connection(f"{SHOP}/components/orders", "other")
    link.component_endpoint.offers.extend(["placed", "lost"])
    failed = await failure(shop.apply(orders, component("mail", connections=[link])))
    at = "resources[1].connections[0].component_endpoint.offers"

    link.component_endpoint.endpoint = "stream"
    del link.component_endpoint.offers[1]
    await shop.apply(orders, component("mail", connections=[link]))
    del orders.event_channels[:]
    removed = await failure(shop.apply(orders))

    assert findings(failed) == {(f"{at}[0]", "OFFER_NOT_FOUND"), (f"{at}[1]", "OFFER_NOT_FOUND")}
    assert findings(removed) == {("resources[0].endpoints", "ENDPOINT_IN_USE")}


@pytest.mark.asyncio
async def test_search_ranks_and_filters(shop: Api) -> None:
    """Names come before owners, owners before text; each filter narrows; words are prefixes."""
    await shop.apply(
        component("pay", endpoints=[endpoint("web", 80, [PUBLIC], path="/pay")]),
        component("cart", endpoints=[endpoint("payment", 80), endpoint("pay", 81)]),
        component("mail", endpoints=[endpoint("smtp", 25, description="Für payments")]),
        charge(),
    )

    assert await search(shop, "pay") == [
        "cart/pay",
        "cart/payment",
        "charge/grpc",
        "pay/web",
        "mail/smtp",
    ]
    assert await search(shop, "MONEY takes") == ["charge/grpc"]
    assert await search(shop, "fur") == ["mail/smtp"]
    assert await search(shop, "pay nothing") == []
    assert await search(shop, protocol=GRPC) == ["charge/grpc"]
    assert await search(shop, "pay", visibility=PUBLIC) == ["pay/web"]
    assert await search(shop, owner="pay") == ["charge/grpc"]
    assert await search(shop, "pay", environment=STAGING) == []
    assert len(await search(shop, environment=DEV)) == 5


@pytest.mark.asyncio
async def test_search_goes_page_by_page(shop: Api) -> None:
    """Pages follow each other without a gap, also over ranks."""
    endpoints = [endpoint(f"pay{n}", 100 + n) for n in range(5)]
    await shop.apply(
        component("cart", endpoints=endpoints), component("pay", endpoints=[endpoint()])
    )
    request = catalog_pb2.SearchCatalogEntriesRequest(parent=ORG, query="pay", page_size=2)
    seen: list[str] = []
    while True:
        page = await shop.catalog.SearchCatalogEntries(request)
        seen += [_short(e.name) for e in page.catalog_entries]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break

    assert seen == [*(f"cart/pay{n}" for n in range(5)), "pay/http"]


@pytest.mark.asyncio
async def test_the_owner_is_what_the_project_says(shop: Api) -> None:
    """A project that names its owner changes it for all of its entries."""
    await shop.apply(charge())
    await shop.apply(project_pb2.Project(name=PAY, deployment_pipeline=PIPELINE, owner="money"))

    assert (await entry(shop, f"{CHARGE}/catalogEntries/grpc")).owner == "money"
    assert await search(shop, owner="money") == ["charge/grpc"]


@pytest.mark.asyncio
async def test_impact_goes_from_consumer_to_consumer(shop: Api) -> None:
    """Who breaks is told with its distance; an endpoint that nobody uses breaks nobody."""
    web = connection(CART, "http")
    await shop.apply(
        charge(),
        component("cart", endpoints=[endpoint()], connections=[connection(CHARGE, "grpc")]),
        component("web", connections=[web], endpoints=[endpoint("x", 99)]),
    )

    assert await impact(shop, CHARGE) == [("development", "cart", 1), ("development", "web", 2)]
    assert await impact(shop, PAY) == await impact(shop, CHARGE)
    assert await impact(shop, f"{PAY}/cells/development") == await impact(shop, CHARGE)
    assert await impact(shop, f"{CART}/catalogEntries/http") == [("development", "web", 1)]
    assert await impact(shop, f"{SHOP}/components/web/catalogEntries/x") == []
    assert await impact(shop, CHARGE, environment=STAGING) == []


@pytest.mark.asyncio
async def test_a_delete_that_breaks_somebody_says_how_to_see_whom(shop: Api) -> None:
    """The refusal names who refers to it, and the command that tells the rest."""
    await shop.apply(charge(), component("cart", connections=[connection(CHARGE, "grpc")]))
    request = component_pb2.DeleteComponentRequest(name=CHARGE, force=True)
    failed = await failure(shop.components.DeleteComponent(request))

    assert CART in failed.message
    assert "cellplane impact" in failed.message


@pytest.mark.asyncio
async def test_dependencies_are_the_same_from_both_sides(shop: Api) -> None:
    """Asked for its consumer or for its provider, a pair is one."""
    await shop.apply(charge(), component("cart", connections=[connection(CHARGE, "grpc")]))

    async def pairs(**side: str) -> list[Any]:
        request = catalog_pb2.SearchDependenciesRequest(parent=ORG, **side)
        return list((await shop.catalog.SearchDependencies(request)).dependencies)

    one, other = await pairs(consumer=CART), await pairs(provider=CHARGE)
    assert one == other
    assert [(d.consumer, d.provider, d.catalog_entry, list(d.environments)) for d in one] == [
        (CART, CHARGE, f"{CHARGE}/catalogEntries/grpc", [DEV])
    ]


@pytest.mark.asyncio
async def test_an_image_changes_no_entry(shop: Api) -> None:
    """Work is proportional to the change: an edit that offers the same writes no entry."""
    await shop.apply(charge())
    before = await entry(shop, f"{CHARGE}/catalogEntries/grpc")
    await shop.apply(charge(image="app:2"))
    after = await entry(shop, f"{CHARGE}/catalogEntries/grpc")

    assert before.etag == after.etag
    assert before.deployments[0].release != after.deployments[0].release
    assert endpoint_pb2.Protocol.Name(after.offer.protocol) == "PROTOCOL_GRPC"
