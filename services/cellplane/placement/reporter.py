"""Says how Cells are: to model in sum, to observability object by object.

Several changes within some moments are one report, and a report is repeated until it is accepted.
What was not said yet is kept as its sum, so that a service which is away costs memory for what
exists, never for what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

import grpc
import grpc.aio

from cellplane.api.agent.v1 import link_pb2
from cellplane.api.observability.v1 import health_pb2
from cellplane.cell.condition import Condition, Status
from cellplane.cell.names import CellName
from cellplane.cell.plane import Enforcement
from cellplane.placement import convert
from cellplane.placement.cells import CellEntry
from cellplane.placement.clients import Model, Observability
from cellplane.placement.desired import Desired
from cellplane.placement.engine import Engine
from cellplane.placement.planes import Planes
from cellplane.placement.scheduler.decide import Unplaceable
from cellplane.placement.scheduler.snapshot import PlaneState
from cellplane.placement.slots import Slot
from cellplane.placement.status.cell_status import (
    CellStatus,
    CellView,
    PlaneView,
    cell_status,
    with_times,
)
from cellplane.placement.workers import Workers
from cellplane.rpc.client import explain
from cellplane.runtime.clock import Clock

COALESCE = 0.02
"""Seconds in which changes of one Cell become one report."""
PACE = 0.1
"""Least seconds between two reports of one Cell: a rollout is many changes."""
_EVENTS = 200
"""Events that are kept while observability is away, for each Cell and data plane."""


@dataclass(slots=True)
class _Unsaid:
    """What observability does not know of a Cell on a data plane."""

    revision: int = 0
    objects: dict[tuple[str, str, str], health_pb2.ObjectHealth] = field(default_factory=dict)
    full: bool = False
    events: list[health_pb2.Event] = field(default_factory=list)
    removed: bool = False


class Reporter:
    """Keeps model and observability informed."""

    def __init__(
        self,
        *,
        model: Model,
        observability: Observability,
        engine: Engine,
        planes: Planes,
        desired: Desired,
        clock: Clock,
    ) -> None:
        self._model = model
        self._observability = observability
        self._engine = engine
        self._planes = planes
        self._desired = desired
        self._clock = clock
        self._said: dict[str, CellStatus] = {}
        self._left: dict[str, list[str]] = {}
        self._unsaid: dict[str, _Unsaid] = {}
        self._times: dict[str, dict[tuple[str, str], tuple[Status, datetime]]] = {}
        self.statuses = Workers("status", self._say_status, at_once=16, settle=COALESCE, pace=PACE)
        self.healths = Workers("health", self._say_health, at_once=16, settle=COALESCE, pace=PACE)
        engine.on_change(self.statuses.wake)

    def objects(self, data_plane: str, report: link_pb2.CellReport) -> None:
        """An agent reported objects of a Cell."""
        if CellName.parse(report.cell) is None:
            return
        key = f"{report.cell} {data_plane}"
        unsaid = self._unsaid.setdefault(key, _Unsaid())
        slot = self._desired.slot(report.cell, data_plane)
        unsaid.revision = slot.cell_revision_of(report.revision) if slot is not None else 0
        if report.full:
            unsaid.full = True
            unsaid.objects.clear()
        for seen in report.objects:
            name = (seen.object.kind, seen.object.object, seen.part)
            unsaid.objects[name] = health_pb2.ObjectHealth(
                component=seen.part,
                kind=seen.object.kind,
                object=seen.object.object,
                owner=seen.owner,
                health=seen.health,
                reason=seen.reason,
                message=seen.message,
            )
        if report.full or report.objects:
            self.healths.wake(key)

    def drift(self, data_plane: str, drift: link_pb2.Drift) -> None:
        """An agent saw that somebody changed what was applied."""
        fields = ", ".join(drift.fields) or "the object was gone"
        reference = f"{drift.object.kind}/{drift.object.object}"
        self.event(
            drift.cell,
            data_plane,
            component=drift.part,
            reference=reference,
            reason="DriftRepaired" if drift.repaired else "Drifted",
            message=f"somebody changed {reference}: {fields}",
            time=convert.time_of(drift.seen_time) if drift.HasField("seen_time") else None,
        )

    def event(
        self,
        cell: str,
        data_plane: str,
        *,
        component: str = "",
        reference: str = "",
        reason: str,
        message: str,
        time: datetime | None = None,
    ) -> None:
        """Something happened to a Cell."""
        if CellName.parse(cell) is None:
            return
        key = f"{cell} {data_plane}"
        unsaid = self._unsaid.setdefault(key, _Unsaid())
        unsaid.events.append(
            health_pb2.Event(
                event_time=convert.stamp_of(time or self._clock.now()),
                data_plane=data_plane.rsplit("/", 1)[-1],
                component=component,
                object=reference,
                reason=reason,
                message=message,
            )
        )
        del unsaid.events[:-_EVENTS]
        self.healths.wake(key)

    def removed(self, cell: str, data_plane: str) -> None:
        """A Cell is gone from a data plane."""
        if CellName.parse(cell) is None:
            return
        self._unsaid[f"{cell} {data_plane}"] = _Unsaid(removed=True)
        self.healths.wake(f"{cell} {data_plane}")

    async def _say_status(self, cell: str) -> None:
        entry = self._engine.get(cell)
        if entry is None or not entry.wanted:
            self._said.pop(cell, None)
            self._times.pop(cell, None)
            if entry is None or entry.wanted is False:
                await self._say_left(cell)
            return
        self._left.pop(cell, None)
        plain = cell_status(self._view(cell, entry))
        if self._said.get(cell) == plain:
            return
        try:
            if cell not in self._times:
                self._times[cell] = await self._model.transitions(cell)
            await self._model.report(cell, with_times(plain, self._stamper(cell)))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                # It was deleted; its feed says so, too.
                return
            raise explain(error).to_error() from error
        self._said[cell] = plain

    async def _say_left(self, cell: str) -> None:
        """Say where a Cell that ended is left: somebody may wait until it is nowhere."""
        left = sorted(name.rsplit("/", 1)[-1] for name in self._desired.of_cell(cell))
        if self._left.get(cell) == left:
            return
        try:
            await self._model.report_left(cell, left)
        except grpc.aio.AioRpcError as error:
            # It does not exist, as it should be.
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise explain(error).to_error() from error
        self._left[cell] = left
        if not left:
            self._left.pop(cell)

    async def _say_health(self, key: str) -> None:
        unsaid = self._unsaid.pop(key, None)
        if unsaid is None:
            return
        cell, data_plane = key.split(" ")
        try:
            await self._observability.report(
                health_pb2.ReportCellHealthRequest(
                    name=f"{cell}/health",
                    health=health_pb2.DataPlaneHealth(
                        data_plane=data_plane.rsplit("/", 1)[-1],
                        revision=unsaid.revision,
                        report_time=convert.stamp_of(self._clock.now()),
                        objects=unsaid.objects.values(),
                    ),
                    delta=not unsaid.full,
                    events=unsaid.events,
                    removed=unsaid.removed,
                )
            )
        except grpc.aio.AioRpcError as error:
            self._unsaid[key] = _older_and_newer(unsaid, self._unsaid.get(key))
            raise explain(error).to_error() from error

    def _view(self, cell: str, entry: CellEntry) -> CellView:
        decided = entry.decided
        parked = isinstance(decided.decision, Unplaceable) if decided is not None else False
        staying = set(decided.data_planes) if decided is not None else set[str]()
        resolved = entry.resolved
        return CellView(
            cell=cell,
            revision=entry.revision,
            releases={n: p.release for n, p in resolved.components.items()} if resolved else {},
            decided=decided is not None,
            unplaceable=_reason(decided.decision) if decided is not None and parked else "",
            summary=decided.decision.trace.summary if decided is not None else "",
            delay=entry.delay,
            planes=tuple(
                self._plane_view(slot, staying) for slot in self._desired.of_cell(cell).values()
            ),
        )

    def _plane_view(self, slot: Slot, staying: Iterable[str]) -> PlaneView:
        entry = self._planes.get(slot.data_plane)
        profile = self._planes.profile(slot.data_plane)
        seen = slot.observed
        name = slot.data_plane.rsplit("/", 1)[-1]
        return PlaneView(
            data_plane=name,
            state=entry.state if entry is not None else PlaneState.LOST,
            enforcement=profile.enforcement if profile is not None else Enforcement.UNSPECIFIED,
            revision=slot.bundle.revision,
            cell_revision=slot.bundle.cell_revision,
            accepted_cell_revision=slot.cell_revision_of(seen.accepted_revision),
            applied_cell_revision=slot.cell_revision_of(seen.applied_revision),
            ready_cell_revision=slot.cell_revision_of(seen.ready_revision),
            problems=slot.problems,
            changed_parts=slot.bundle.changed_parts(seen.report_revision),
            leaving=name not in staying,
            observed=seen,
        )

    def _stamper(self, cell: str) -> Callable[[str, Condition], Condition]:
        times = self._times[cell]
        now = self._clock.now()

        def stamp(scope: str, condition: Condition) -> Condition:
            known = times.get((scope, condition.type))
            if known is None or known[0] is not condition.status:
                known = times[scope, condition.type] = (condition.status, now)
            return replace(condition, last_transition_time=known[1])

        return stamp


def _reason(decision: object) -> str:
    return decision.reason if isinstance(decision, Unplaceable) else ""


def _older_and_newer(older: _Unsaid, newer: _Unsaid | None) -> _Unsaid:
    """The sum of what was not accepted and what came since."""
    if newer is None:
        return older
    if newer.full or newer.removed:
        newer.events[:0] = older.events
        del newer.events[:-_EVENTS]
        return newer
    return _Unsaid(
        revision=newer.revision,
        objects=older.objects | newer.objects,
        full=older.full or older.removed,
        events=[*older.events, *newer.events][-_EVENTS:],
        removed=False,
    )
