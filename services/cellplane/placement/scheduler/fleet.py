"""Every Cell and every data plane of a world, decided again only where a change can matter.

What a decision read is kept as bitsets: Cells with an equal demand share one ``Feasible``, so a
change of a plane is one comparison for each signature, not for each Cell. A change wakes the Cells
on the plane whose rules it breaks, and of the parked ones those that it could help, one at a time:
the next one of a signature only if the one before got a place. Nothing else is looked at. The
answer does not depend on the order in which Cells and planes came, and is that of ``decide``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from weakref import WeakValueDictionary

from cellplane.cell.requirement import Spread
from cellplane.placement.scheduler.decide import Decision, Placed, Unplaceable, decide_on, look
from cellplane.placement.scheduler.feasible import Feasible, Signature, signature
from cellplane.placement.scheduler.index import Index, slots_of
from cellplane.placement.scheduler.neighbours import Neighbours, regrouped
from cellplane.placement.scheduler.preemption import announced, takers_below, victims
from cellplane.placement.scheduler.resident import Change, Counters, Resident
from cellplane.placement.scheduler.shares import amounts_on
from cellplane.placement.scheduler.snapshot import Amounts, Demand, Plane, Previous, Snapshot
from cellplane.placement.scheduler.waiting import Waiting

__all__ = ["Change", "Counters", "Fleet", "Resident"]


class Fleet:
    """Decides on Cells as the world changes."""

    def __init__(
        self,
        *,
        hold: bool = False,
        firm: bool = False,
        announce: bool = False,
        now: float = 0.0,
    ) -> None:
        """Start empty.

        Args:
            hold: What a Cell leaves is free only once ``release`` says so.
            firm: A Cell keeps what it has where there turns out to be less than was thought.
            announce: A Cell that is to take others' places says so first, and takes them when it
                is decided on the next time.
            now: The time.
        """
        self.index = Index(now=now, firm=firm)
        self.counters = Counters()
        self.cells: dict[str, Resident] = {}
        self._hold = hold
        self._announce = announce
        self._signatures: WeakValueDictionary[Signature, Feasible] = WeakValueDictionary()
        self._waiting = Waiting(self.cells, self.counters)
        self._neighbours = Neighbours(self.cells, self.index)
        self._on = self._waiting.on

    def on(self, data_plane: str) -> list[str]:
        """Cells that take something of a data plane, sorted."""
        return sorted(self._on.get(data_plane, ()))

    def parked(self) -> list[str]:
        """Cells that cannot be placed, sorted."""
        return self._waiting.parked()

    def wake(self, cell: str) -> None:
        """Decide on a Cell again."""
        self._waiting.wake(cell)

    def put_plane(self, plane: Plane) -> None:
        """A data plane is there, or is different."""
        before = self.index.get(plane.data_plane)
        if before == plane:
            return
        self.index.put(plane)
        slot = self.index.slot(plane.data_plane)
        if slot is None:
            return
        bit = 1 << slot
        moved = regrouped(before, plane)
        for cell in self._on.get(plane.data_plane, ()):
            resident = self.cells[cell]
            resident.feasible.refresh()
            keys = {s.topology_key for s in resident.demand.requirement.spreads if not s.soft}
            if not resident.feasible.stay & bit or keys & moved:
                self.wake(cell)
        for cell in self._on.get(plane.data_plane, ()) if moved else ():
            self._tell(self.cells[cell])
        self._crowded(slot)
        self._waiting.relieved[plane.data_plane] = None

    def drop_plane(self, data_plane: str) -> None:
        """A data plane is gone, and what was on it."""
        self.index.drop(data_plane)
        for cell in self._on.pop(data_plane, {}):
            self.cells[cell].taken.pop(data_plane, None)
            self.wake(cell)

    def put_cell(self, demand: Demand) -> None:
        """A Cell is wanted, or asks for something else."""
        demand = demand.whole()
        resident = self.cells.get(demand.cell)
        if resident is None:
            bound = self._neighbours.bind(demand)
            resident = Resident(demand=demand, bound=bound, feasible=self._feasible(bound))
            self.cells[demand.cell] = resident
        elif resident.demand == demand and not resident.restored:
            return
        else:
            self._neighbours.read(resident.demand, on=False)
            self._waiting.unpark(demand.cell)
            resident.demand = demand
            self._rebind(resident)
            if isinstance(resident.decision, Unplaceable):
                self._waiting.park(resident)
            self._hear(resident)
        self._neighbours.read(demand, on=True)
        self.wake(demand.cell)

    def restore(
        self,
        cell: str,
        decision: Decision,
        spreads: tuple[Spread, ...],
        taken: Mapping[str, Amounts] | None = None,
    ) -> None:
        """Take a decision that was made before, without making it again.

        With what the Cell has *taken* by data plane, it is not decided on before ``put_cell`` has
        said what it asks for; until then it keeps what it has, also where it is about to leave.
        """
        resident = self.cells[cell]
        known = tuple(n for n in decision.data_planes if self.index.slot(n) is not None)
        resident.decision, resident.spreads = decision, spreads
        for name in known if taken is None else ():
            self._take(resident, name, amounts_on(resident.demand, decision.shares, name))
        for name, amounts in (taken or {}).items():
            self._take(resident, name, dict(amounts))
        resident.restored = taken is not None
        self._waiting.settle(cell)
        if isinstance(decision, Unplaceable):
            self._waiting.park(resident)
        if known != decision.data_planes or self._broken(resident):
            self.wake(cell)

    def _hear(self, resident: Resident) -> None:
        """It is known what a Cell asks for that was only read: what was not counted is counted."""
        if resident.restored and resident.decision is not None:
            shares = resident.decision.shares
            for name in resident.data_planes:
                if name not in resident.taken:
                    self._take(resident, name, amounts_on(resident.demand, shares, name))
        resident.restored = False

    def drop_cell(self, cell: str) -> None:
        """A Cell is not wanted any more."""
        resident = self.cells.get(cell)
        if resident is None:
            return
        self._waiting.unpark(cell)
        for name in list(resident.taken):
            self.release(cell, name)
        self._neighbours.read(resident.demand, on=False)
        del self.cells[cell]
        self._waiting.settle(cell)
        self._tell(resident)

    def leave(self, cell: str, data_plane: str, word: str) -> None:
        """A Cell has to leave a data plane, once there is a replacement."""
        self.cells[cell].leaving[data_plane] = word
        self.wake(cell)

    def remain(self, cell: str, data_plane: str) -> None:
        """It does not have to leave it any more."""
        resident = self.cells.get(cell)
        if resident is not None and resident.leaving.pop(data_plane, None) is not None:
            self.wake(cell)

    def release(self, cell: str, data_plane: str) -> None:
        """A Cell has left a data plane for good: what it took there is free."""
        resident, slot = self.cells[cell], self.index.slot(data_plane)
        taken = resident.taken.pop(data_plane, None)
        if taken is None or slot is None:
            return
        self._on.get(data_plane, {}).pop(cell, None)
        self.index.occupy(slot, taken, sign=-1)
        self._waiting.relieved[data_plane] = None

    def run(self, at_most: int | None = None) -> Iterator[Change]:
        """Decide on every Cell that was woken, by priority and name; yields what changed."""
        while at_most != 0 and (cell := self._waiting.next()) is not None:
            at_most = None if at_most is None else at_most - 1
            yield from self._decide(self.cells[cell])

    def is_due(self, cell: str) -> bool:
        """Whether a Cell has to be decided on."""
        return self._waiting.is_due(cell)

    def due(self) -> list[str]:
        """The Cells that have to be decided on, sorted."""
        return self._waiting.due()

    def decide(self, cell: str) -> list[Change]:
        """Decide on one Cell now, and on those that had to go for it."""
        self._waiting.settle(cell)
        return list(self._decide(self.cells[cell]))

    def previous(self, resident: Resident) -> Previous:
        """Where a Cell is."""
        split = resident.decision.shares if resident.decision is not None else ()
        return Previous(
            data_planes=resident.data_planes,
            spreads=resident.spreads,
            leaving=resident.leaving,
            shares=split,
        )

    def seen(self, resident: Resident) -> Snapshot:
        """The world as one Cell sees it: what it takes itself is not counted."""
        view = look(resident.feasible, resident.bound, self.previous(resident), resident.taken)
        return Snapshot(
            planes=tuple(view.plane(slot) for slot in slots_of(self.index.everything)),
            cells={name: r.data_planes for name, r in self.cells.items() if r.data_planes}
            if resident.demand.requirement.affinities
            else {},
            now=self.index.now,
        )

    def ask(self, resident: Resident, previous: Previous) -> Decision:
        """What would be decided on a Cell if it were there; commits nothing."""
        return decide_on(resident.feasible, resident.bound, previous, resident.taken)

    def commit(self, resident: Resident, decision: Decision) -> Change | None:
        """Take a decision, and what it needs."""
        cell, before = resident.demand.cell, resident.data_planes
        was_parked = isinstance(resident.decision, Unplaceable)
        new = resident.decision is None
        parked = isinstance(decision, Unplaceable)
        split = resident.decision.shares if resident.decision is not None else ()
        causes = {
            name: resident.leaving.get(name) or self._why(resident, name)
            for name in before
            if name not in decision.data_planes
        }
        resident.decision = decision
        if not parked or new:
            resident.spreads = resident.demand.requirement.spreads
        self._waiting.unpark(cell)
        if parked:
            self._waiting.park(resident)
            self.counters.parked += not was_parked
        for name in decision.data_planes:
            # A Cell that is blocked keeps what it had: it gets no more of what it asks for.
            if not parked or name not in resident.taken:
                self._take(resident, name, amounts_on(resident.demand, decision.shares, name))
        for name in [n for n in resident.taken if n not in decision.data_planes]:
            resident.leaving.pop(name, None)
            if not self._hold:
                self.release(cell, name)
        moved = before != decision.data_planes
        if moved:
            self._tell(resident)
        if not (moved or new or was_parked is not parked or split != decision.shares):
            return None
        self.counters.affected += 1
        self.counters.moved += len(causes)
        return Change(cell=cell, before=before, decision=decision, causes=causes)

    def _decide(self, resident: Resident) -> Iterator[Change]:
        self._rebind(resident)
        self.counters.evaluated += 1
        decision = self.ask(resident, self.previous(resident))
        gone: list[tuple[str, str]] = []
        known = resident.intends if resident.said else ()
        resident.intends, resident.said = (), False
        if isinstance(decision, Unplaceable) and resident.demand.requirement.preemption:
            gone = self.preempts(resident)
            if self._announce and gone and known != tuple(gone):
                yield self._announced(resident, decision, tuple(gone))
                return
            for victim, name in gone:
                yield from self._evict(self.cells[victim], name)
            if gone:
                decision = self.ask(resident, self.previous(resident))
        changed = self.commit(resident, decision)
        if changed is not None:
            yield replace(changed, preempts=tuple(gone))
            self._waiting.next_parked(resident)
        for name in changed.before if changed is not None else ():
            slot = self.index.slot(name)
            if slot is not None:
                self._crowded(slot)

    def _announced(
        self, resident: Resident, decision: Unplaceable, gone: tuple[tuple[str, str], ...]
    ) -> Change:
        """It says whose place it takes; that is done when it is decided on once more."""
        said = announced(decision, gone)
        before = resident.data_planes
        changed = self.commit(resident, said)
        resident.intends = gone
        return replace(
            changed or Change(cell=resident.demand.cell, before=before, decision=said),
            announces=gone,
        )

    def preempts(self, resident: Resident) -> list[tuple[str, str]]:
        """The Cells that would have to go for one, and from where; none if it would be in vain."""
        takers = takers_below(self.cells.values(), resident.priority, self.index)

        def ask() -> Decision:
            return self.ask(resident, self.previous(resident))

        return victims(self.index, resident.demand, takers, resident.taken, ask)

    def _evict(self, victim: Resident, name: str) -> Iterator[Change]:
        """Find another place for it, or none: it has to go either way."""
        victim.leaving[name] = "PREEMPTED"
        self.counters.evaluated += 1
        decision = self.ask(victim, self.previous(victim))
        if name in decision.data_planes:
            rest = tuple(n for n in decision.data_planes if n != name)
            why = f"has to go from {name} for a Cell of higher priority, and fits nowhere else"
            trace = replace(decision.trace, summary=why)
            decision = replace(decision, data_planes=rest, trace=trace)
        changed = self.commit(victim, decision)
        # Its place is needed now: this is the one move that does not wait for its end.
        self.release(victim.demand.cell, name)
        if changed is not None:
            yield changed

    def _why(self, resident: Resident, name: str) -> str:
        """The rule that makes it leave, as far as one does."""
        slot = self.index.slot(name)
        if slot is None:
            return "GONE"
        bit = 1 << slot
        if resident.feasible.stay & bit:
            fits = self.index.fits(slot, resident.feasible.amounts, resident.taken.get(name))
            return "SPREAD" if fits else "CAPACITY"
        rules = (reason for reason, bits in resident.feasible.kept_out if bits & bit)
        return next(rules, "RULE")

    def _broken(self, resident: Resident) -> bool:
        resident.feasible.refresh()
        there = self.index.bits(resident.data_planes)
        return bool(there & ~resident.feasible.stay)

    def _feasible(self, bound: Demand) -> Feasible:
        key = signature(bound)
        found = self._signatures.get(key)
        if found is None:
            found = self._signatures[key] = Feasible(self.index, bound)
        return found

    def _rebind(self, resident: Resident) -> None:
        bound = self._neighbours.bind(resident.demand)
        if bound != resident.bound:
            self._waiting.unpark(resident.demand.cell)
            resident.bound, resident.feasible = bound, self._feasible(bound)
            if isinstance(resident.decision, Unplaceable):
                self._waiting.park(resident)

    def _tell(self, resident: Resident) -> None:
        """A Cell is elsewhere: see to those that read where it is, or that it keeps away."""
        for name in self._neighbours.concerned(resident.demand):
            reader = self.cells.get(name)
            if reader is None:
                continue
            self._rebind(reader)
            if not isinstance(reader.decision, Placed) or self._broken(reader):
                self.wake(name)

    def _take(self, resident: Resident, name: str, amounts: dict[str, int]) -> None:
        slot, before = self.index.slot(name), resident.taken.get(name)
        if slot is None or before == amounts:
            return
        if before is not None:
            self.index.occupy(slot, before, sign=-1)
            self._waiting.relieved[name] = None
        self.index.occupy(slot, amounts)
        resident.taken[name] = amounts
        self._on.setdefault(name, {})[resident.demand.cell] = None

    def _crowded(self, slot: int) -> None:
        """More is taken of a plane than there is: the Cell that matters least goes first."""
        name = self.index.at(slot).data_plane
        over = self.index.over(slot)
        if not over or self.index.firm:
            return
        here = [self.cells[c] for c in self._on.get(name, ())]
        for resident in sorted(here, key=lambda r: (r.priority, r.demand.cell)):
            if isinstance(resident.decision, Unplaceable) or resident.demand.stateful:
                continue
            if any(resident.taken[name].get(resource) for resource in over):
                self.wake(resident.demand.cell)
                return
