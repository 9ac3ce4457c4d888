"""Create, get and requests that are repeated or tried (AIP-131, 133, 155, 163, 203)."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from google.protobuf.duration_pb2 import Duration

from cellplane.api.model.v1 import component_pb2, project_pb2
from cellplane.api.placement.v1 import join_grant_pb2
from cellplane.cell.problem import (
    AlreadyExists,
    Conflict,
    Invalid,
    NotFound,
)
from cellplane.store.database import Database
from cellplane.store.resources import Resources
from tests.contract.conftest import TestClock
from tests.contract.methods import (
    SHOP,
    Api,
    Calls,
    create_project,
    get_project,
    paths_of,
    update_project,
    web,
)

pytestmark = pytest.mark.asyncio


async def test_create_answers_what_get_reads(api: Api, calls: Calls) -> None:
    """The server gives name, uid, times and etag; what a client wrote there does not count."""
    created = await api.projects.create(
        create_project(name="organizations/x/projects/y", uid="mine", etag='"9"', reconciling=False)
    )
    assert created.name == SHOP
    assert uuid.UUID(created.uid).version == 4
    assert created.create_time == created.update_time
    assert created.etag.startswith('"')
    assert created.annotations["defaulted"] == "yes"
    assert created.reconciling
    assert await get_project(api) == created
    assert calls.seen == [f"before_write {SHOP} create", f"after_write {SHOP} True"]


async def test_names_are_checked(api: Api) -> None:
    """A name, parent or id of another shape is refused, with field, pattern and value."""
    with pytest.raises(Invalid, match=r"organizations/\*/projects/\*") as refused:
        await get_project(api, "projects/shop")
    assert paths_of(refused) == ["name"]
    with pytest.raises(Invalid) as refused:
        await api.projects.create(create_project("Not-An-Id"))
    assert paths_of(refused) == ["project_id"]
    wrong = create_project()
    wrong.parent = "organizations/-"
    with pytest.raises(Invalid) as refused:
        await api.projects.create(wrong)
    assert paths_of(refused) == ["parent"]
    with pytest.raises(NotFound):
        await get_project(api)


async def test_a_parent_must_exist_where_it_is_kept(api: Api) -> None:
    """A component of a project that does not exist is not created."""
    request = component_pb2.CreateComponentRequest(parent=SHOP, component_id="web", component=web())
    with pytest.raises(NotFound, match="projects/shop does not exist"):
        await api.components.create(request)


async def test_the_same_request_is_answered_the_same(api: Api, clock: TestClock) -> None:
    """A request id replays its answer for an hour; with another body it is refused."""
    request = create_project(request_id=str(uuid.uuid4()))
    first = await api.projects.create(request)
    assert await api.projects.create(request) == first
    with pytest.raises(Invalid) as refused:
        await api.projects.create(create_project("other", request_id=request.request_id))
    assert paths_of(refused) == ["request_id"]
    with pytest.raises(AlreadyExists):
        await api.projects.create(create_project())
    clock.forward(timedelta(hours=1, seconds=1))
    with pytest.raises(AlreadyExists):
        await api.projects.create(request)


async def test_validate_only_stores_nothing(
    api: Api, database: Database, resources: Resources, clock: TestClock
) -> None:
    """A call that only validates fails and answers like the real one, and leaves no trace."""
    clock.forward(timedelta(days=1))
    request = create_project(validate_only=True, request_id=str(uuid.uuid4()))
    answer = await api.projects.create(request)
    assert answer.name == SHOP
    with pytest.raises(Invalid):
        await api.projects.create(create_project(validate_only=True, display_name="forbidden"))
    with pytest.raises(NotFound):
        await get_project(api)
    async with database.snapshot() as tx:
        assert await resources.changes_after(tx, 0) == []
    await api.projects.create(create_project())
    with pytest.raises(AlreadyExists):
        await api.projects.create(create_project(validate_only=True))
    before = await get_project(api)
    await api.projects.update(update_project(display_name="x", options={"validate_only": True}))
    await api.projects.delete(project_pb2.DeleteProjectRequest(name=SHOP, validate_only=True))
    assert await get_project(api) == before


async def test_another_incarnation_has_another_uid_and_etag(api: Api) -> None:
    """A resource that was created anew is told apart from the one before."""
    first = await api.projects.create(create_project())
    await api.projects.delete(project_pb2.DeleteProjectRequest(name=SHOP))
    second = await api.projects.create(create_project())
    assert first.uid != second.uid
    with pytest.raises(Conflict):
        await api.projects.update(update_project(display_name="x", etag=first.etag))


async def test_what_is_only_asked_with_is_not_kept(api: Api) -> None:
    """An `INPUT_ONLY` field is neither answered nor stored."""
    created = await api.grants.create(
        join_grant_pb2.CreateJoinGrantRequest(
            parent="organizations/acme",
            join_grant_id="g",
            join_grant=join_grant_pb2.JoinGrant(
                data_plane="organizations/acme/dataPlanes/p", ttl=Duration(seconds=60)
            ),
        )
    )
    assert not created.HasField("ttl")
