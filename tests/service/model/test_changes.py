"""History over the wire: who, when, which fields, in pages, also of what is gone."""

from __future__ import annotations

import pytest

from cellplane.api.model.v1 import component_pb2, resource_change_pb2, resource_change_pb2_grpc
from tests.service.model.world import ORG, SHOP, Api, component, endpoint, failure

pytestmark = pytest.mark.asyncio
CART = f"{SHOP}/components/cart"
Changed = resource_change_pb2.ResourceChange


async def changes(
    api: Api, parent: str = CART, **more: object
) -> resource_change_pb2.ListResourceChangesResponse:
    """One page of what happened."""
    stub = resource_change_pb2_grpc.ResourceChangeServiceStub(api.user)
    own = "" if more.pop("recursive", False) else f'resource_name = "{parent}"'
    request = resource_change_pb2.ListResourceChangesRequest(parent=parent, filter=own, **more)  # type: ignore[arg-type]
    return await stub.ListResourceChanges(request)


async def test_each_change_says_who_and_which_fields(shop: Api) -> None:
    """The newest first: created with its fields, changed by path, deleted with what it was."""
    await shop.apply(component("cart", endpoints=[endpoint()]))
    await shop.apply(component("cart", image="app:2", endpoints=[endpoint(port=81)]))
    await shop.apply(component("cart", image="app:2", endpoints=[endpoint(port=81)]))
    await shop.components.DeleteComponent(
        component_pb2.DeleteComponentRequest(name=CART, force=True)
    )

    found = list((await changes(shop)).resource_changes)

    assert [c.type for c in found] == [Changed.DELETED, Changed.UPDATED, Changed.CREATED]
    assert {c.actor for c in found} == {"spiffe://cellplane.local/users/admin"}
    assert all(c.resource_name == CART and c.kind == "Component" for c in found)
    times = [c.create_time.ToNanoseconds() for c in found]
    assert times == sorted(times, reverse=True)
    updated = {f.path: (f.old_value, f.new_value) for f in found[1].fields}
    assert updated["workload.image"][0].string_value == "app:1"
    assert updated["workload.image"][1].string_value == "app:2"
    assert updated['endpoints["http"].port'][1].number_value == 81
    assert set(updated) == {"workload.image", 'endpoints["http"].port', "latest_release"}
    assert all(not f.HasField("old_value") for f in found[2].fields)
    assert all(not f.HasField("new_value") for f in found[0].fields)
    stub = resource_change_pb2_grpc.ResourceChangeServiceStub(shop.user)
    request = resource_change_pb2.GetResourceChangeRequest(name=found[1].name)
    assert await stub.GetResourceChange(request) == found[1]


async def test_pages_have_each_change_once(shop: Api) -> None:
    """Page after page leads to each change once, also of what is below, in one order."""
    for number in range(5):
        await shop.apply(
            component("cart", image=f"app:{number}"), component("b", image=f"b:{number}")
        )
    everything = list((await changes(shop, ORG, recursive=True, page_size=500)).resource_changes)
    walked, token = [], ""
    while True:
        page = await changes(shop, ORG, recursive=True, page_size=3, page_token=token)
        walked += page.resource_changes
        token = page.next_page_token
        if not token:
            break
    assert walked == everything
    assert {CART, ORG, SHOP} <= {c.resource_name for c in walked}
    assert len({c.name for c in walked}) == len(walked) > 10
    assert [c.resource_name for c in (await changes(shop, ORG)).resource_changes] == [ORG]


async def test_what_is_no_name_is_refused(shop: Api) -> None:
    """A parent of no kind and a change of no number are invalid; one that is not kept is absent."""
    assert (await failure(changes(shop, "things/a"))).code == "INVALID_ARGUMENT"
    stub = resource_change_pb2_grpc.ResourceChangeServiceStub(shop.user)
    for name, code in (
        (f"{CART}/resourceChanges/x", "INVALID_ARGUMENT"),
        (f"{CART}/resourceChanges/99999", "NOT_FOUND"),
    ):
        request = resource_change_pb2.GetResourceChangeRequest(name=name)
        assert (await failure(stub.GetResourceChange(request))).code == code
