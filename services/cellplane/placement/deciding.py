"""Where Cells are decided on: one keeper for each organization, as this service's world is.

The keepers are in memory, and a decision takes the room that it needs in the step that makes it.
What they decide is stored before anything follows from it, many decisions in one commit; what the
world took back meanwhile is not stored, and only that Cell is decided on again. They say which
Cells a change concerns, so that no other is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from math import inf

from cellplane.placement.cells import CellEntry
from cellplane.placement.commits import Commits, DecisionStore
from cellplane.placement.planes import Entry, Planes
from cellplane.placement.records import DataPlane, Decided, candidate_of
from cellplane.placement.scheduler.fleet import Change, Counters, Fleet
from cellplane.placement.scheduler.keeper import Keeper
from cellplane.placement.scheduler.moves import Move
from cellplane.placement.scheduler.outage import Limits
from cellplane.placement.scheduler.snapshot import Demand, total
from cellplane.runtime.clock import Clock

LIMITS = Limits(lost_seconds=inf)
"""When an agent is lost is measured where its words arrive."""


class Deciding:
    """Decides on Cells, and keeps what was decided."""

    def __init__(
        self,
        *,
        planes: Planes,
        store: DecisionStore,
        clock: Clock,
        speaks: Callable[[str, str], bool],
        limits: Limits = LIMITS,
    ) -> None:
        """``speaks(cell, data plane)``: whether what a Cell uses there is in what is reported."""
        self._planes = planes
        self._clock = clock
        self._speaks = speaks
        self._limits = limits
        self._keepers: dict[str, Keeper] = {}
        self.commits = Commits(store=store, on_held=self._held)
        self._known: dict[str, Decided] = {}
        """By Cell, what was decided last, stored or not yet."""
        self._on_held: list[Callable[[str, Decided], None]] = []

    def on_held(self, watcher: Callable[[str, Decided], None]) -> None:
        """Call ``watcher(cell, decided)`` when a decision is stored."""
        self._on_held.append(watcher)

    def keeper(self, organization: str) -> Keeper:
        """The data planes and Cells of an organization, over time."""
        found = self._keepers.get(organization)
        if found is None:
            now = self._now()
            fleet = Fleet(hold=True, firm=True, announce=True, now=now)
            found = Keeper(fleet=fleet, limits=self._limits, told=True)
            self._keepers[organization] = found
            for entry in self._planes.of_organization(organization):
                found.put(candidate_of(entry.plane, entry.membership, entry.state))
        return found

    def fleet(self, organization: str) -> Fleet:
        """The data planes and Cells of an organization, now."""
        return self.keeper(organization).fleet

    def counters(self) -> Counters:
        """Work done, by all keepers."""
        every = [keeper.fleet.counters for keeper in self._keepers.values()]
        sums = {f.name: sum(getattr(c, f.name) for c in every) for f in fields(Counters)}
        return Counters(**sums)

    def brakes(self) -> dict[str, str]:
        """By organization, why nothing moves because data planes are lost."""
        return {name: keeper.brake for name, keeper in self._keepers.items() if keeper.brake}

    def reserved(self, plane: DataPlane) -> dict[str, int]:
        """What is kept for the Cells of a data plane."""
        fleet = self.fleet(plane.organization)
        here = plane.data_plane
        return total(fleet.cells[cell].taken[here] for cell in fleet.on(here))

    # --- what happens -----------------------------------------------------------------------

    def load(self, entry: CellEntry, decided: Decided) -> None:
        """Take what was stored; what the Cell asks for is known once it is resolved."""
        cell, organization = str(entry.name), entry.name.organization
        keeper = self.keeper(organization)
        keeper.fleet.put_cell(
            Demand(cell=cell, organization=organization, requirement=entry.requirement)
        )
        keeper.fleet.restore(cell, decided.decision, decided.spreads, decided.reserved)
        keeper.restore(cell, decided.moves, decided.homes)
        resident = keeper.fleet.cells[cell]
        resident.intends, resident.said = decided.preempts, True
        self._known[cell] = decided

    def want(self, demand: Demand) -> None:
        """A Cell is wanted, or asks for something else."""
        keeper = self.keeper(demand.organization)
        keeper.want(demand)
        self._settle(keeper)
        self._note(keeper, demand.cell)

    def plane_changed(self, data_plane: str) -> None:
        """A data plane is there, different, or gone."""
        organization, own_id = data_plane.split("/")[1], data_plane.rsplit("/", 1)[-1]
        keeper = self.keeper(organization)
        entry = self._planes.get(data_plane)
        if entry is None:
            keeper.drop(own_id)
        else:
            claims = self._claims(keeper.fleet, entry)
            keeper.put(candidate_of(entry.plane, entry.membership, entry.state, claims))
        self._settle(keeper)

    def tick(self) -> None:
        """Let time go by: patience, tolerations and hold-downs end; a failed commit is repeated."""
        for keeper in self._keepers.values():
            self._take(keeper, keeper.advance(max(self._now(), keeper.now)))
        self.commits.begin()

    def rebalance(self, organization: str, budget: int) -> list[Change]:
        """Move up to so many copies to where they are better off."""
        keeper = self.keeper(organization)
        changes = list(keeper.rebalance(budget))
        self._take(keeper, changes)
        return changes

    def proceed(self, move: Move, organization: str) -> None:
        """The next step of a move was made."""
        keeper = self.keeper(organization)
        keeper.proceed(move)
        self._note(keeper, move.cell)

    def left(self, cell: str, data_plane: str) -> None:
        """Nothing of a Cell is on a data plane any more."""
        keeper = self.keeper(data_plane.split("/")[1])
        if cell in keeper.fleet.cells:
            keeper.left(cell, data_plane.rsplit("/", 1)[-1])
            self._settle(keeper)
            self._note(keeper, cell)

    async def forget(self, cell: str) -> None:
        """A Cell is gone."""
        self._known.pop(cell, None)
        await self.commits.forget(cell)

    def drop(self, cell: str, organization: str) -> None:
        """A Cell takes no place any more: others may have it."""
        keeper = self.keeper(organization)
        keeper.unwant(cell)
        self._known.pop(cell, None)
        self._settle(keeper)

    def copy(self, organization: str) -> Keeper:
        """The same world, to try something in."""
        known = self.keeper(organization).fleet
        scratch = Fleet(firm=True, now=known.index.now)
        for plane in known.index.planes:
            if plane is not None:
                scratch.put_plane(plane)
        for cell in sorted(known.cells):
            scratch.put_cell(known.cells[cell].demand)
        for cell, resident in sorted(known.cells.items()):
            if resident.decision is not None:
                scratch.restore(cell, resident.decision, resident.spreads, resident.taken)
                scratch.cells[cell].restored = resident.restored
                scratch.cells[cell].leaving.update(resident.leaving)
        return Keeper(fleet=scratch, limits=self._limits)

    # --- what follows -----------------------------------------------------------------------

    def _settle(self, keeper: Keeper) -> None:
        self._take(keeper, keeper.settle())

    def _take(self, keeper: Keeper, changes: Iterable[Change]) -> None:
        for change in changes:
            self._note(keeper, change.cell)
        for cell in keeper.returned():
            self._note(keeper, cell)

    def _note(self, keeper: Keeper, cell: str) -> None:
        """Store what was decided on a Cell, if it is anything new."""
        resident = keeper.fleet.cells.get(cell)
        if resident is None or resident.decision is None or resident.restored:
            return
        before, time = self._known.get(cell), self._clock.now()
        if before is not None and before.data_planes == resident.data_planes:
            time = before.decide_time
        decided = Decided(
            decision=resident.decision,
            decide_time=time,
            spreads=resident.spreads,
            reserved={name: dict(a) for name, a in sorted(resident.taken.items())},
            moves=keeper.moves.of(cell),
            homes=keeper.homes_of(cell),
            preempts=resident.intends,
        )
        if before is None or not decided.same(before):
            self._known[cell] = decided
            self.commits.add(cell, decided)

    def _held(self, cell: str, decided: Decided) -> None:
        """A decision is stored: what it announced happens next."""
        organization = cell.split("/")[1]
        for watcher in self._on_held:
            watcher(cell, decided)
        keeper = self.keeper(organization)
        resident = keeper.fleet.cells.get(cell)
        if resident is not None and resident.intends and resident.intends == decided.preempts:
            resident.said = True
            keeper.fleet.wake(cell)
            self._settle(keeper)
            self._note(keeper, cell)

    def _claims(self, fleet: Fleet, entry: Entry) -> dict[str, int]:
        """What is counted for the Cells of whose use an agent speaks."""
        name, own_id = entry.plane.name, entry.plane.data_plane
        cells = (c for c in fleet.on(own_id) if self._speaks(c, name))
        return total(fleet.cells[cell].taken[own_id] for cell in cells)

    def _now(self) -> float:
        return self._clock.now().timestamp()
