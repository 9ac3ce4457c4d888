"""The other services, as placement sees them: what is wanted, compiled and reported.

What a Cell is made of goes from model to the compilers as it is: here it is opaque parts with a
digest each, and the few facts that a decision needs.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from math import ceil
from typing import Any

import grpc
import grpc.aio
from google.protobuf.field_mask_pb2 import FieldMask

from cellplane.api.model.v1 import cell_pb2, cell_pb2_grpc
from cellplane.api.observability.v1 import health_pb2, health_pb2_grpc
from cellplane.api.type.v1 import compile_pb2, endpoint_pb2, resolved_cell_pb2, workload_pb2
from cellplane.cell.condition import Status
from cellplane.cell.manifest import Manifest
from cellplane.cell.plane import DataPlaneProfile, Peers
from cellplane.cell.problem import Problem
from cellplane.cell.quantity import bytes_of, milli_of
from cellplane.cell.requirement import PlacementRequirement
from cellplane.cell.visibility import Encryption
from cellplane.placement import convert
from cellplane.placement.compilation import WHOLE, Slice
from cellplane.placement.status.cell_status import CellStatus
from cellplane.rpc.compile import seen_through

_ONCE = (workload_pb2.COMPONENT_KIND_JOB, workload_pb2.COMPONENT_KIND_SCHEDULED_TASK)
_BATCH = 100
"""Components in one question to a compiler at most, so that its answer fits in a message."""


class StepType(Enum):
    """What a step of the feed of Cells says; the values are those of the contract."""

    WANTED = "WANTED"
    DELETED = "DELETED"
    SYNCED = "SYNCED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the feed of Cells."""

    type: StepType
    cell: str = ""
    revision: int = 0
    requirement: PlacementRequirement = field(default_factory=PlacementRequirement)
    target_projects: tuple[str, ...] = ()
    resume_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The frame or a component of a Cell, opaque, by its digest."""

    digest: str
    release: str = ""
    exposed: bool = False
    identified: bool = False
    stateful: bool = False
    encryption: Encryption = Encryption.UNSPECIFIED
    replicas: int = 0
    once: bool = False
    """Whether it runs once, or at times, instead of always."""
    resources: tuple[tuple[str, int], ...] = ()
    """What one replica requests, by resource."""
    message: Any = field(repr=False, compare=False)
    views: dict[tuple[str, ...], str] = field(default_factory=dict, repr=False, compare=False)
    """Digests of what compilers look at, by their masks."""

    def seen(self, mask: tuple[str, ...]) -> str:
        """Digest of the fields that a mask names; of all if it is empty."""
        if not mask:
            return self.digest
        if mask not in self.views:
            view = seen_through(FieldMask(paths=mask), self.message)
            self.views[mask] = f"{','.join(mask)} {_digest(view)}"
        return self.views[mask]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A whole Cell with every reference bound."""

    cell: str
    revision: int
    namespace: str
    frame: Part
    components: Mapping[str, Part] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The frame and every component."""
        return (self.frame, *self.components.values())


class Model:
    """What is wanted."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._cells = cell_pb2_grpc.CellServiceStub(channel)

    async def watch(self, resume_token: str) -> AsyncIterator[Step]:
        """The feed of Cells, behind a token or from a whole first picture."""
        request = cell_pb2.WatchCellsRequest(resume_token=resume_token)
        async for answer in self._cells.WatchCells(request):
            yield Step(
                type=convert.enum_of(
                    StepType,
                    cell_pb2.WatchCellsResponse.Type,
                    answer.type,
                    default=StepType.BOOKMARK,
                ),
                cell=answer.cell,
                revision=answer.revision,
                requirement=convert.requirement_of(answer.placement),
                target_projects=tuple(answer.target_projects),
                resume_token=answer.resume_token,
            )

    async def resolve(self, cell: str, known: Resolved | None) -> Resolved:
        """The Cell as it is wanted now; asks for the difference to what is known."""
        answer = await self._cells.GetResolvedCell(
            cell_pb2.GetResolvedCellRequest(
                name=cell, base_revision=known.revision if known is not None else 0
            )
        )
        if answer.base_revision and (known is None or answer.base_revision != known.revision):
            answer = await self._cells.GetResolvedCell(cell_pb2.GetResolvedCellRequest(name=cell))
        return merge(known if answer.base_revision else None, answer)

    async def transitions(self, cell: str) -> dict[tuple[str, str], tuple[Status, datetime]]:
        """When each condition last changed, by data plane (or none) and type: what model knows."""
        known = await self._cells.GetCell(cell_pb2.GetCellRequest(name=cell))
        scopes = [
            ("", known.conditions),
            *((p.data_plane, p.conditions) for p in known.data_planes),
        ]
        found: dict[tuple[str, str], tuple[Status, datetime]] = {}
        for scope, conditions in scopes:
            for condition in (convert.condition_of(c) for c in conditions):
                if condition.last_transition_time is not None:
                    found[scope, condition.type] = (
                        condition.status,
                        condition.last_transition_time,
                    )
        return found

    async def report_left(self, cell: str, data_planes: Iterable[str]) -> None:
        """Note where a Cell that ended still is."""
        planes = [cell_pb2.CellDataPlane(data_plane=name) for name in data_planes]
        await self._cells.ReportCellStatus(
            cell_pb2.ReportCellStatusRequest(name=cell, cell=cell_pb2.Cell(data_planes=planes))
        )

    async def report(self, cell: str, status: CellStatus) -> None:
        """Note how a Cell is."""
        await self._cells.ReportCellStatus(
            cell_pb2.ReportCellStatusRequest(name=cell, cell=convert.status_to_wire(cell, status))
        )


class Observability:
    """Who wants to know of every object, and of what happened."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._health = health_pb2_grpc.HealthServiceStub(channel)

    async def report(self, request: health_pb2.ReportCellHealthRequest) -> None:
        """Note the health of a Cell on a data plane."""
        await self._health.ReportCellHealth(request)


class Compilers:
    """The services that compile, each asked for what it looks at, and all at once."""

    def __init__(self, stubs: Mapping[str, Any]) -> None:
        self._stubs = dict(sorted(stubs.items()))
        self._masks: dict[str, tuple[str, ...]] = {}

    def slices(self, resolved: Resolved) -> dict[Slice, str]:
        """Every part of a Cell as each compiler sees it, with the digest of what it sees."""
        found: dict[Slice, str] = {}
        for name in self._stubs:
            mask = self._masks.get(name, ())
            found[name, WHOLE] = resolved.frame.digest
            for component, part in sorted(resolved.components.items()):
                found[name, component] = part.seen(mask)
        return found

    async def compile(
        self, resolved: Resolved, due: Iterable[Slice], profile: DataPlaneProfile, peers: Peers
    ) -> tuple[dict[Slice, list[Manifest]], list[Problem]]:
        """Compile what is due."""
        asked: dict[str, list[str]] = {}
        for name, part in due:
            asked.setdefault(name, []).append(part)
        wire = convert.profile_to_wire(profile), convert.peers_to_wire(peers)
        manifests: dict[Slice, list[Manifest]] = {}
        problems: list[Problem] = []

        async def ask(name: str, parts: Sequence[str]) -> None:
            components = [part for part in parts if part != WHOLE]
            for start in range(0, max(len(components), 1), _BATCH):
                answer = await self._stubs[name].Compile(
                    compile_pb2.CompileRequest(
                        cell=resolved_cell_pb2.ResolvedCell(
                            cell=resolved.cell,
                            revision=resolved.revision,
                            frame=resolved.frame.message,
                            components=[
                                resolved.components[c].message
                                for c in components[start : start + _BATCH]
                            ],
                        ),
                        data_plane=wire[0],
                        peers=wire[1],
                        include_frame=WHOLE in parts and start == 0,
                    )
                )
                self._masks[name] = tuple(sorted(answer.component_mask.paths))
                for manifest in map(convert.manifest_of, answer.manifests):
                    manifests.setdefault((name, manifest.part), []).append(manifest)
                problems.extend(convert.problem_of(p) for p in answer.problems)

        async with asyncio.TaskGroup() as group:
            for name, parts in asked.items():
                group.create_task(ask(name, parts))
        return manifests, problems


def merge(known: Resolved | None, answer: resolved_cell_pb2.ResolvedCell) -> Resolved:
    """What a Cell is after an answer: the whole, or a difference to what is known."""
    changed = {c.component: component_part(c) for c in answer.components}
    if known is None:
        return Resolved(
            cell=answer.cell,
            revision=answer.revision,
            namespace=answer.frame.namespace,
            frame=frame_part(answer.frame),
            components=changed,
        )
    components = {
        name: part
        for name, part in known.components.items()
        if name not in answer.removed_components
    }
    merged = replace(known, revision=answer.revision, components=components | changed)
    if not answer.HasField("frame"):
        return merged
    return replace(merged, namespace=answer.frame.namespace, frame=frame_part(answer.frame))


def frame_part(frame: resolved_cell_pb2.CellFrame) -> Part:
    """The frame, with what a decision needs of it."""
    return Part(
        digest=_digest(frame),
        exposed=bool(frame.outbound),
        identified=any(o.connection.HasField("organization") for o in frame.outbound),
        encryption=convert.enum_of(
            Encryption,
            endpoint_pb2.Encryption,
            frame.encryption,
            prefix="ENCRYPTION_",
            default=Encryption.UNSPECIFIED,
        ),
        message=frame,
    )


def component_part(component: resolved_cell_pb2.ResolvedComponent) -> Part:
    """A component, with what a decision needs of it."""
    seen = {v for e in component.endpoints for v in e.visibilities}
    return Part(
        digest=_digest(component),
        release=component.release,
        exposed=bool(seen & {endpoint_pb2.VISIBILITY_PUBLIC, endpoint_pb2.VISIBILITY_ORGANIZATION}),
        identified=endpoint_pb2.VISIBILITY_ORGANIZATION in seen,
        stateful=bool(component.workload.volumes),
        replicas=_replicas(component.workload),
        once=component.kind in _ONCE,
        resources=_requested(component.workload.resources),
        message=component,
    )


def _replicas(workload: workload_pb2.Workload) -> int:
    """How many run at least; a job, or a run of a task, is one."""
    if workload.HasField("autoscaling"):
        return workload.autoscaling.min_replicas
    return workload.replicas if workload.HasField("replicas") else 1


def _requested(resources: workload_pb2.Resources) -> tuple[tuple[str, int], ...]:
    asked = {
        "cpu_millis": ceil(milli_of(resources.cpu_request or "0")),
        "memory_bytes": ceil(bytes_of(resources.memory_request or "0")),
    }
    return tuple((name, amount) for name, amount in asked.items() if amount)


def _digest(
    message: resolved_cell_pb2.CellFrame | resolved_cell_pb2.ResolvedComponent,
) -> str:
    return hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()
