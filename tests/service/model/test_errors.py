"""Refusals of a model that runs: each has its details once, and a page that says more."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2 as details_pb2
from google.rpc import status_pb2

from cellplane.api.model.v1 import component_pb2, organization_pb2, project_pb2
from cellplane.rpc.status import DETAILS_KEY, DOMAIN, HELP
from tests.service.model.world import ORG, SHOP, Api, component

_PAGE = (Path(__file__).parents[3] / "docs" / "errors.md").read_text()


async def refused(call: Any) -> status_pb2.Status:
    """The status of a call that is refused, with its details."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    raw = dict(caught.value.trailing_metadata() or ())[DETAILS_KEY]
    return status_pb2.Status.FromString(raw)


def detail(status: status_pb2.Status, kind: Any) -> Any:
    """The one detail of a kind."""
    found = kind()
    assert [box.Unpack(found) for box in status.details].count(True) == 1, kind
    return found


@pytest.mark.asyncio
async def test_a_refusal_has_each_detail_once_and_a_page(shop: Api) -> None:
    """An ErrorInfo with its values, what its status calls for, and a link to a heading."""
    await shop.apply(component("cart"))
    get, delete = component_pb2.GetComponentRequest, organization_pb2.DeleteOrganizationRequest
    update = component_pb2.UpdateComponentRequest(
        component=component_pb2.Component(name=f"{SHOP}/components/cart", etag='"1"')
    )
    create = component_pb2.CreateComponentRequest(
        parent=SHOP, component_id="more", component=component("more")
    )
    taken = component_pb2.CreateComponentRequest(
        parent=SHOP, component_id="cart", component=component("cart")
    )
    wrong = component_pb2.CreateComponentRequest(
        parent=SHOP, component_id="wrong", component=component_pb2.Component()
    )
    c = shop.components
    exists = await refused(c.CreateComponent(taken))
    pipeline = f"{ORG}/deploymentPipelines/standard"
    await shop.apply(
        project_pb2.Project(name=SHOP, deployment_pipeline=pipeline, component_quota=1)
    )
    refusals = {
        "NOT_FOUND": await refused(c.GetComponent(get(name=f"{SHOP}/components/none"))),
        "ABORTED": await refused(c.UpdateComponent(update)),
        "RESOURCE_EXHAUSTED": await refused(c.CreateComponent(create)),
        "ALREADY_EXISTS": exists,
        "INVALID_ARGUMENT": await refused(c.CreateComponent(wrong)),
        "FAILED_PRECONDITION": await refused(
            shop.organizations.DeleteOrganization(delete(name=ORG))
        ),
    }
    extra = {
        "INVALID_ARGUMENT": details_pb2.BadRequest,
        "FAILED_PRECONDITION": details_pb2.PreconditionFailure,
        "RESOURCE_EXHAUSTED": details_pb2.QuotaFailure,
    }
    for code, status in refusals.items():
        assert grpc.StatusCode[code].value[0] == status.code
        kinds = Counter(box.type_url for box in status.details)
        assert set(kinds.values()) == {1}, code
        info = detail(status, details_pb2.ErrorInfo)
        assert re.fullmatch(r"[A-Z][A-Z0-9_]+[A-Z0-9]", info.reason)
        assert info.domain == DOMAIN
        assert f"`{info.reason}`" in _PAGE
        for value in re.findall(r"organizations/[\w/-]+", status.message.split(":")[0]):
            assert any(value in known for known in info.metadata.values()), (code, value)
        link = detail(status, details_pb2.Help).links[0]
        assert link.url.startswith(HELP)
        headings = {
            h.lower().replace("_", "-") for h in re.findall(r"^## (.*)$", _PAGE, re.MULTILINE)
        }
        assert link.url.removeprefix(HELP) in headings
        if code in extra:
            assert list(detail(status, extra[code]).ListFields()), code
    retry = detail(refusals["RESOURCE_EXHAUSTED"], details_pb2.RetryInfo)
    assert retry.retry_delay.seconds > 0
