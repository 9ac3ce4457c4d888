"""Update: masks, etags, and what may not change (AIP-134, 154, 161, 203)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from cellplane.api.model.v1 import component_pb2, project_pb2
from cellplane.api.type.v1 import workload_pb2
from cellplane.cell.problem import (
    Conflict,
    Invalid,
    NotFound,
)
from cellplane.store.database import Database
from cellplane.store.resources import Resources
from tests.contract.conftest import TestClock
from tests.contract.methods import (
    PIPELINE,
    SHOP,
    Api,
    Calls,
    create_project,
    create_web,
    get_project,
    paths_of,
    update_project,
    update_web,
)

pytestmark = pytest.mark.asyncio


async def test_a_mask_changes_what_it_names(api: Api) -> None:
    """Only what the mask names changes; a named field that is not given becomes empty."""
    created = await create_web(api)
    updated = await update_web(
        api, "workload.image", workload=workload_pb2.Workload(image="example.com/web:2")
    )
    assert updated.workload.image == "example.com/web:2"
    assert updated.workload.resources == created.workload.resources
    assert updated.endpoints == created.endpoints
    assert (updated.uid, updated.create_time) == (created.uid, created.create_time)
    assert updated.etag != created.etag
    cleared = await update_web(api, "workload.resources.cpu_request", "endpoints")
    assert cleared.workload.resources == workload_pb2.Resources(memory_request="1Gi")
    assert not cleared.endpoints


async def test_keys_of_maps_are_paths(api: Api) -> None:
    """A key of a map changes or goes alone; one with dots stands in backticks."""
    await api.projects.create(create_project(annotations={"a": "1", "b.c/d": "1", "e": "1"}))
    updated = await api.projects.update(
        update_project("annotations.a", "annotations.`b.c/d`", annotations={"a": "2"})
    )
    assert dict(updated.annotations) == {"a": "2", "e": "1"}


async def test_without_a_mask_what_is_set_changes(api: Api) -> None:
    """No mask is every field that is set; a star is every field there is."""
    await api.projects.create(create_project(display_name="Shop", annotations={"a": "1"}))
    updated = await api.projects.update(update_project(annotations={"b": "1"}))
    assert updated.display_name == "Shop"
    assert dict(updated.annotations) == {"b": "1"}
    assert updated.deployment_pipeline == PIPELINE
    replaced = await api.projects.update(update_project("*", deployment_pipeline=PIPELINE))
    assert replaced.display_name == ""
    assert dict(replaced.annotations) == {"defaulted": "yes"}


async def test_a_path_that_is_none_is_refused(api: Api) -> None:
    """Every path that names no field is a finding; what only the server writes is ignored."""
    created = await create_web(api)
    wrong = ["nothing", "workload.nothing", "endpoints.0", "component_kind.x", "a..b", ""]
    with pytest.raises(Invalid) as refused:
        await update_web(api, *wrong, "workload.autoscaling.min_replicas")
    assert paths_of(refused) == [f"update_mask.paths[{index}]" for index in range(len(wrong))]
    assert await update_web(api, "uid", "latest_release", "etag", uid="mine") == created
    assert await update_web(api, "workload.autoscaling.min_replicas") == created


async def test_the_whole_is_checked_after_the_merge(api: Api) -> None:
    """A part may be given, but the whole must keep the contract: all findings, with their paths."""
    await create_web(api)
    with pytest.raises(Invalid) as refused:
        await update_web(
            api,
            "component_kind",
            "workload.image",
            "endpoints",
            component_kind=workload_pb2.COMPONENT_KIND_JOB,
            endpoints=[component_pb2.Endpoint(endpoint="BAD", protocol=1, port=80)],
        )
    assert paths_of(refused) == [
        "component.component_kind",
        "component.workload.image",
        "component.endpoints[0].endpoint",
    ]
    assert refused.value.problems[0].reason == "FIELD_IMMUTABLE"
    same = await update_web(
        api, "component_kind", component_kind=workload_pb2.COMPONENT_KIND_SERVICE
    )
    assert same.component_kind == workload_pb2.COMPONENT_KIND_SERVICE


async def test_nothing_changed_is_nothing_written(
    api: Api, database: Database, resources: Resources, clock: TestClock, calls: Calls
) -> None:
    """Writing back what was read changes neither etag nor time, and tells nobody."""
    created = await api.projects.create(create_project())
    calls.seen.clear()
    clock.forward(timedelta(hours=1))
    assert await api.projects.update(project_pb2.UpdateProjectRequest(project=created)) == created
    assert calls.seen == [f"before_write {SHOP} update"]
    async with database.snapshot() as tx:
        assert len(await resources.changes_after(tx, 0)) == 1


async def test_a_stale_etag_is_aborted(api: Api) -> None:
    """Update and delete refuse an old or a foreign etag; without one they go on."""
    old = (await api.projects.create(create_project())).etag
    new = (await api.projects.update(update_project(display_name="x", etag=old))).etag
    for etag in (old, '"not ours"'):
        with pytest.raises(Conflict):
            await api.projects.update(update_project(display_name="y", etag=etag))
        with pytest.raises(Conflict):
            await api.projects.delete(project_pb2.DeleteProjectRequest(name=SHOP, etag=etag))
    await api.projects.update(update_project(display_name="z"))
    with pytest.raises(Conflict):
        await api.projects.delete(project_pb2.DeleteProjectRequest(name=SHOP, etag=new))
    await api.projects.delete(project_pb2.DeleteProjectRequest(name=SHOP))


async def test_of_sixteen_updates_one_wins(api: Api) -> None:
    """Of many updates with one etag exactly one is taken."""
    etag = (await api.projects.create(create_project())).etag

    async def update(number: int) -> str:
        try:
            request = update_project(display_name=f"n{number}", etag=etag)
            return str((await api.projects.update(request)).display_name)
        except Conflict:
            return ""

    winners = [w for w in await asyncio.gather(*map(update, range(16))) if w]
    assert winners == [(await get_project(api)).display_name]


async def test_allow_missing_creates(api: Api, calls: Calls) -> None:
    """An update of what is not there is `NOT_FOUND`, or creates it where that is allowed."""
    with pytest.raises(NotFound):
        await api.projects.update(update_project(deployment_pipeline=PIPELINE))
    created = await api.projects.update(
        update_project(deployment_pipeline=PIPELINE, uid="mine", options={"allow_missing": True})
    )
    assert created.uid != "mine"
    assert await get_project(api) == created
    assert calls.seen[-2] == f"before_write {SHOP} create"
