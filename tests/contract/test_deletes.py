"""Delete (AIP-135)."""

from __future__ import annotations

import pytest

from cellplane.api.model.v1 import component_pb2, project_pb2
from cellplane.cell.problem import (
    FailedPrecondition,
    NotFound,
)
from tests.contract.methods import (
    SHOP,
    WEB,
    Api,
    Calls,
    create_project,
    create_web,
    get_project,
)

pytestmark = pytest.mark.asyncio


async def test_delete_is_refused_while_something_belongs_to_it(api: Api, calls: Calls) -> None:
    """Delete names what stands in the way; forced, it takes that along, and nothing else."""
    await create_web(api)
    await api.projects.create(create_project("shop-two"))
    with pytest.raises(FailedPrecondition, match="components/web") as refused:
        await api.projects.delete(project_pb2.DeleteProjectRequest(name=SHOP))
    assert [p.subject for p in refused.value.preconditions] == [WEB]
    await api.projects.delete(project_pb2.DeleteProjectRequest(name=SHOP, force=True))
    with pytest.raises(NotFound):
        await api.components.get(component_pb2.GetComponentRequest(name=WEB))
    assert (await get_project(api, f"{SHOP}-two")).name == f"{SHOP}-two"
    assert calls.seen[-1] == f"after_delete {SHOP}"


async def test_what_is_gone_is_not_found(api: Api) -> None:
    """Delete of what is not there is `NOT_FOUND`, or fine where that is allowed."""
    with pytest.raises(NotFound):
        await api.projects.delete(project_pb2.DeleteProjectRequest(name=SHOP))
    await api.projects.delete(project_pb2.DeleteProjectRequest(name=SHOP, allow_missing=True))
