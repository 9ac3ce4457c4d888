"""The reconcile shell: gathers what a Cell is, asks the pure functions, and applies their answer.

One worker for each Cell, and the latest wins: whatever happens only wakes Cells. Nothing is removed
because it is absent: only because model said so, or because its first picture was complete without
it. A Cell leaves a data plane only after it is ready where it is to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

import grpc
import grpc.aio
import structlog

from cellplane.cell.manifest import Manifest
from cellplane.cell.names import CellName
from cellplane.cell.plane import DataPlaneProfile
from cellplane.cell.problem import CellplaneError, Unavailable
from cellplane.placement.cells import CellEntry, demand_of
from cellplane.placement.clients import Compilers, Model, Resolved, Step, StepType
from cellplane.placement.commits import DecisionStore
from cellplane.placement.compilation import (
    Compilation,
    Slice,
    clashes,
    context_digest,
    errors,
)
from cellplane.placement.deciding import LIMITS, Deciding
from cellplane.placement.desired import Desired
from cellplane.placement.division import part_of
from cellplane.placement.failpoints import UNARMED, Reached
from cellplane.placement.moving import Moving
from cellplane.placement.peers import peers_of, target_cells
from cellplane.placement.planes import News, Planes
from cellplane.placement.records import Decided
from cellplane.placement.rolling import Rolling
from cellplane.placement.rollout_store import RolloutStore
from cellplane.placement.scheduler.outage import Limits
from cellplane.placement.slots import ContentsMissing
from cellplane.placement.workers import Workers
from cellplane.rpc.client import explain
from cellplane.runtime.clock import Clock


class Engine:
    """Keeps every Cell where it is to be, as it is to be."""

    def __init__(
        self,
        *,
        model: Model,
        compilers: Compilers,
        planes: Planes,
        desired: Desired,
        store: DecisionStore,
        rollouts: RolloutStore,
        clock: Clock,
        drain_seconds: float = 5.0,
        limits: Limits = LIMITS,
        reached: Reached = UNARMED,
    ) -> None:
        self._model = model
        self._compilers = compilers
        self._planes = planes
        self._desired = desired
        self.deciding = Deciding(
            planes=planes, store=store, clock=clock, speaks=self._speaks, limits=limits
        )
        self.deciding.commits.reached = reached
        self.deciding.on_held(self._held)
        self.rolling = Rolling(store=rollouts, desired=desired, planes=planes, clock=clock)
        self._moving = Moving(
            desired=desired,
            deciding=self.deciding,
            planes=planes,
            clock=clock,
            drain_seconds=drain_seconds,
            reached=reached,
        )
        self._cells: dict[str, CellEntry] = {}
        self._readers: dict[str, set[str]] = {}
        """By Cell, the Cells whose connections lead to it."""
        self._token = ""
        self._on_change: list[_Watcher] = []
        self._deciding_on: set[str] = set()
        """Cells whose worker waits for a decision, and goes on with it."""
        self._log = structlog.get_logger()
        self.workers = Workers("cell", self._reconcile)
        self.synced = asyncio.Event()
        """Set once model's first picture was complete."""
        planes.watch(self._plane_changed)
        desired.on_observed(self._observed)

    def on_change(self, watcher: _Watcher) -> None:
        """Call ``watcher(cell)`` when something is known of a Cell that was not."""
        self._on_change.append(watcher)

    def _speaks(self, cell: str, data_plane: str) -> bool:
        """Whether what a Cell uses of a data plane is in what its agent reports."""
        slot = self._desired.slot(cell, data_plane)
        return slot is not None and bool(slot.observed.applied_revision)

    def load(self, decisions: Iterable[tuple[str, Decided]]) -> None:
        """Take what was stored. Nothing happens to a Cell before model has spoken of it."""
        for cell, decided in decisions:
            entry = self._entry(cell)
            if entry is not None:
                entry.decided = decided
                self.deciding.load(entry, decided)
        for cell in self._desired.cells():
            self._entry(cell)

    def get(self, cell: str) -> CellEntry | None:
        """What is known of a Cell."""
        return self._cells.get(cell)

    def cells_on(self, data_plane: str) -> list[str]:
        """Cells that are on a data plane, or are leaving it, sorted."""
        return self._desired.cells_on(data_plane)

    async def follow(self) -> None:
        """Follow model's feed until it breaks; resumes where it was, or starts anew."""
        whole = not self._token
        named: set[str] = set()
        try:
            async for step in self._model.watch(self._token):
                if step.type is StepType.SYNCED and whole:
                    self._complete(named)
                    whole = False
                elif step.type is StepType.WANTED:
                    named.add(step.cell)
                    self._want(step)
                elif step.type is StepType.DELETED:
                    self._unwant(step.cell)
                self._token = step.resume_token or self._token
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.OUT_OF_RANGE:
                self._log.info("feed.too_old")
                self._token = ""
                return
            raise explain(error).to_error() from error
        raise Unavailable("the feed of cells ended: it is followed again")

    def _want(self, step: Step) -> None:
        entry = self._entry(step.cell)
        if entry is None:
            self._log.warning("feed.unknown_name", cell=step.cell)
            return
        entry.wanted = True
        entry.revision = step.revision
        entry.requirement = step.requirement
        if entry.target_projects != step.target_projects:
            for target in target_cells(entry.name, entry.target_projects):
                self._readers.get(target, set()).discard(step.cell)
            for target in target_cells(entry.name, step.target_projects):
                self._readers.setdefault(target, set()).add(step.cell)
            entry.target_projects = step.target_projects
        self.workers.wake(step.cell, soon=self._is_news(step))

    def _is_news(self, step: Step) -> bool:
        """Whether a Cell changed, or a restart only looks whether it still compiles the same."""
        slots = self._desired.of_cell(step.cell).values()
        return not slots or any(s.bundle.cell_revision < step.revision for s in slots)

    def _unwant(self, cell: str) -> None:
        entry = self._cells.get(cell)
        if entry is not None:
            entry.wanted = False
            self.workers.wake(cell)
        self._changed(cell)

    def _complete(self, named: set[str]) -> None:
        for cell in [c for c in self._cells if c not in named]:
            self._log.info("cell.unknown_to_model", cell=cell)
            self._unwant(cell)
        self.synced.set()

    def _entry(self, cell: str) -> CellEntry | None:
        entry = self._cells.get(cell)
        if entry is None:
            name = CellName.parse(cell)
            if name is None:
                return None
            entry = self._cells[cell] = CellEntry(name=name)
        return entry

    def _plane_changed(self, data_plane: str, news: News) -> None:
        there = set(self._desired.cells_on(data_plane))
        self.deciding.plane_changed(data_plane)
        if news is News.FACTS:
            return
        if news in (News.PROFILE, News.GONE):
            for cell in there:
                self.workers.wake(cell)
                self._wake_readers(cell)
        for cell in there:
            if self.rolling.active(cell):
                self.workers.wake(cell)
            self._changed(cell)

    def _wake_readers(self, cell: str) -> None:
        for reader in self._readers.get(cell, ()):
            self.workers.wake(reader)

    def _observed(self, cell: str) -> None:
        entry = self._cells.get(cell)
        if entry is not None and (
            entry.wanted is False or self._moving.concerns(entry) or self.rolling.active(cell)
        ):
            self.workers.wake(cell)
        self._changed(cell)

    def _changed(self, cell: str) -> None:
        for watcher in self._on_change:
            watcher(cell)

    async def _reconcile(self, cell: str) -> None:
        entry = self._cells.get(cell)
        if entry is None or entry.wanted is None:
            return
        try:
            if entry.wanted:
                await self._bring_about(cell, entry)
            else:
                await self._dissolve(cell, entry)
        except Exception as error:
            cause = _cause(error)
            known = isinstance(cause, CellplaneError)
            entry.delay = str(cause) if known else "an internal error; see placement's log"
            self._changed(cell)
            raise cause from error
        entry.delay = ""

    async def _dissolve(self, cell: str, entry: CellEntry) -> None:
        for data_plane in list(self._desired.of_cell(cell)):
            if self._planes.get(data_plane) is None:
                await self._desired.forget(cell, data_plane)
            else:
                await self._desired.remove(cell, data_plane)
        entry.resolved = None
        entry.compilations.clear()
        if not self._desired.of_cell(cell) and not entry.wanted:
            await self.deciding.forget(cell)
            await self.rolling.forget(cell)
            if entry.wanted:
                return self.workers.wake(cell)
            self.deciding.drop(cell, entry.name.organization)
            self._cells.pop(cell, None)
            for target in target_cells(entry.name, entry.target_projects):
                self._readers.get(target, set()).discard(cell)
        self._wake_readers(cell)
        return None

    async def _bring_about(self, cell: str, entry: CellEntry) -> None:
        if entry.resolved is None or entry.resolved.revision < entry.revision:
            entry.resolved = await self._model.resolve(cell, entry.resolved)
        resolved = entry.resolved
        self._deciding_on.add(cell)
        try:
            self.deciding.want(demand_of(entry, resolved))
            await self.deciding.commits.settled(cell)
        finally:
            self._deciding_on.discard(cell)
        decided = entry.decided
        if decided is None:
            return
        organization = entry.name.organization
        wanted = await self.rolling.wanted(cell, entry, resolved)
        async with asyncio.TaskGroup() as group:
            for name in decided.deliverable:
                if name in wanted:
                    data_plane = f"organizations/{organization}/dataPlanes/{name}"
                    part = part_of(wanted[name], decided.decision.shares, name)
                    group.create_task(self._deliver(cell, entry, part, data_plane))
        if await self._moving.go_on(cell, entry):
            self.workers.wake(cell)
        self._changed(cell)

    def _held(self, cell: str, decided: Decided) -> None:
        """A decision is stored: what follows from it may happen."""
        entry = self._cells.get(cell)
        if entry is None:
            return
        before, entry.decided = entry.decided, decided
        if before is None or before.serving != decided.serving:
            self._wake_readers(cell)
        if before is None or before.data_planes != decided.data_planes:
            self._log.info(
                "cell.decided",
                cell=cell,
                data_planes=decided.data_planes,
                summary=decided.decision.trace.summary,
            )
        if cell not in self._deciding_on:
            self.workers.wake(cell)
        self._changed(cell)

    def look(self) -> None:
        """Let time go by for what is decided, and for what is on its way."""
        self.deciding.tick()
        for cell in (*self._moving.due(), *self.rolling.due()):
            self.workers.wake(cell)

    async def _deliver(
        self, cell: str, entry: CellEntry, resolved: Resolved, data_plane: str
    ) -> None:
        profile = self._planes.profile(data_plane)
        if profile is None:
            return
        peers = peers_of(entry.name, entry.target_projects, profile, self._profiles_of)
        before = entry.compilations.get(data_plane, Compilation())
        slices = self._compilers.slices(resolved)
        due = before.due(context_digest(resolved.frame.digest, profile, peers), slices)
        made: dict[Slice, list[Manifest]] = {}
        if due:
            made, problems = await self._compilers.compile(resolved, due.slices, profile, peers)
            failed = errors([*problems, *clashes(cell, made, before.kept(due, slices))])
            if failed:
                self._desired.refuse(cell, data_plane, resolved.namespace, failed)
                self._changed(cell)
                return
        # What the compilers look at may have become known only now.
        after = before.taking(due, self._compilers.slices(resolved), made)
        try:
            await self._desired.put(
                cell,
                data_plane,
                resolved.namespace,
                after.all_objects(),
                {m.digest: m.content for manifests in made.values() for m in manifests},
                resolved.revision,
            )
        except ContentsMissing:
            # What is known of the parts is not what is stored: compile all of them again.
            entry.compilations.pop(data_plane, None)
            raise
        entry.compilations[data_plane] = after

    def _profiles_of(self, cell: str) -> list[DataPlaneProfile]:
        entry = self._cells.get(cell)
        if entry is None or entry.decided is None or entry.wanted is False:
            return []
        organization = entry.name.organization
        found = (
            self._planes.profile(f"organizations/{organization}/dataPlanes/{name}")
            for name in entry.decided.serving
        )
        return [p for p in found if p is not None]


def _cause(error: Exception) -> Exception:
    """The first of several that failed together, as an error of ours where it is of the wire."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return explain(error).to_error() if isinstance(error, grpc.aio.AioRpcError) else error


class _Watcher(Protocol):
    def __call__(self, cell: str, /) -> None: ...
