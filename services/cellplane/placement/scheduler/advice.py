"""What would have to change: the smallest changes that let a Cell be placed, each of them tried.

A change is of what the Cell asks for, or of data planes; it counts as help only if ``decide``
places the Cell once it is made. So advice is never a guess, and what does not help is not said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from cellplane.cell.requirement import (
    LabelSelector,
    Operator,
    PlacementRequirement,
    Source,
    Toleration,
)
from cellplane.placement.scheduler.decide import Placed, decide
from cellplane.placement.scheduler.filters import keeps_away, needs, rejection
from cellplane.placement.scheduler.snapshot import (
    Demand,
    Plane,
    PlaneState,
    Previous,
    Snapshot,
    neighbour,
)

_PLANES: Final = 50
"""As many planes of one rule are tried at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """A change that helps."""

    rule: str
    """The rule that it is about."""
    changes: int
    """How many things have to be changed."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """A rule, and the planes that it turned down."""

    rule: str
    data_planes: tuple[str, ...]
    message: str
    """What it said of the first."""


def blockers(snapshot: Snapshot, demand: Demand, previous: Previous) -> list[Blocker]:
    """The rules that turned planes down, those that turned down most first."""
    found: dict[str, list[tuple[str, str]]] = {}
    for plane in sorted(snapshot.planes, key=lambda p: p.data_plane):
        there = plane.data_plane in previous.data_planes
        turned = rejection(plane, demand, there=there)
        if turned is not None:
            found.setdefault(turned.reason, []).append((plane.data_plane, turned.message))
    ranked = sorted(found.items(), key=lambda f: (-len(f[1]), f[0]))
    return [
        Blocker(rule=rule, data_planes=tuple(n for n, _ in many), message=many[0][1])
        for rule, many in ranked
    ]


def advise(snapshot: Snapshot, demand: Demand, previous: Previous) -> list[Advice]:
    """What helps, the smallest change first; nothing if the Cell can be placed as it is."""
    if isinstance(decide(snapshot, demand, previous), Placed):
        return []
    found = [*_of_planes(snapshot, demand, previous), *_of_demand(snapshot, demand, previous)]
    return sorted(found, key=lambda a: a.changes)


def _of_planes(snapshot: Snapshot, demand: Demand, previous: Previous) -> Iterator[Advice]:
    """For each rule: as few planes as will do, changed so that it passes them."""
    fixes: dict[str, list[tuple[Plane, str]]] = {}
    for plane in sorted(snapshot.planes, key=lambda p: p.data_plane):
        there = plane.data_plane in previous.data_planes
        turned = rejection(plane, demand, there=there)
        fixed = _fixed(plane, demand, turned.reason) if turned is not None else None
        if turned is not None and fixed is not None:
            after = rejection(fixed[0], demand, there=there)
            if after is None:
                fixes.setdefault(turned.reason, []).append(fixed)
    for rule, many in sorted(fixes.items()):
        planes = {p.data_plane: p for p in snapshot.planes}
        said: list[str] = []
        # One of them may do; if not, so many of them, in the order of their names.
        for changed, message in many[:_PLANES]:
            alone = {**planes, changed.data_plane: changed}
            if _helps(replace(snapshot, planes=tuple(alone.values())), demand, previous):
                said = [message]
                break
        else:
            for changed, message in many[:_PLANES]:
                planes[changed.data_plane] = changed
                said.append(message)
                if _helps(replace(snapshot, planes=tuple(planes.values())), demand, previous):
                    break
            else:
                continue
        yield Advice(rule=rule, changes=len(said), message=" and ".join(said))


def _fixed(plane: Plane, demand: Demand, rule: str) -> tuple[Plane, str] | None:
    """The plane as the rule would pass it, and what was done."""
    name = plane.data_plane
    match rule:
        case "STATE":
            return replace(plane, state=PlaneState.READY), f"bring the agent of {name} back"
        case "CORDONED":
            return replace(plane, cordoned=False), f"uncordon {name}"
        case "DRAINED":
            return replace(plane, drained=False), f"end the drain of {name}"
        case "TAINT":
            kept = tuple(t for t in plane.taints if not keeps_away(t, demand, there=False))
            gone = ", ".join(str(t) for t in plane.taints if t not in kept)
            return replace(plane, taints=kept), f"remove taint {gone} from {name}"
        case "SELECTOR" | "TOPOLOGY":
            return _labelled(plane, demand)
        case "CAPABILITY":
            lacks = [w[0] for _, w in needs(demand) if not plane.capabilities.intersection(w)]
            able = plane.capabilities | frozenset(lacks)
            return replace(plane, capabilities=able), f"give {name} {', '.join(lacks)}"
        case "API":
            wanted = {api for c in demand.components for api in c.apis}
            lacking = ", ".join(sorted(wanted - (plane.apis or frozenset())))
            return replace(plane, apis=frozenset(wanted)), f"serve {lacking} on {name}"
        case "CAPACITY":
            return _freed(plane, demand)
        case _:
            return None


def _labelled(plane: Plane, demand: Demand) -> tuple[Plane, str] | None:
    labels = dict(plane.labels)
    for selector in demand.requirement.selectors:
        if plane.matches(selector):
            continue
        if selector.source not in (None, Source.LABEL):
            return None
        match selector.operator:
            case Operator.IN | Operator.AT_LEAST | Operator.AT_MOST:
                labels[selector.key] = selector.values[0]
            case Operator.EXISTS:
                labels[selector.key] = "true"
            case Operator.NOT_IN | Operator.DOES_NOT_EXIST:
                labels.pop(selector.key, None)
    for spread in demand.requirement.spreads:
        if not spread.soft and spread.topology_key not in labels:
            labels[spread.topology_key] = f"{plane.data_plane}-group"
    came = [f"{k}={v}" for k, v in labels.items() if plane.labels.get(k) != v]
    gone = [key for key in plane.labels if key not in labels]
    words = [f"label {plane.data_plane} {', '.join(came)}"] if came else []
    words += [f"remove label {', '.join(gone)} from {plane.data_plane}"] if gone else []
    return replace(plane, labels=labels), " and ".join(words)


def _freed(plane: Plane, demand: Demand) -> tuple[Plane, str]:
    allocatable, words = dict(plane.allocatable), []
    for name, amount in sorted(demand.amounts().items()):
        missing = amount + plane.used.get(name, 0) - allocatable.get(name, 0)
        if name in allocatable and missing > 0:
            words.append(f"{missing} {name}")
            allocatable[name] += missing
        elif name not in allocatable and amount:
            words.append(f"{amount} {name}")
            allocatable[name] = amount
    return replace(plane, allocatable=allocatable), f"free {', '.join(words)} on {plane.data_plane}"


def _of_demand(snapshot: Snapshot, demand: Demand, previous: Previous) -> Iterator[Advice]:
    for rule, message, asked in _loosened(snapshot, demand):
        gone = set(demand.requirement.affinities) - set(asked.affinities)
        others = {neighbour(demand.cell, a.cell) for a in gone}
        near = tuple(n for n in demand.near if n.cell not in others)
        changed = replace(demand, requirement=asked, near=near)
        if _helps(snapshot, changed, previous):
            yield Advice(rule=rule, changes=1, message=message)
    if demand.copies > 1:
        for copies in range(demand.copies - 1, 0, -1):
            changed = replace(demand, requirement=replace(demand.requirement, copies=copies))
            if _helps(snapshot, changed, previous):
                message = f"ask for {copies} instead of {demand.copies} copies"
                yield Advice(rule="COPIES", changes=demand.copies - copies, message=message)
                return


def _loosened(
    snapshot: Snapshot, demand: Demand
) -> Iterator[tuple[str, str, PlacementRequirement]]:
    """What is asked, with one thing less of it."""
    asked = demand.requirement
    for selector in asked.selectors:
        rest = tuple(s for s in asked.selectors if s != selector)
        yield "SELECTOR", _wider(selector), replace(asked, selectors=rest)
    for name in asked.excluded_data_planes:
        excluded = tuple(n for n in asked.excluded_data_planes if n != name)
        yield "EXCLUDED", f"do not exclude {name}", replace(asked, excluded_data_planes=excluded)
    taints = {t for p in snapshot.planes for t in p.taints}
    for taint in sorted((t for t in taints if keeps_away(t, demand, there=False)), key=str):
        tolerated = (*asked.tolerations, Toleration(key=taint.key, value=taint.value))
        yield "TAINT", f"tolerate taint {taint}", replace(asked, tolerations=tolerated)
    for name in asked.capabilities:
        able = tuple(n for n in asked.capabilities if n != name)
        yield "CAPABILITY", f"do without {name}", replace(asked, capabilities=able)
    for spread in asked.spreads:
        others = tuple(s for s in asked.spreads if s != spread)
        key = spread.topology_key
        if spread.min_groups and spread.min_groups > 1:
            fewer = replace(spread, min_groups=spread.min_groups - 1)
            words = f"spread over {fewer.min_groups} groups of {key} instead of {spread.min_groups}"
            yield "SPREAD", words, replace(asked, spreads=(*others, fewer))
        if spread.max_skew:
            looser = replace(spread, max_skew=spread.max_skew + 1)
            words = f"allow a skew of {looser.max_skew} over {key} instead of {spread.max_skew}"
            yield "SPREAD", words, replace(asked, spreads=(*others, looser))
        yield "SPREAD", f"do not spread over {key}", replace(asked, spreads=others)
    for affinity in asked.affinities:
        kept = tuple(a for a in asked.affinities if a != affinity)
        word = "apart from" if affinity.apart else "near"
        rule = "APART" if affinity.apart else "NEAR"
        yield rule, f"do not be {word} {affinity.cell}", replace(asked, affinities=kept)
    if asked.tiers:
        yield "TIER", "ask for no tiers", replace(asked, tiers=())


def _wider(selector: LabelSelector) -> str:
    return f"do not ask for {selector}"


def _helps(snapshot: Snapshot, demand: Demand, previous: Previous) -> bool:
    return isinstance(decide(snapshot, demand, previous), Placed)


def why_not(snapshot: Snapshot, demand: Demand, previous: Previous, data_plane: str) -> str:
    """Why a Cell is not on a data plane, in a sentence; or why it is there."""
    plane = next((p for p in snapshot.planes if p.data_plane == data_plane), None)
    if plane is None:
        return f"there is no data plane {data_plane}"
    there = data_plane in previous.data_planes
    decision = decide(snapshot, demand, previous)
    if isinstance(decision, Placed) and data_plane in decision.data_planes:
        return f"it is on {data_plane}: {decision.trace.summary}"
    turned = rejection(plane, demand, there=there)
    if turned is not None:
        fixed = _fixed(plane, demand, turned.reason)
        way = f"; {fixed[1]} to change that" if fixed is not None else ""
        return f"{data_plane} is turned down by {turned.reason}: {turned.message}{way}"
    if not isinstance(decision, Placed):
        return f"{data_plane} is feasible, but no set with it is: {decision.trace.summary}"
    return (
        f"{data_plane} is feasible, but {_better(snapshot, demand, previous, decision, data_plane)}"
    )


def _better(
    snapshot: Snapshot, demand: Demand, previous: Previous, decision: Placed, data_plane: str
) -> str:
    """What the chosen planes have that another one has not."""
    from cellplane.placement.scheduler.scores import PARTS, scores

    planes = {p.data_plane: p for p in snapshot.planes}
    other = scores(planes[data_plane], demand, there=data_plane in previous.data_planes)
    ranked = sorted(
        (scores(planes[n], demand, there=n in previous.data_planes), n)
        for n in decision.data_planes
    )
    worst, name = ranked[0]
    for (part, _), mine, theirs in zip(PARTS, worst, other, strict=True):
        if mine > theirs:
            if part == "rendezvous":
                return f"equals {name}, which the Cell's hash prefers"
            return f"{name} is better in {part}: {mine} against {theirs}"
        if mine < theirs:
            break
    return "a set with it would break a spread, or be worse as a whole"
