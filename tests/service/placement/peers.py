"""The other services, as real gRPC servers that give small deterministic answers.

They are stand-ins for what placement asks, labelled as such: the manifests are not what the real
compilers make. Each records what it was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from cellplane.api.model.v1 import cell_pb2, cell_pb2_grpc
from cellplane.api.network_policy.v1 import network_policy_pb2_grpc
from cellplane.api.observability.v1 import health_pb2, health_pb2_grpc
from cellplane.api.type.v1 import (
    compile_pb2,
    condition_pb2,
    placement_pb2,
    problem_pb2,
    resolved_cell_pb2,
    workload_pb2,
)
from cellplane.cell.manifest import Manifest, Phase, manifest
from cellplane.cell.names import CellName
from cellplane.cell.problem import NotFound, Unavailable

DEADLINE = 10.0


@dataclass(slots=True)
class FakeCell:
    """A Cell as the stand-in of model keeps it."""

    revision: int = 0
    components: dict[str, tuple[int, resolved_cell_pb2.ResolvedComponent]] = field(
        default_factory=dict
    )
    """With the revision in which each changed."""
    gone: dict[str, int] = field(default_factory=dict)
    frame_revision: int = 1
    requirement: placement_pb2.PlacementRequirement = field(
        default_factory=placement_pb2.PlacementRequirement
    )
    targets: tuple[str, ...] = ()


class FakeModel(cell_pb2_grpc.CellServiceServicer):
    """Stand-in of model: Cells, their feed, and what was reported of them."""

    def __init__(self) -> None:
        self.cells: dict[str, FakeCell] = {}
        self.statuses: dict[str, cell_pb2.Cell] = {}
        self.reports: list[cell_pb2.Cell] = []
        self.resolved: list[tuple[str, int]] = []
        """What was asked to be resolved, with the base."""
        self._log: list[cell_pb2.WatchCellsResponse] = []
        self._changed = asyncio.Condition()

    async def put(
        self,
        cell: str,
        components: dict[str, str],
        *,
        copies: int = 1,
        targets: Iterable[str] = (),
        volumes: bool = False,
        placement: placement_pb2.PlacementRequirement | None = None,
        replicas: int = 0,
        cpu: str = "",
    ) -> int:
        """Want a Cell of components with images; answers its revision."""
        known = self.cells.setdefault(cell, FakeCell())
        known.revision += 1
        if placement is not None:
            known.requirement.CopyFrom(placement)
        known.requirement.copies = copies
        known.targets = tuple(targets)
        for name in set(known.components) - set(components):
            del known.components[name]
            known.gone[name] = known.revision
        for name, image in components.items():
            workload = workload_pb2.Workload(image=image)
            if replicas:
                workload.replicas = replicas
            workload.resources.cpu_request = cpu
            if volumes:
                workload.volumes.add(volume="data", mount_path="/data", size="1Gi")
            made = resolved_cell_pb2.ResolvedComponent(
                component=name, release=f"{name}-{image}", workload=workload
            )
            if name not in known.components or known.components[name][1] != made:
                known.components[name] = (known.revision, made)
        await self._tell(self._wanted(cell))
        return known.revision

    async def delete(self, cell: str) -> None:
        """Want a Cell no more."""
        del self.cells[cell]
        self.statuses.pop(cell, None)
        kinds = cell_pb2.WatchCellsResponse.Type
        await self._tell(cell_pb2.WatchCellsResponse(type=kinds.DELETED, cell=cell))

    async def until_reported(self) -> None:
        """Wait until anything is reported; soon at the latest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.1), self._changed:
                await self._changed.wait()

    async def until(self, holds: Callable[[], bool], seconds: float = DEADLINE) -> None:
        """Wait until something holds of what was reported."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(holds)

    async def until_condition(
        self, cell: str, kind: str, status: str, *, revision: int = 0, reason: str = ""
    ) -> cell_pb2.Cell:
        """Wait for a condition of a Cell."""

        def holds() -> bool:
            return any(
                c.type == kind
                and cell_pb2_status(c.status) == status
                and c.observed_revision >= revision
                and reason in ("", c.reason)
                for c in self.statuses.get(cell, cell_pb2.Cell()).conditions
            )

        await self.until(holds)
        return self.statuses[cell]

    async def WatchCells(  # noqa: N802
        self, request: cell_pb2.WatchCellsRequest, context: Any
    ) -> AsyncIterator[cell_pb2.WatchCellsResponse]:
        """The feed: a first picture, then changes."""
        kinds = cell_pb2.WatchCellsResponse.Type
        if request.resume_token:
            position = int(request.resume_token)
        else:
            position = len(self._log)
            for cell in sorted(self.cells):
                yield self._wanted(cell)
            yield cell_pb2.WatchCellsResponse(type=kinds.SYNCED, resume_token=str(position))
        while True:
            while position < len(self._log):
                step = self._log[position]
                position += 1
                step.resume_token = str(position)
                yield step
            async with self._changed:
                while position >= len(self._log):
                    await self._changed.wait()

    async def GetResolvedCell(  # noqa: N802
        self, request: cell_pb2.GetResolvedCellRequest, context: Any
    ) -> resolved_cell_pb2.ResolvedCell:
        """A Cell, or what has changed of it."""
        self.resolved.append((request.name, request.base_revision))
        cell = self._get(request.name)
        base = request.base_revision
        name = CellName.parse(request.name)
        assert name is not None
        answer = resolved_cell_pb2.ResolvedCell(
            cell=request.name, revision=cell.revision, base_revision=base
        )
        answer.components.extend(
            made for _, (at, made) in sorted(cell.components.items()) if at > base
        )
        answer.removed_components.extend(n for n, at in cell.gone.items() if base and at > base)
        if cell.frame_revision > base:
            answer.frame.CopyFrom(
                resolved_cell_pb2.CellFrame(
                    organization=name.organization,
                    project=name.project,
                    environment=name.environment,
                    namespace=name.namespace,
                )
            )
        return answer

    async def GetCell(  # noqa: N802
        self, request: cell_pb2.GetCellRequest, context: Any
    ) -> cell_pb2.Cell:
        """A Cell as it was reported."""
        self._get(request.name)
        return self.statuses.get(request.name, cell_pb2.Cell(name=request.name))

    async def ReportCellStatus(  # noqa: N802
        self, request: cell_pb2.ReportCellStatusRequest, context: Any
    ) -> cell_pb2.ReportCellStatusResponse:
        """Note how a Cell is."""
        self._get(request.name)
        self.statuses[request.name] = request.cell
        self.reports.append(request.cell)
        async with self._changed:
            self._changed.notify_all()
        return cell_pb2.ReportCellStatusResponse()

    def _get(self, name: str) -> FakeCell:
        if name not in self.cells:
            raise NotFound(f"cell {name} does not exist", metadata={"name": name})
        return self.cells[name]

    def _wanted(self, cell: str) -> cell_pb2.WatchCellsResponse:
        known = self.cells[cell]
        return cell_pb2.WatchCellsResponse(
            type=cell_pb2.WatchCellsResponse.Type.WANTED,
            cell=cell,
            revision=known.revision,
            placement=known.requirement,
            target_projects=known.targets,
        )

    async def _tell(self, step: cell_pb2.WatchCellsResponse) -> None:
        self._log.append(step)
        async with self._changed:
            self._changed.notify_all()


class FakeCompiler(network_policy_pb2_grpc.NetworkPolicyServiceServicer):
    """Stand-in of a service that compiles. An image that is ``bad`` cannot be compiled."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests: list[compile_pb2.CompileRequest] = []
        self.platforms: list[compile_pb2.CompilePlatformRequest] = []

    async def Compile(  # noqa: N802
        self, request: compile_pb2.CompileRequest, context: Any
    ) -> compile_pb2.CompileResponse:
        """Make one small object for each part, and the namespace for the whole."""
        self.requests.append(request)
        response = compile_pb2.CompileResponse()
        namespace = request.cell.frame.namespace
        for phase, part, body in self._bodies(request, namespace):
            response.manifests.append(_wire(manifest(part, phase, body)))
        for component in request.cell.components:
            if self.name == "model" and component.workload.image == "bad":
                response.problems.add(
                    reason="NOT_SUPPORTED",
                    message=f"component {component.component} is bad: use another image",
                    field="workload.image",
                    severity=problem_pb2.Problem.Severity.ERROR,
                )
        return response

    async def CompilePlatform(  # noqa: N802
        self, request: compile_pb2.CompilePlatformRequest, context: Any
    ) -> compile_pb2.CompilePlatformResponse:
        """Make the namespace of the gateways, labelled with who may call them."""
        self.platforms.append(request)
        body = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": "cellplane-gateways",
                "labels": {"callers": ".".join(request.data_plane.internal_networks)},
            },
        }
        return compile_pb2.CompilePlatformResponse(
            manifests=[_wire(manifest("", Phase.NAMESPACE, body))]
        )

    def _bodies(
        self, request: compile_pb2.CompileRequest, namespace: str
    ) -> Iterable[tuple[Phase, str, dict[str, Any]]]:
        parts = [c.component for c in request.cell.components]
        replicas = {
            c.component: {"replicas": c.workload.replicas} if c.workload.replicas else {}
            for c in request.cell.components
        }
        images = {c.component: c.workload.image for c in request.cell.components}

        def body(kind: str, name: str, api: str, **more: Any) -> dict[str, Any]:
            metadata = {"name": name} | ({"namespace": namespace} if kind != "Namespace" else {})
            return {"apiVersion": api, "kind": kind, "metadata": metadata} | more

        match self.name:
            case "model":
                if request.include_frame:
                    yield Phase.NAMESPACE, "", body("Namespace", namespace, "v1")
                for part in parts:
                    spec = {"image": images[part], **replicas[part]}
                    yield Phase.WORKLOAD, part, body("Deployment", part, "apps/v1", spec=spec)
            case "network_policy":
                if request.include_frame:
                    yield Phase.GUARD, "", body("NetworkPolicy", "deny", "networking.k8s.io/v1")
                for part in parts:
                    yield Phase.POLICY, part, body("NetworkPolicy", part, "networking.k8s.io/v1")
            case "gateway":
                if request.include_frame and request.peers.cells:
                    gateways = [g.host for c in request.peers.cells for g in c.gateways]
                    yield (
                        Phase.EXPOSURE,
                        "",
                        body(
                            "Gateway",
                            "egress",
                            "gateway.networking.k8s.io/v1",
                            spec={"gateways": gateways},
                        ),
                    )
            case _:
                for part in parts:
                    yield Phase.CONFIGURATION, part, body("ConfigMap", f"{part}-telemetry", "v1")


class FakeHealth(health_pb2_grpc.HealthServiceServicer):
    """Stand-in of observability's health."""

    def __init__(self) -> None:
        self.reports: list[health_pb2.ReportCellHealthRequest] = []
        self.away = False
        self._changed = asyncio.Condition()

    async def ReportCellHealth(  # noqa: N802
        self, request: health_pb2.ReportCellHealthRequest, context: Any
    ) -> health_pb2.ReportCellHealthResponse:
        """Note the health of a Cell."""
        if self.away:
            raise Unavailable("not now")
        self.reports.append(request)
        async with self._changed:
            self._changed.notify_all()
        return health_pb2.ReportCellHealthResponse()

    async def until(self, holds: Callable[[], bool], seconds: float = DEADLINE) -> None:
        """Wait until something holds of what was reported."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(holds)


def cell_pb2_status(number: int) -> str:
    """Name of a condition's status."""
    return condition_pb2.Condition.Status.Name(number)  # type: ignore[arg-type]


def _wire(made: Manifest) -> compile_pb2.Manifest:
    return compile_pb2.Manifest(
        part=made.part,
        phase=compile_pb2.Phase.Value(f"PHASE_{made.phase.value}"),
        api_version=made.api_version,
        kind=made.kind,
        namespace=made.namespace,
        object=made.object,
        content=made.content,
        digest=made.digest,
    )
