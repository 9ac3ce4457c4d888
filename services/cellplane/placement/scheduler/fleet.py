"""Every Cell and every data plane of a world, decided again only where a change can matter.

What a decision read is kept as bitsets: Cells with an equal demand share one ``Feasible``, so a
change of a plane is one comparison for each signature, not for each Cell. A change wakes the Cells
on the plane whose rules it breaks, and of the parked ones those that it could help, one at a time:
the next one of a signature only if the one before got a place. Nothing else is looked at. The
answer does not depend on the order in which Cells and planes came, and is that of ``decide``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from weakref import WeakValueDictionary

from cellplane.cell.requirement import Spread
from cellplane.placement.scheduler.decide import Decision, Placed, Unplaceable, decide_on, look
from cellplane.placement.scheduler.feasible import Feasible, Signature, signature
from cellplane.placement.scheduler.index import Index, slots_of
from cellplane.placement.scheduler.preemption import Taker, victims
from cellplane.placement.scheduler.shares import amounts_on
from cellplane.placement.scheduler.snapshot import (
    Demand,
    Near,
    Plane,
    Previous,
    Snapshot,
    bind,
    neighbour,
)


@dataclass(slots=True, kw_only=True)
class Resident:
    """One Cell of the fleet."""

    demand: Demand
    bound: Demand
    feasible: Feasible
    decision: Decision | None = None
    spreads: tuple[Spread, ...] = ()
    leaving: dict[str, str] = field(default_factory=dict)
    """Data planes that it has to leave, and why."""
    taken: dict[str, dict[str, int]] = field(default_factory=dict)
    """By data plane, what it takes there, or has reserved."""

    @property
    def data_planes(self) -> tuple[str, ...]:
        """Where it is to be, or stays."""
        return self.decision.data_planes if self.decision is not None else ()

    @property
    def priority(self) -> int:
        """Cells with more are decided first."""
        return self.demand.requirement.priority or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A decision that is another than the one before."""

    cell: str
    before: tuple[str, ...]
    decision: Decision
    causes: Mapping[str, str] = field(default_factory=dict)
    """By data plane that it leaves, why: the word of the rule."""
    preempts: tuple[tuple[str, str], ...] = ()
    """Cells that had to go for it, and from where."""


@dataclass(slots=True, kw_only=True)
class Counters:
    """Work done."""

    evaluated: int = 0
    """Decisions made."""
    affected: int = 0
    """Decisions that differ from the ones before."""


class Fleet:
    """Decides on Cells as the world changes."""

    def __init__(self, *, hold: bool = False, now: float = 0.0) -> None:
        """Start empty; with *hold*, what a Cell leaves is free only once ``release`` says so."""
        self.index = Index(now=now)
        self.counters = Counters()
        self.cells: dict[str, Resident] = {}
        self._hold = hold
        self._signatures: WeakValueDictionary[Signature, Feasible] = WeakValueDictionary()
        self._on: dict[str, dict[str, None]] = {}
        """By data plane, the Cells that take something of it."""
        self._parked: dict[Feasible, set[str]] = {}
        self._seen: dict[Feasible, int] = {}
        """By signature with parked Cells, the planes that were open when one was tried last."""
        self._relieved: dict[str, None] = {}
        """Data planes on which something got better for those that are blocked there."""
        self._readers: dict[str, set[str]] = {}
        """By Cell, those that read where it is."""
        self._due: dict[str, None] = {}
        self._queue: list[tuple[int, str]] = []

    def on(self, data_plane: str) -> list[str]:
        """Cells that take something of a data plane, sorted."""
        return sorted(self._on.get(data_plane, ()))

    def parked(self) -> list[str]:
        """Cells that cannot be placed, sorted."""
        return sorted(cell for cells in self._parked.values() for cell in cells)

    def wake(self, cell: str) -> None:
        """Decide on a Cell again."""
        if cell in self.cells and cell not in self._due:
            self._due[cell] = None
            heappush(self._queue, (-self.cells[cell].priority, cell))

    # --- what changes -----------------------------------------------------------------------

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
        moved = _regrouped(before, plane)
        for cell in self._on.get(plane.data_plane, ()):
            resident = self.cells[cell]
            resident.feasible.refresh()
            keys = {s.topology_key for s in resident.demand.requirement.spreads if not s.soft}
            if not resident.feasible.stay & bit or keys & moved:
                self.wake(cell)
        if moved:
            self._regroup(plane.data_plane)
        self._crowded(slot)
        self._relieved[plane.data_plane] = None

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
            bound = self._bind(demand)
            resident = Resident(demand=demand, bound=bound, feasible=self._feasible(bound))
            self.cells[demand.cell] = resident
        elif resident.demand == demand:
            return
        else:
            self._read(resident.demand, on=False)
            self._unpark(demand.cell)
            resident.demand = demand
            self._rebind(resident)
        self._read(demand, on=True)
        self.wake(demand.cell)

    def restore(self, cell: str, decision: Decision, spreads: tuple[Spread, ...]) -> None:
        """Take a decision that was made before, without making it again."""
        resident = self.cells[cell]
        known = tuple(n for n in decision.data_planes if self.index.slot(n) is not None)
        resident.decision, resident.spreads = decision, spreads
        for name in known:
            self._take(resident, name, amounts_on(resident.demand, decision.shares, name))
        self._due.pop(cell, None)
        if isinstance(decision, Unplaceable):
            self._park(resident)
        if known != decision.data_planes or self._broken(resident):
            self.wake(cell)

    def drop_cell(self, cell: str) -> None:
        """A Cell is not wanted any more."""
        resident = self.cells.get(cell)
        if resident is None:
            return
        self._unpark(cell)
        for name in list(resident.taken):
            self.release(cell, name)
        self._read(resident.demand, on=False)
        del self.cells[cell]
        self._due.pop(cell, None)
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
        self._relieved[data_plane] = None

    # --- what follows -----------------------------------------------------------------------

    def run(self, at_most: int | None = None) -> Iterator[Change]:
        """Decide on every Cell that was woken, by priority and name; yields what changed."""
        while at_most != 0 and (self._queue or self._help()):
            _, cell = heappop(self._queue)
            if cell not in self._due:
                continue
            del self._due[cell]
            at_most = None if at_most is None else at_most - 1
            yield from self._decide(self.cells[cell])

    def is_due(self, cell: str) -> bool:
        """Whether a Cell has to be decided on."""
        return cell in self._due

    def due(self) -> list[str]:
        """The Cells that have to be decided on, sorted."""
        self._help()
        return sorted(self._due)

    def decide(self, cell: str) -> list[Change]:
        """Decide on one Cell now, and on those that had to go for it."""
        self._due.pop(cell, None)
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
        self._unpark(cell)
        if parked:
            self._park(resident)
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
        return Change(cell=cell, before=before, decision=decision, causes=causes)

    def _decide(self, resident: Resident) -> Iterator[Change]:
        self._rebind(resident)
        self.counters.evaluated += 1
        decision = self.ask(resident, self.previous(resident))
        gone: list[tuple[str, str]] = []
        if isinstance(decision, Unplaceable) and resident.demand.requirement.preemption:
            for victim, name in self.preempts(resident):
                gone.append((victim, name))
                yield from self._evict(self.cells[victim], name)
            if gone:
                decision = self.ask(resident, self.previous(resident))
        changed = self.commit(resident, decision)
        if changed is not None:
            yield replace(changed, preempts=tuple(gone))
            self._next_parked(resident)
        for name in changed.before if changed is not None else ():
            slot = self.index.slot(name)
            if slot is not None:
                self._crowded(slot)

    def preempts(self, resident: Resident) -> list[tuple[str, str]]:
        """The Cells that would have to go for one, and from where; none if it would be in vain."""
        takers = [
            Taker(priority=r.priority, cell=r.demand.cell, slot=slot, amounts=amounts)
            for r in self.cells.values()
            if r.priority < resident.priority
            and not (r.demand.requirement.stays or r.demand.stateful)
            for name, amounts in r.taken.items()
            if (slot := self.index.slot(name)) is not None
        ]

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

    def _bind(self, demand: Demand) -> Demand:
        where = {
            other: self.cells[other].data_planes
            for a in demand.requirement.affinities
            if (other := neighbour(demand.cell, a.cell)) in self.cells
        }
        bound = bind(demand, where, self.index.get, self.index.now)
        near = [n for n in bound.near if n.apart or n.groups or not self._mutual(demand.cell, n)]
        near += self._kept_apart(demand.cell)
        return bound if tuple(near) == bound.near else replace(bound, near=tuple(near))

    def _mutual(self, cell: str, near: Near) -> bool:
        """Whether a Cell that is nowhere yet waits for this one: then one has to go first."""
        other = self.cells.get(near.cell)
        return other is not None and any(
            neighbour(near.cell, a.cell) == cell and not a.apart
            for a in other.demand.requirement.affinities
        )

    def _kept_apart(self, cell: str) -> Iterator[Near]:
        """What Cells that have to be apart from this one ask of it."""
        for name in sorted(self._readers.get(cell, ())):
            other = self.cells[name]
            for affinity in other.demand.requirement.affinities:
                hard = affinity.apart and affinity.weight is None
                if hard and neighbour(name, affinity.cell) == cell and other.data_planes:
                    yield Near(
                        cell=name,
                        topology_key=affinity.topology_key,
                        apart=True,
                        weight=None,
                        groups=self._groups(affinity.topology_key, other.data_planes),
                    )

    def _groups(self, key: str, names: Iterable[str]) -> frozenset[str]:
        planes = (self.index.get(name) for name in names)
        found = {p.labels.get(key, "") if key else p.data_plane for p in planes if p is not None}
        return frozenset(found - {""})

    def _rebind(self, resident: Resident) -> None:
        bound = self._bind(resident.demand)
        if bound != resident.bound:
            self._unpark(resident.demand.cell)
            resident.bound, resident.feasible = bound, self._feasible(bound)
            if isinstance(resident.decision, Unplaceable):
                self._park(resident)

    def _read(self, demand: Demand, *, on: bool) -> None:
        for affinity in demand.requirement.affinities:
            readers = self._readers.setdefault(neighbour(demand.cell, affinity.cell), set())
            (readers.add if on else readers.discard)(demand.cell)

    def _tell(self, resident: Resident) -> None:
        """A Cell is elsewhere: see to those that read where it is, or that it keeps away."""
        cell = resident.demand.cell
        kept_away = {
            neighbour(cell, a.cell)
            for a in resident.demand.requirement.affinities
            if a.apart and a.weight is None
        }
        for name in sorted(self._readers.get(cell, set()) | kept_away):
            reader = self.cells.get(name)
            if reader is None or name == cell:
                continue
            self._rebind(reader)
            if not isinstance(reader.decision, Placed) or self._broken(reader):
                self.wake(name)

    def _regroup(self, data_plane: str) -> None:
        for cell in self._on.get(data_plane, ()):
            self._tell(self.cells[cell])

    def _take(self, resident: Resident, name: str, amounts: dict[str, int]) -> None:
        slot, before = self.index.slot(name), resident.taken.get(name)
        if slot is None or before == amounts:
            return
        if before is not None:
            self.index.occupy(slot, before, sign=-1)
            self._relieved[name] = None
        self.index.occupy(slot, amounts)
        resident.taken[name] = amounts
        self._on.setdefault(name, {})[resident.demand.cell] = None

    def _help(self) -> bool:
        """Wake those of the blocked and parked that what happened can help; tell if there are."""
        for name in self._relieved:
            for cell in self._on.get(name, ()):
                if isinstance(self.cells[cell].decision, Unplaceable):
                    self.wake(cell)
        self._relieved.clear()
        for feasible, waiting in self._parked.items():
            feasible.refresh()
            opened, seen = feasible.fresh & feasible.fits, self._seen.get(feasible, 0)
            self._seen[feasible] = opened
            # A group that is gone makes a skew smaller, too.
            if opened & ~seen or (opened != seen and feasible.skewed):
                self._wake_some(waiting)
        return bool(self._queue)

    def _next_parked(self, resident: Resident) -> None:
        """One of a signature has got a place: there may be one for the next, too."""
        if isinstance(resident.decision, Placed):
            self._wake_some(self._parked.get(resident.feasible, ()))

    def _wake_some(self, cells: Iterable[str]) -> None:
        """Wake those that are somewhere, and the first of those that are nowhere.

        The others ask for the same: they wait for whether it finds a place.
        """
        nowhere: list[tuple[int, str]] = []
        for cell in cells:
            if self.cells[cell].data_planes:
                self.wake(cell)
            else:
                nowhere.append((-self.cells[cell].priority, cell))
        if nowhere:
            self.wake(min(nowhere)[1])

    def _park(self, resident: Resident) -> None:
        feasible = resident.feasible
        self._parked.setdefault(feasible, set()).add(resident.demand.cell)
        feasible.refresh()
        self._seen[feasible] = feasible.fresh & feasible.fits

    def _crowded(self, slot: int) -> None:
        """More is taken of a plane than there is: the Cell that matters least goes first."""
        name = self.index.at(slot).data_plane
        over = self.index.over(slot)
        if not over:
            return
        here = [self.cells[c] for c in self._on.get(name, ())]
        for resident in sorted(here, key=lambda r: (r.priority, r.demand.cell)):
            if isinstance(resident.decision, Unplaceable) or resident.demand.stateful:
                continue
            if any(resident.taken[name].get(resource) for resource in over):
                self.wake(resident.demand.cell)
                return

    def _unpark(self, cell: str) -> None:
        feasible = self.cells[cell].feasible
        waiting = self._parked.get(feasible)
        if waiting is not None:
            waiting.discard(cell)
            if not waiting:
                del self._parked[feasible]
                self._seen.pop(feasible, None)


def _regrouped(before: Plane | None, after: Plane) -> set[str]:
    """Labels with another value."""
    if before is None:
        return set()
    keys = {*before.labels, *after.labels}
    return {key for key in keys if before.labels.get(key) != after.labels.get(key)}
