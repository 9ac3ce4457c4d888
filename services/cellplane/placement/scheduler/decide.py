"""The decision: snapshot, demand and where the Cell is in; where it is to be, and why, out.

Nothing moves without a reason: planes that still meet the hard rules are kept first, whatever else
got better. A Cell that can't be placed stays where it is, and says what would have to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from cellplane.placement.scheduler import explain
from cellplane.placement.scheduler.filters import Rejection, rejection
from cellplane.placement.scheduler.scores import PARTS, Scores, scores
from cellplane.placement.scheduler.snapshot import Demand, Plane, Previous, Snapshot
from cellplane.placement.scheduler.spread import Scored, choose, holds

CANDIDATES: Final = 10
"""As many feasible planes a trace shows at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A feasible data plane, with the parts of its score by name."""

    data_plane: str
    chosen: bool
    scores: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Why it was decided so. Sorted: rejections by plane, candidates best first."""

    summary: str
    rejections: tuple[Rejection, ...] = ()
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The Cell is to be on these data planes, sorted."""

    data_planes: tuple[str, ...]
    copies: int
    trace: Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplaceable:
    """No set of data planes will do; the Cell stays where it is."""

    reason: str
    """One CamelCase word: ``NoDataPlanes``, ``TooFewDataPlanes``, ``SpreadImpossible``,
    ``VolumesWouldMove``."""
    data_planes: tuple[str, ...]
    """Where it stays, sorted; empty for a new Cell."""
    fitting_data_planes: tuple[str, ...]
    """Those of them that meet the hard rules, and so may get what changes."""
    copies: int
    trace: Trace


Decision: TypeAlias = Placed | Unplaceable


def decide(snapshot: Snapshot, demand: Demand, previous: Previous) -> Decision:
    """Decide on which data planes a Cell is to be."""
    planes = sorted(snapshot.planes, key=lambda p: p.data_plane)
    there = frozenset(previous.data_planes)
    rejections: list[Rejection] = []
    scored: list[Scored] = []
    for plane in planes:
        stays = plane.data_plane in there
        rejected = rejection(plane, demand, there=stays)
        if rejected is None:
            scored.append((plane, scores(plane, demand, there=stays)))
        else:
            rejections.append(rejected)
    kept = tuple(
        p.data_plane
        for p in planes
        if p.data_plane in there and p.organization == demand.organization
    )
    chosen = _chosen(scored, demand, previous)
    moves = chosen is not None and not there.issubset({p.data_plane for p in chosen})
    if chosen is None or (demand.stateful and kept and moves):
        reason = _reason(scored, demand, impossible=chosen is None)
        trace = Trace(
            summary=explain.unplaceable(reason, demand, kept, len(scored), rejections),
            rejections=tuple(rejections),
            candidates=_candidates(scored, ()),
        )
        fitting = {p.data_plane for p, _ in scored}
        return Unplaceable(
            reason=reason,
            data_planes=kept,
            fitting_data_planes=tuple(name for name in kept if name in fitting),
            copies=demand.copies,
            trace=trace,
        )
    names = tuple(sorted(p.data_plane for p in chosen))
    trace = Trace(
        summary=explain.placed(demand, names, previous.data_planes, len(scored), rejections),
        rejections=tuple(rejections),
        candidates=_candidates(scored, names),
    )
    return Placed(data_planes=names, copies=demand.copies, trace=trace)


def _chosen(scored: Sequence[Scored], demand: Demand, previous: Previous) -> list[Plane] | None:
    spreads = demand.requirement.spreads if demand.copies > 1 or not demand.stateful else ()
    stay = [p for p, _ in scored if p.data_plane in previous.data_planes]
    if len(stay) == demand.copies and previous.spreads == spreads and holds(stay, spreads, stay):
        # A group that appears is no reason to move; only another rule is.
        return stay
    return choose(scored, demand.copies, spreads)


def _reason(scored: Sequence[Scored], demand: Demand, *, impossible: bool) -> str:
    if not scored:
        return "NoDataPlanes"
    if not impossible:
        return "VolumesWouldMove"
    return "TooFewDataPlanes" if len(scored) < demand.copies else "SpreadImpossible"


def _candidates(scored: Sequence[Scored], chosen: Sequence[str]) -> tuple[Candidate, ...]:
    def rank(entry: Scored) -> tuple[bool, Scores]:
        return entry[0].data_plane in chosen, entry[1]

    best = sorted(scored, key=rank, reverse=True)
    return tuple(
        Candidate(
            data_plane=plane.data_plane,
            chosen=plane.data_plane in chosen,
            scores=tuple((name, float(v)) for (name, _), v in zip(PARTS, parts, strict=True)),
        )
        for plane, parts in best[:CANDIDATES]
    )
