"""A split Cell's replicas, component by component, over the data planes that were chosen for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from cellplane.cell.requirement import Division, DivisionMethod
from cellplane.placement.scheduler.divide import Part, divide, fill
from cellplane.placement.scheduler.snapshot import Amounts, ComponentDemand, Demand, Plane, total

Shares: TypeAlias = tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
"""By component, how many replicas each data plane has; both sorted."""


def shares(
    demand: Demand, planes: Sequence[Plane], free: Mapping[str, Amounts], before: Shares
) -> Shares | None:
    """Divide every component, or ``None`` if what is free does not suffice.

    Args:
        demand: What is divided, and how.
        planes: Where to.
        free: By data plane, what the Cell can have there; a resource that is not named is endless.
        before: What there was; kept as far as it can be.
    """
    division = demand.requirement.division or Division()
    left = {name: dict(amounts) for name, amounts in free.items()}
    least = {p.data_plane: _least(division, p) for p in planes}
    for component in demand.components:
        for name, amounts in left.items():
            _take(amounts, component, component.replicas if component.once else least[name])
    had = {component: dict(counts) for component, counts in before}
    found: list[tuple[str, tuple[tuple[str, int], ...]]] = []
    # The largest replicas first: small ones fit into what they leave.
    for component in sorted((c for c in demand.components if not c.once), key=_size):
        parts = [
            Part(
                data_plane=p.data_plane,
                weight=_weight(division, p, left[p.data_plane], component),
                least=least[p.data_plane],
                most=_most(division, p, least[p.data_plane], left[p.data_plane], component),
                has=had.get(component.component, {}).get(p.data_plane, 0),
            )
            for p in planes
        ]
        counts = _divide(division, component.replicas, parts)
        if counts is None:
            return None
        for name, count in counts.items():
            _take(left[name], component, count - least[name])
        found.append((component.component, tuple(sorted(counts.items()))))
    return tuple(sorted(found))


def room(demand: Demand, free: Amounts) -> int:
    """How much of the whole Cell a data plane could hold, in thousandths, at most all."""
    whole: dict[str, int] = {}
    for component in demand.components:
        for name, amount in component.resources.items():
            whole[name] = whole.get(name, 0) + amount * component.replicas
    fits = [1000 * max(0, free[n]) // amount for n, amount in whole.items() if n in free and amount]
    return min([1000, *fits])


def amounts_on(demand: Demand, split: Shares, data_plane: str) -> dict[str, int]:
    """What a Cell takes of one data plane."""
    if not demand.split:
        return demand.amounts()
    resources = {c.component: c.resources for c in demand.components}
    taken = total(
        {name: n * c.replicas for name, n in c.resources.items()}
        for c in demand.components
        if c.once
    )
    for component, counts in split:
        many = dict(counts).get(data_plane, 0)
        for name, amount in resources.get(component, {}).items():
            taken[name] = taken.get(name, 0) + many * amount
    return taken


def _divide(division: Division, replicas: int, parts: Sequence[Part]) -> dict[str, int] | None:
    if division.method is not DivisionMethod.PACK:
        return divide(replicas, parts)
    return fill(replicas, sorted(parts, key=lambda p: (-p.has, -p.weight, p.data_plane)))


def _weight(division: Division, plane: Plane, left: Amounts, component: ComponentDemand) -> int:
    if division.method is not DivisionMethod.WEIGHT:
        return _fitting(left, component, 1_000_000)
    return next((w.weight for w in division.weights if plane.matches(w.selector)), 1)


def _least(division: Division, plane: Plane) -> int:
    limits = (x.min_replicas for x in division.limits if plane.matches(x.selector))
    return max([1, *(n for n in limits if n is not None)])


def _most(
    division: Division, plane: Plane, least: int, left: Amounts, component: ComponentDemand
) -> int | None:
    limits = [x.max_replicas for x in division.limits if plane.matches(x.selector)]
    known = [n for n in limits if n is not None]
    if any(component.resources.get(name) for name in left):
        known.append(least + _fitting(left, component, component.replicas))
    return min(known, default=None)


def _fitting(left: Amounts, component: ComponentDemand, at_most: int) -> int:
    fits = [max(0, left[n]) // a for n, a in component.resources.items() if a and n in left]
    return min([at_most, *fits])


def _take(left: dict[str, int], component: ComponentDemand, many: int) -> None:
    for name, amount in component.resources.items():
        if name in left:
            left[name] -= amount * many


def _size(component: ComponentDemand) -> tuple[int, int, str]:
    resources = component.resources
    return (
        -resources.get("memory_bytes", 0),
        -resources.get("cpu_millis", 0),
        component.component,
    )
