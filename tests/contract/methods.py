"""Standard methods of a few collections over a real store, and short ways to ask of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from cellplane.api.model.v1 import component_pb2, project_pb2
from cellplane.api.placement.v1 import join_grant_pb2
from cellplane.api.type.v1 import endpoint_pb2, workload_pb2
from cellplane.cell.problem import (
    Invalid,
    Problem,
)
from cellplane.resource.names import Collection
from cellplane.resource.standard import Hooks, StandardMethods
from cellplane.rpc.pagination import PageTokens, derive_key
from cellplane.runtime.clock import Clock
from cellplane.store.database import Database, Transaction
from cellplane.store.resources import Resources, Stored

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


@dataclass(frozen=True, slots=True)
class Api:
    """Methods of the collections at hand."""

    projects: StandardMethods
    components: StandardMethods
    grants: StandardMethods


def make_api(database: Database, resources: Resources, clock: Clock, calls: Calls) -> Api:
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
