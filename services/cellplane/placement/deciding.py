"""Where Cells are decided on: one fleet for each organization, kept as this service's world is.

The fleets are in memory; what they decide is stored before anything follows from it. They say which
Cells a change of a data plane concerns, so that no other Cell is woken.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

import structlog

from cellplane.cell.problem import NotFound
from cellplane.placement.cells import CellEntry
from cellplane.placement.planes import Planes
from cellplane.placement.records import Decided, candidate_of
from cellplane.placement.scheduler.decide import Unplaceable
from cellplane.placement.scheduler.fleet import Counters, Fleet
from cellplane.placement.scheduler.outage import Limits, brake, patience
from cellplane.placement.scheduler.snapshot import Demand, PlaneState
from cellplane.runtime.clock import Clock


class DecisionStore(Protocol):
    """Keeps decisions."""

    async def save_decisions(self, decided: Mapping[str, Decided]) -> None:
        """Store where Cells are to be, all or none."""
        ...

    async def forget_decision(self, cell: str) -> None:
        """Forget a Cell."""
        ...


class Deciding:
    """Decides on Cells, and keeps what was decided."""

    def __init__(self, *, planes: Planes, store: DecisionStore, clock: Clock) -> None:
        self._planes = planes
        self._store = store
        self._clock = clock
        self._fleets: dict[str, Fleet] = {}
        self._pending: dict[str, Decided] = {}
        self._saving: asyncio.Task[None] | None = None
        self._log = structlog.get_logger()
        self.limits = Limits()

    def fleet(self, organization: str) -> Fleet:
        """The data planes and Cells of an organization."""
        found = self._fleets.get(organization)
        if found is None:
            found = Fleet(now=self._clock.now().timestamp())
            self._fleets[organization] = found
            for entry in self._planes.of_organization(organization):
                found.put_plane(candidate_of(entry.plane, entry.membership, entry.state, 0))
        return found

    def counters(self) -> Counters:
        """Work done, by all fleets."""
        every = [f.counters for f in self._fleets.values()]
        return Counters(
            evaluated=sum(c.evaluated for c in every), affected=sum(c.affected for c in every)
        )

    def load(self, entry: CellEntry, decided: Decided) -> None:
        """Take what was stored; what the Cell asks for is known once it is resolved."""
        cell = str(entry.name)
        fleet = self.fleet(entry.name.organization)
        fleet.put_cell(
            Demand(cell=cell, organization=entry.name.organization, requirement=entry.requirement)
        )
        fleet.restore(cell, decided.decision, decided.spreads)

    def plane_changed(self, data_plane: str) -> list[str]:
        """A data plane is there, different, or gone: the Cells that have to be decided on."""
        organization, own_id = data_plane.split("/")[1], data_plane.rsplit("/", 1)[-1]
        fleet = self.fleet(organization)
        entry = self._planes.get(data_plane)
        if entry is None:
            fleet.drop_plane(own_id)
        else:
            fleet.put_plane(candidate_of(entry.plane, entry.membership, entry.state, 0))
            if entry.state is PlaneState.READY:
                for cell in fleet.on(own_id):
                    if fleet.cells[cell].leaving.get(own_id) == "LOST":
                        fleet.remain(cell, own_id)
        return fleet.due()

    def lost(self, silence: float) -> list[str]:
        """The Cells that have been patient with lost data planes for long enough.

        None while so many are silent that nothing may move; it is looked at again each time.

        Args:
            silence: After how many seconds of it a data plane is lost.
        """
        now = self._clock.monotonic()
        found: list[str] = []
        for fleet in self._fleets.values():
            fleet.index.advance(self._clock.now().timestamp())
            planes = [p for p in fleet.index.planes if p is not None]
            lost = [p for p in planes if p.state is PlaneState.LOST]
            if not lost or brake(planes, self.limits):
                continue
            for plane in lost:
                name = f"organizations/{plane.organization}/dataPlanes/{plane.data_plane}"
                entry = self._planes.get(name)
                for cell in fleet.on(plane.data_plane) if entry is not None else ():
                    resident = fleet.cells[cell]
                    since = entry.heard + silence if entry is not None else now
                    known = plane.data_plane in resident.leaving
                    if not known and now - since >= patience(resident.demand):
                        fleet.leave(cell, plane.data_plane, "LOST")
            found += fleet.due()
        return found

    async def decide(self, entry: CellEntry, demand: Demand) -> list[str] | None:
        """Decide on a Cell, if anything that matters to it changed, and store it.

        Returns:
            Cells that have to be decided on because of it, or ``None`` if nothing is new.
        """
        cell, before = demand.cell, entry.decided
        # Nothing is awaited until the decision is noted: the next one sees where this one went.
        fleet = self.fleet(demand.organization)
        fleet.put_cell(demand)
        resident = fleet.cells[cell]
        if fleet.is_due(cell) or resident.decision is None:
            fleet.decide(cell)
        decision = resident.decision
        if decision is None:
            raise NotFound(f"cell {cell} was not decided on")
        moved = before is None or before.data_planes != decision.data_planes
        was = before is not None and isinstance(before.decision, Unplaceable)
        same = not moved and before is not None and was is isinstance(decision, Unplaceable)
        entry.decided = Decided(
            decision=decision,
            decide_time=self._clock.now() if moved or before is None else before.decide_time,
            spreads=resident.spreads,
        )
        woken = fleet.due()
        if same and before is not None:
            if before.spreads != entry.decided.spreads:
                await self._save(cell, entry.decided)
            return woken or None
        await self._save(cell, entry.decided)
        self._log.info(
            "cell.decided",
            cell=cell,
            data_planes=decision.data_planes,
            summary=decision.trace.summary,
        )
        return woken

    async def forget(self, cell: str) -> None:
        """A Cell is gone."""
        await self._settled()
        await self._store.forget_decision(cell)

    def drop(self, cell: str, organization: str) -> list[str]:
        """A Cell takes no place any more: the Cells that may have it."""
        fleet = self.fleet(organization)
        fleet.drop_cell(cell)
        return fleet.due()

    def copy(self, organization: str) -> Fleet:
        """The same world, to try something in."""
        known = self.fleet(organization)
        scratch = Fleet(now=known.index.now)
        for plane in known.index.planes:
            if plane is not None:
                scratch.put_plane(plane)
        for cell in sorted(known.cells):
            scratch.put_cell(known.cells[cell].demand)
        for cell, resident in sorted(known.cells.items()):
            if resident.decision is not None:
                scratch.restore(cell, resident.decision, resident.spreads)
                scratch.cells[cell].leaving.update(resident.leaving)
        return scratch

    async def _save(self, cell: str, decided: Decided) -> None:
        """Store with all that come meanwhile: one commit for many, and none is told before."""
        self._pending[cell] = decided
        while self._pending.get(cell) is decided:
            if self._saving is None or self._saving.done():
                self._saving = asyncio.create_task(self._commit(), name="decisions")
            await asyncio.shield(self._saving)

    async def _commit(self) -> None:
        while self._pending:
            batch = dict(self._pending)
            await self._store.save_decisions(batch)
            for cell, decided in batch.items():
                if self._pending.get(cell) is decided:
                    del self._pending[cell]

    async def _settled(self) -> None:
        if self._saving is not None and not self._saving.done():
            await asyncio.shield(self._saving)
