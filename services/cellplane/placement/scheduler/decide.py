"""The decision: snapshot, demand and where the Cell is in; where it is to be, and why, out.

Nothing moves without a reason: planes that still meet the hard rules are kept first, whatever else
got better. A Cell that can't be placed stays where it is, and says what would have to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cellplane.placement.scheduler import explain
from cellplane.placement.scheduler.chooser import Chooser, worth
from cellplane.placement.scheduler.feasible import Feasible
from cellplane.placement.scheduler.index import Index, slots_of
from cellplane.placement.scheduler.scores import cell_hash
from cellplane.placement.scheduler.shares import Shares
from cellplane.placement.scheduler.snapshot import Amounts, Demand, Previous, Snapshot, bind
from cellplane.placement.scheduler.spread import SearchEnded
from cellplane.placement.scheduler.trace import (
    CANDIDATES,
    Candidate,
    Trace,
    View,
    candidates,
    examples,
    rules_of,
)

__all__ = ["Candidate", "Decision", "Placed", "Trace", "Unplaceable", "decide", "decide_on"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The Cell is to be on these data planes, sorted."""

    data_planes: tuple[str, ...]
    copies: int
    trace: Trace
    shares: Shares = ()
    """If split: by component, how many replicas each data plane gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplaceable:
    """No set of data planes will do; the Cell stays where it is."""

    reason: str
    """One CamelCase word: ``NoDataPlanes``, ``TooFewDataPlanes``, ``TooLittleCapacity``,
    ``SpreadImpossible``, ``DivisionImpossible``, ``VolumesWouldMove``, ``SearchEnded``."""
    data_planes: tuple[str, ...]
    """Where it stays, sorted; empty for a new Cell."""
    fitting_data_planes: tuple[str, ...]
    """Those of them that meet the hard rules, and so may get what changes."""
    copies: int
    trace: Trace
    shares: Shares = ()


Decision: TypeAlias = Placed | Unplaceable


def decide(snapshot: Snapshot, demand: Demand, previous: Previous) -> Decision:
    """Decide on which data planes a Cell is to be."""
    index = Index(snapshot.planes, snapshot.now)
    whole = demand.whole()
    # Who knows its neighbours already has bound it.
    bound = whole if whole.near else bind(whole, snapshot.cells, index.get, snapshot.now)
    return decide_on(Feasible(index, bound), bound, previous)


def decide_on(
    feasible: Feasible,
    demand: Demand,
    previous: Previous,
    own: Mapping[str, Amounts] | None = None,
) -> Decision:
    """The same, where planes are indexed already; *own* is what the Cell is counted for there."""
    view = look(feasible, demand, previous, own)
    ended = False
    try:
        picked = Chooser(view).run()
    except SearchEnded:
        picked, ended = None, True
    index = feasible.index
    kept = tuple(
        sorted(
            name
            for name in previous.data_planes
            if (plane := index.get(name)) is not None and plane.organization == demand.organization
        )
    )
    if picked is None:
        return _unplaceable(view, kept, impossible=True, ended=ended)
    chosen, split = picked
    names = tuple(index.names(chosen))
    if demand.stateful and kept and not set(previous.data_planes) <= set(names):
        return _unplaceable(view, kept, impossible=False)
    return Placed(data_planes=names, copies=demand.copies, shares=split, trace=_trace(view, names))


def look(
    feasible: Feasible,
    demand: Demand,
    previous: Previous,
    own: Mapping[str, Amounts] | None = None,
) -> View:
    """See which planes are at hand."""
    feasible.refresh()
    index = feasible.index
    there, leaving = index.bits(previous.data_planes), index.bits(previous.leaving)
    staying = 0
    for slot in slots_of(there & feasible.stay & ~leaving):
        taken = own.get(index.at(slot).data_plane) if own is not None else None
        if index.holds(slot, feasible.amounts, taken):
            staying |= 1 << slot
    fits = feasible.fits
    for name, mine in own.items() if own is not None else ():
        held = index.slot(name)
        # What it still holds where it was is its own when it goes back.
        if held is not None and index.fits(held, feasible.amounts, mine):
            fits |= 1 << held
    return View(
        feasible=feasible,
        demand=demand,
        previous=previous,
        own=own,
        staying=staying,
        fresh=feasible.fresh & fits & ~there & ~leaving,
    )


def _unplaceable(
    view: View, kept: tuple[str, ...], *, impossible: bool, ended: bool = False
) -> Unplaceable:
    reason = "SearchEnded" if ended else _reason(view, impossible=impossible)
    index = view.feasible.index
    fitting = set(index.names(view.staying))
    return Unplaceable(
        reason=reason,
        data_planes=kept,
        fitting_data_planes=tuple(name for name in kept if name in fitting),
        copies=view.demand.copies,
        shares=view.previous.shares if kept else (),
        trace=_trace(view, (), reason, kept),
    )


def _reason(view: View, *, impossible: bool) -> str:
    found = (view.staying | view.fresh).bit_count()
    copies = view.demand.copies
    roomy = (view.staying | (view.feasible.fresh & ~view.there)).bit_count()
    if impossible and found < copies <= roomy:
        return "TooLittleCapacity"
    if not found:
        return "NoDataPlanes"
    if not impossible:
        return "VolumesWouldMove"
    if found < copies:
        return "TooFewDataPlanes"
    return "DivisionImpossible" if view.demand.split else "SpreadImpossible"


def _trace(
    view: View, chosen: tuple[str, ...], reason: str = "", kept: tuple[str, ...] = ()
) -> Trace:
    feasible, index = view.feasible, view.feasible.index
    of_cell = cell_hash(view.demand.cell)
    at_hand = view.staying | view.fresh
    rules = rules_of(view)
    counts = {rule: bits.bit_count() for rule, bits in rules.items()}
    shown = examples(view, rules)
    best = feasible.best(at_hand, CANDIDATES, of_cell)
    taken = sorted(
        ((worth(view, slot, of_cell), slot) for slot in slots_of(index.bits(chosen))),
        key=lambda i: (-i[0], index.at(i[1]).data_plane),
    )
    slots = {slot for _, slot in taken}
    ranked = [*taken, *(i for i in best if i[1] not in slots)]
    better = {slot for _, slot in best[: len(taken)]} - slots
    stays = sum(name in view.previous.data_planes for name in chosen)
    known = at_hand.bit_count()
    total = index.everything.bit_count()
    if chosen:
        summary = explain.placed(view.demand, chosen, view.previous.data_planes, known, total)
    else:
        summary = explain.unplaceable(
            reason, view.demand, kept, known, total, counts, {r.reason: r for r in shown[::-1]}
        )
    return Trace(
        summary=summary,
        rejections=shown,
        candidates=candidates(view, ranked, chosen),
        rules=tuple(counts.items()),
        slack=known - view.demand.copies,
        moves_avoided=min(stays, len(better)),
    )
