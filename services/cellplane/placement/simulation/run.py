"""Runs a world: what is decided at the start and after each event, what moves, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from cellplane.placement.scheduler.decide import Placed, Unplaceable
from cellplane.placement.scheduler.fleet import Change
from cellplane.placement.scheduler.keeper import Keeper
from cellplane.placement.scheduler.moves import Move, Pace
from cellplane.placement.scheduler.outage import Limits
from cellplane.placement.scheduler.snapshot import Plane, PlaneState
from cellplane.placement.scheduler.trace import Trace
from cellplane.placement.simulation.world import (
    ORGANIZATION,
    DecisionSpec,
    Event,
    Kind,
    World,
    required,
)


def run(world: World) -> Iterator[dict[str, Any]]:
    """One report for the start, and one after each event."""
    settings = world.settings
    keeper = Keeper(
        limits=Limits(
            suspect_seconds=settings.suspect_seconds,
            lost_seconds=settings.lost_seconds,
            region_percent=settings.brake_region_percent,
            all_percent=settings.brake_all_percent,
            at_least=settings.brake_at_least,
            hold_down_seconds=settings.hold_down_seconds,
        ),
        pace=Pace(make_seconds=settings.make_seconds, drain_seconds=settings.drain_seconds),
        now=settings.start_time,
    )
    for plane in world.data_planes:
        keeper.put(plane.plane())
    for cell in world.cells:
        keeper.want(cell.demand())
    for decision in world.decisions:
        _restore(keeper, decision)
    changed = list(keeper.advance(keeper.now))
    yield _report(keeper, {"event": "start"}, changed)
    for event in world.events:
        changed = list(apply(keeper, event))
        yield _report(keeper, _said(event), changed)


def apply(keeper: Keeper, event: Event, organization: str = ORGANIZATION) -> Iterator[Change]:
    """Let one event happen, and all that follows from it at once."""
    before = keeper.fleet.index.get(event.data_plane)
    change = _CHANGES.get(event.event)
    match event.event:
        case Kind.LOSE:
            keeper.silent(event.data_plane)
        case Kind.RETURN:
            keeper.heard(event.data_plane)
        case Kind.ADD_DATA_PLANE if event.plane is not None:
            keeper.put(replace(event.plane.plane(), organization=organization))
        case Kind.REMOVE_DATA_PLANE:
            keeper.drop(event.data_plane)
        case Kind.ADD_CELL if event.specification is not None:
            keeper.want(replace(event.specification.demand(), organization=organization))
        case Kind.REMOVE_CELL:
            keeper.unwant(event.cell)
        case Kind.REBALANCE:
            yield from keeper.rebalance(event.budget)
        case _ if change is not None and before is not None:
            keeper.put(change(before, event))
        case _:
            pass
    yield from keeper.advance(keeper.now + event.seconds)


def _scored(plane: Plane, event: Event) -> Plane:
    names = {s.score for s in event.scores}
    rest = tuple(s for s in plane.scores if s.score not in names)
    return replace(plane, scores=(*rest, *event.scores))


_CHANGES: Final[Mapping[Kind, Callable[[Plane, Event], Plane]]] = {
    Kind.DRAIN: lambda p, _: replace(p, drained=True),
    Kind.UNDRAIN: lambda p, _: replace(p, drained=False),
    Kind.CORDON: lambda p, _: replace(p, cordoned=True),
    Kind.UNCORDON: lambda p, _: replace(p, cordoned=False),
    Kind.LABEL: lambda p, e: replace(p, labels={**p.labels, **e.labels}),
    Kind.UNLABEL: lambda p, e: replace(
        p, labels={k: v for k, v in p.labels.items() if k not in e.keys}
    ),
    Kind.TAINT: lambda p, e: replace(p, taints=tuple(dict.fromkeys((*p.taints, *e.taints)))),
    Kind.UNTAINT: lambda p, e: replace(p, taints=tuple(t for t in p.taints if t.key not in e.keys)),
    Kind.CAPACITY: lambda p, e: replace(p, allocatable={**p.allocatable, **e.capacity}),
    Kind.SCORE: _scored,
}


def _restore(keeper: Keeper, decision: DecisionSpec) -> None:
    counts: dict[str, dict[str, int]] = {}
    for share in decision.shares:
        counts.setdefault(share.component, {})[share.data_plane] = share.replicas
    planes = tuple(sorted(decision.data_planes))
    keeper.fleet.restore(
        decision.cell,
        Placed(
            data_planes=planes,
            copies=len(planes),
            trace=Trace(summary=f"is on {', '.join(planes)}"),
            shares=tuple((c, tuple(sorted(n.items()))) for c, n in sorted(counts.items())),
        ),
        keeper.fleet.cells[decision.cell].demand.requirement.spreads,
    )


def _report(keeper: Keeper, event: dict[str, Any], changed: list[Change]) -> dict[str, Any]:
    fleet = keeper.fleet
    last = {change.cell: change for change in changed}
    moves = keeper.finished() + keeper.moves.every()
    counters, fleet.counters = fleet.counters, type(fleet.counters)()
    states = {
        p.data_plane: p.state.value
        for p in fleet.index.planes
        if p is not None and p.state is not PlaneState.READY
    }
    return {
        "event": event,
        "time": keeper.now,
        "not_ready": dict(sorted(states.items())),
        "brake": keeper.brake,
        "placements": {
            cell: list(resident.data_planes) for cell, resident in sorted(fleet.cells.items())
        },
        "changes": [_change(last[cell]) for cell in sorted(last)],
        "moves": [_move(m) for m in sorted(moves, key=lambda m: (m.cell, m.leaves, m.comes))],
        "unplaceable": {
            cell: {"reason": found.reason, "summary": found.trace.summary}
            for cell, resident in sorted(fleet.cells.items())
            if isinstance(found := resident.decision, Unplaceable)
        },
        "evaluated": counters.evaluated,
        "affected": counters.affected,
    }


def _change(change: Change) -> dict[str, Any]:
    decision = change.decision
    trace = decision.trace
    found: dict[str, Any] = {
        "cell": change.cell,
        "before": list(change.before),
        "data_planes": list(decision.data_planes),
        "reason": decision.reason if isinstance(decision, Unplaceable) else "",
        "summary": trace.summary,
        "causes": dict(sorted(change.causes.items())),
        "rules": dict(trace.rules),
        "slack": trace.slack,
        "moves_avoided": trace.moves_avoided,
        "candidates": [
            {"data_plane": c.data_plane, "chosen": c.chosen, "scores": dict(c.scores)}
            for c in trace.candidates
        ],
        "rejections": [
            {"data_plane": r.data_plane, "reason": r.reason, "message": r.message}
            for r in trace.rejections
        ],
    }
    if decision.shares:
        found["shares"] = {component: dict(counts) for component, counts in decision.shares}
    if change.preempts:
        found["preempts"] = [{"cell": c, "data_plane": p} for c, p in change.preempts]
    return found


def _move(move: Move) -> dict[str, Any]:
    return {
        "cell": move.cell,
        "from": move.leaves,
        "to": move.comes,
        "reason": move.reason,
        "step": move.step.value,
        "steps": [{"step": step.value, "time": time} for step, time in move.times],
    }


def _said(event: Event) -> dict[str, Any]:
    said: dict[str, Any] = {"event": event.event.value}
    for name in required(event.event):
        value = getattr(event, name)
        if name == "plane":
            said["data_plane"] = value.data_plane
        elif name == "specification":
            said["cell"] = value.cell
        elif isinstance(value, (str, int, float)):
            said[name] = value
        elif name in ("taints", "scores"):
            said[name] = [getattr(one, "key", getattr(one, "score", "")) for one in value]
        else:
            said[name] = dict(value) if isinstance(value, Mapping) else list(value)
    return said
