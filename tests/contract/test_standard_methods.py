"""The standard methods over a real store: what AIP-131 to 135, 154, 155, 161, 163 and 203 ask."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from cellplane.api.model.v1 import component_pb2, project_pb2
from cellplane.api.placement.v1 import join_grant_pb2
from cellplane.api.type.v1 import endpoint_pb2, workload_pb2
from cellplane.cell.problem import (
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    Invalid,
    NotFound,
    Problem,
)
from cellplane.resource.names import Collection
from cellplane.resource.standard import Hooks, StandardMethods
from cellplane.rpc.pagination import PageTokens, derive_key
from cellplane.store.database import Database, Transaction
from cellplane.store.resources import Resources, Stored
from tests.contract.conftest import TestClock

pytestmark = pytest.mark.asyncio

PROJECTS = Collection(
    kind="Project",
    message=project_pb2.Project,
    pattern="organizations/{organization}/projects/{project}",
    field="project",
    parent_is_here=False,
)
COMPONENTS = Collection(
    kind="Component",
    message=component_pb2.Component,
    pattern="organizations/{organization}/projects/{project}/components/{component}",
    field="component",
)
GRANTS = Collection(
    kind="JoinGrant",
    message=join_grant_pb2.JoinGrant,
    pattern="organizations/{organization}/joinGrants/{join_grant}",
    field="join_grant",
    parent_is_here=False,
)
PIPELINE = "organizations/acme/deploymentPipelines/main"
SHOP = "organizations/acme/projects/shop"
WEB = f"{SHOP}/components/web"


@dataclass(slots=True)
class Calls:
    """Hooks that note what they see, default a description and refuse a word."""

    seen: list[str] = field(default_factory=list)

    async def before_write(self, tx: Transaction, new: Any, old: Any) -> None:
        """Default, and refuse."""
        del tx
        self.seen.append(f"before_write {new.name} {'update' if old else 'create'}")
        if new.display_name == "forbidden":
            problem = Problem(reason="WORD", message="a word", field="display_name")
            raise Invalid("refused", problems=[problem])
        if not new.annotations:
            new.annotations["defaulted"] = "yes"

    async def after_write(self, tx: Transaction, new: Any, old: Any, stored: Stored) -> None:
        """Note it."""
        del tx, old
        self.seen.append(
            f"after_write {new.name} {new.etag == chr(34) + str(stored.revision) + chr(34)}"
        )

    async def after_delete(self, tx: Transaction, old: Any) -> None:
        """Note it."""
        del tx
        self.seen.append(f"after_delete {old.name}")

    async def on_read(self, tx: Transaction, messages: Sequence[Any]) -> None:
        """Fill in what is not stored."""
        del tx
        for message in messages:
            message.reconciling = True


@pytest.fixture
def calls() -> Calls:
    """What the hooks saw."""
    return Calls()


@dataclass(frozen=True, slots=True)
class Api:
    """Methods of the collections at hand."""

    projects: StandardMethods
    components: StandardMethods
    grants: StandardMethods


@pytest.fixture
def api(database: Database, resources: Resources, clock: TestClock, calls: Calls) -> Api:
    """The standard methods of a few collections."""

    def methods(collection: Collection, hooks: Hooks | None = None) -> StandardMethods:
        return StandardMethods(
            database=database,
            resources=resources,
            collection=collection,
            tokens=PageTokens(derive_key(b"secret")),
            clock=clock,
            hooks=hooks,
        )

    hooks = Hooks(
        before_write=calls.before_write,
        after_write=calls.after_write,
        after_delete=calls.after_delete,
        on_read=calls.on_read,
    )
    return Api(methods(PROJECTS, hooks), methods(COMPONENTS), methods(GRANTS))


def create_project(id: str = "shop", **fields: Any) -> project_pb2.CreateProjectRequest:
    """A request for a project."""
    options = {k: fields.pop(k) for k in ("request_id", "validate_only") if k in fields}
    fields.setdefault("deployment_pipeline", PIPELINE)
    return project_pb2.CreateProjectRequest(
        parent="organizations/acme",
        project_id=id,
        project=project_pb2.Project(**fields),
        **options,
    )


def update_project(
    *paths: str, name: str = SHOP, options: dict[str, Any] | None = None, **fields: Any
) -> project_pb2.UpdateProjectRequest:
    """A request for a change of a project."""
    request = project_pb2.UpdateProjectRequest(
        project=project_pb2.Project(name=name, **fields), **(options or {})
    )
    if paths:
        request.update_mask.CopyFrom(FieldMask(paths=paths))
    return request


def web(**fields: Any) -> component_pb2.Component:
    """A component."""
    return component_pb2.Component(
        component_kind=workload_pb2.COMPONENT_KIND_SERVICE,
        workload=workload_pb2.Workload(
            image="example.com/web:1",
            resources=workload_pb2.Resources(cpu_request="100m", memory_request="1Gi"),
        ),
        endpoints=[
            component_pb2.Endpoint(endpoint="http", protocol=endpoint_pb2.PROTOCOL_HTTP, port=80)
        ],
        **fields,
    )


async def create_web(api: Api) -> component_pb2.Component:
    """A component in a project."""
    await api.projects.create(create_project())
    request = component_pb2.CreateComponentRequest(parent=SHOP, component_id="web", component=web())
    created: component_pb2.Component = await api.components.create(request)
    return created


async def update_web(api: Api, *paths: str, **fields: Any) -> component_pb2.Component:
    """Change it."""
    request = component_pb2.UpdateComponentRequest(
        component=component_pb2.Component(name=WEB, **fields), update_mask=FieldMask(paths=paths)
    )
    updated: component_pb2.Component = await api.components.update(request)
    return updated


async def get_project(api: Api, name: str = SHOP) -> project_pb2.Project:
    """Read one."""
    found: project_pb2.Project = await api.projects.get(project_pb2.GetProjectRequest(name=name))
    return found


def paths_of(error: pytest.ExceptionInfo[Invalid]) -> list[str]:
    """Field paths of the findings."""
    return [problem.field for problem in error.value.problems]


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


async def test_pages_hold_every_resource_once(api: Api) -> None:
    """Pages follow by token, the last has none; the parent may be read across."""
    for number in range(7):
        await api.projects.create(create_project(f"p{number}"))
    seen: list[str] = []
    token = ""
    while True:
        request = project_pb2.ListProjectsRequest(
            parent="organizations/-", page_size=3, page_token=token
        )
        page = await api.projects.list(request, project_pb2.ListProjectsResponse())
        assert all(project.reconciling for project in page.projects)
        seen += [project.name for project in page.projects]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"organizations/acme/projects/p{number}" for number in range(7)]
    foreign = project_pb2.ListProjectsRequest(parent="organizations/acme", page_token="dG9rZW4")
    with pytest.raises(Invalid):
        await api.projects.list(foreign, project_pb2.ListProjectsResponse())


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
