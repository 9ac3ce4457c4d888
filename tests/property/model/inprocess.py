"""A model without a server: its servicers on a database of their own, real as it is shipped."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from cellplane.api.model.v1 import cell_pb2, deployment_pb2, resource_pb2
from cellplane.cell.problem import CellplaneError
from cellplane.model.__main__ import MIGRATIONS
from cellplane.model.metrics import ResolutionMetrics
from cellplane.model.service import serve_model
from cellplane.runtime.clock import SystemClock
from cellplane.store.database import Database
from tests.service.model.world import pack


class Servicers:
    """Stands where a server would."""

    def __init__(self) -> None:
        self.by_name: dict[str, Any] = {}

    def add(self, name: str, add: Callable[..., None], servicer: Any) -> None:
        self.by_name[name.rsplit(".", 1)[-1]] = servicer


@dataclass(frozen=True)
class Model:
    """Servicers on a database of their own."""

    database: Database
    servicers: dict[str, Any]

    async def call(self, method: str, request: Any) -> Any:
        """Call ``Service.Method``; raises what the domain raises."""
        service, _, name = method.partition(".")
        return await getattr(self.servicers[service], name)(request, None)

    async def applied(self, resources: Sequence[Any], *, validate_only: bool = False) -> Any:
        """The whole answer; raises what the domain raises."""
        request = resource_pb2.ApplyResourcesRequest(
            resources=pack(resources), validate_only=validate_only
        )
        return await self.call("ResourceService.ApplyResources", request)

    async def apply(self, *resources: Any) -> bool:
        """Tell whether it was stored."""
        try:
            await self.applied(resources)
        except CellplaneError:
            return False
        return True

    async def undeploy(self, name: str, environment: str = "development") -> None:
        request = deployment_pb2.DeleteDeploymentRequest(
            name=f"{name}/deployments/{environment}", allow_missing=True
        )
        await self.call("DeploymentService.DeleteDeployment", request)

    async def resolved(self, cell: str, base: int = 0) -> Any:
        request = cell_pb2.GetResolvedCellRequest(name=cell, base_revision=base)
        try:
            return await self.call("CellService.GetResolvedCell", request)
        except CellplaneError:
            return None


@asynccontextmanager
async def model(folder: Path, metrics: ResolutionMetrics | None = None) -> AsyncIterator[Model]:
    """A model on the database in a folder, which is made if it is not there."""
    url = f"sqlite:///{folder}/model.db"
    database = await Database.open(url, service="model", migrations=MIGRATIONS)
    servicers = Servicers()
    try:
        async with serve_model(
            servicers,  # type: ignore[arg-type]
            database,
            clock=SystemClock(),
            key=b"k" * 32,
            zones=(),
            metrics=metrics,
        ):
            yield Model(database=database, servicers=servicers.by_name)
    finally:
        await database.close()


@asynccontextmanager
async def copy_of(template: Path) -> AsyncIterator[Model]:
    """A model on a copy of a database."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(template, folder, dirs_exist_ok=True)
        async with model(Path(folder)) as made:
            yield made


def make_template(folder: Path, *resources: Any) -> Path:
    """A folder with a database that holds these resources."""

    async def make() -> None:
        async with model(folder) as made:
            await made.applied(resources)

    asyncio.run(make())
    return folder


def plain(message: Any) -> Any:
    """A message without what differs from one try to the next: times, uids, etags, secrets."""
    told = MessageToDict(message, preserving_proto_field_name=True)
    times = ("create_time", "update_time", "decide_time", "deploy_time", "end_time")
    for field in ("uid", "etag", "secret", *times):
        told.pop(field, None)
    return told
