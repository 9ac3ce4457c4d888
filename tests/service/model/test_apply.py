"""ApplyResources: all or nothing, in any order, with every finding."""

from __future__ import annotations

import pytest

from cellplane.api.model.v1 import resource_pb2
from tests.service.model.world import (
    SHOP,
    SHOP_DEV,
    Api,
    component,
    connection,
    endpoint,
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
