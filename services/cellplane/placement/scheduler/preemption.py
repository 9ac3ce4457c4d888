"""Who has to go for a Cell that finds no room: as few as will do, of lower priority only.

Only where the requirement allows it, never a Cell that stays or that has volumes, and only if it
helps. The search gives the planes' use back as it found it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from cellplane.placement.scheduler.decide import Decision, Unplaceable
from cellplane.placement.scheduler.index import Index
from cellplane.placement.scheduler.resident import Resident
from cellplane.placement.scheduler.shares import amounts_on
from cellplane.placement.scheduler.snapshot import Amounts, Demand


@dataclass(frozen=True, slots=True, kw_only=True)
class Taker:
    """What one Cell takes of one plane."""

    priority: int
    cell: str
    slot: int
    amounts: Amounts


def takers_below(cells: Iterable[Resident], priority: int, index: Index) -> list[Taker]:
    """What Cells of a lower priority take that may be asked to go."""
    return [
        Taker(priority=r.priority, cell=r.demand.cell, slot=slot, amounts=amounts)
        for r in cells
        if r.priority < priority
        and not r.restored
        and not (r.demand.requirement.stays or r.demand.stateful)
        for name, amounts in r.taken.items()
        if (slot := index.slot(name)) is not None
    ]


def announced(decision: Unplaceable, gone: Iterable[tuple[str, str]]) -> Unplaceable:
    """The same, where it says whose place it takes when it is decided on once more."""
    places = " and ".join(f"{victim} on {name}" for victim, name in gone)
    why = f"finds no room, and takes the place of {places} next, of lower priority"
    return replace(decision, trace=replace(decision.trace, summary=why))


def victims(
    index: Index,
    demand: Demand,
    takers: Iterable[Taker],
    own: dict[str, dict[str, int]],
    ask: Callable[[], Decision],
) -> list[tuple[str, str]]:
    """The Cells that have to go, and from which plane; none if it would be in vain.

    Args:
        index: The planes.
        demand: What finds no room.
        takers: Those that may be asked to go.
        own: By data plane, what the Cell itself takes.
        ask: Decides on it, as planes are.
    """
    order = sorted(takers, key=lambda t: (t.priority, t.cell, t.slot))
    with _gone(index, order):
        decision = ask()
    if isinstance(decision, Unplaceable):
        return []
    found: list[tuple[str, str]] = []
    for name in decision.data_planes:
        slot = index.slot(name)
        if slot is None:
            continue
        asked, mine = amounts_on(demand, decision.shares, name), own.get(name)
        here = [t for t in order if t.slot == slot]
        needed: list[Taker] = []
        for taker in here:
            with _gone(index, needed):
                if index.fits(slot, asked, mine):
                    break
            needed.append(taker)
        # Small ones that came first may not be needed, now that a larger one goes.
        for taker in list(needed):
            rest = [t for t in needed if t is not taker]
            with _gone(index, rest):
                if index.fits(slot, asked, mine):
                    needed = rest
        found += [(t.cell, name) for t in needed]
    return found


@contextmanager
def _gone(index: Index, takers: Iterable[Taker]) -> Iterator[None]:
    known = list(takers)
    for taker in known:
        index.occupy(taker.slot, taker.amounts, sign=-1)
    try:
        yield
    finally:
        for taker in known:
            index.occupy(taker.slot, taker.amounts)
