"""The best set of data planes when every group of two labels has bounds of its own.

A copy flows from a group of the one label, through a class of planes that are in both groups, to a
group of the other. That is a minimum cost flow with concave worth (a class gives its best plane
first), so it is exact, whole-numbered, and polynomial for any two labels, nested or not: one
shortest path for each copy (Ahuja, Magnanti and Orlin, Network Flows, 9.7 and 14.5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

Item: TypeAlias = tuple[int, int]

_SOURCE: Final = ("", "source")
_SINK: Final = ("", "sink")
_Node: TypeAlias = tuple[str, str]


@dataclass(slots=True)
class _Arc:
    """One way; its next unit is worth ``gains[used]``, and giving one back costs the last."""

    tail: _Node
    head: _Node
    gains: Sequence[int]
    used: int = 0


def best_flow(
    classes: Mapping[tuple[str, str], Sequence[Item]],
    copies: int,
    bounds: tuple[tuple[int, int], tuple[int, int]],
    extra: tuple[int, int] = (0, 0),
) -> list[Item] | None:
    """The best ``copies`` planes with each group within its bounds, or ``None`` if there are none.

    Args:
        classes: Planes by their two groups, best first.
        copies: How many.
        bounds: For each label, what a group has at least and at most.
        extra: For each label, 1 to use as many groups as can be before worth counts, else 0.
    """
    bonus = 1 << (
        max((abs(w).bit_length() for i in classes.values() for w, _ in i), default=0) + 12
    )
    wider = bonus << 12
    first = sorted({x for x, _ in classes})
    second = sorted({y for _, y in classes})
    arcs: list[_Arc] = []
    for index, groups in enumerate((first, second)):
        least, most = bounds[index]
        gains = [wider] * least + [0] * (max(most, least) - least)
        if gains:
            gains[0] += bonus * extra[index]
        for group in groups:
            if index == 0:
                arcs.append(_Arc(_SOURCE, ("x", group), gains))
            else:
                arcs.append(_Arc(("y", group), _SINK, gains))
    between = [
        (_Arc(("x", x), ("y", y), [worth for worth, _ in items]), items)
        for (x, y), items in sorted(classes.items())
    ]
    arcs += [arc for arc, _ in between]
    for _ in range(copies):
        path = _path(arcs)
        if path is None:
            return None
        for arc, step in path:
            arc.used += step
    short = any(arc.used < bounds[0][0] for arc in arcs if arc.tail == _SOURCE) or any(
        arc.used < bounds[1][0] for arc in arcs if arc.head == _SINK
    )
    if short:
        return None
    return [item for arc, items in between for item in items[: arc.used]]


def _path(arcs: Sequence[_Arc]) -> list[tuple[_Arc, int]] | None:
    """The way from source to sink that gains most (Bellman and Ford); no cycle gains anything."""
    reached: dict[_Node, int] = {_SOURCE: 0}
    came: dict[_Node, tuple[_Arc, int]] = {}
    changed = {_SOURCE}
    while changed:
        now, changed = changed, set()
        for arc in arcs:
            if arc.tail in now and arc.used < len(arc.gains):
                gain = reached[arc.tail] + arc.gains[arc.used]
                if arc.head not in reached or gain > reached[arc.head]:
                    reached[arc.head], came[arc.head] = gain, (arc, 1)
                    changed.add(arc.head)
            if arc.head in now and arc.used:
                gain = reached[arc.head] - arc.gains[arc.used - 1]
                if arc.tail not in reached or gain > reached[arc.tail]:
                    reached[arc.tail], came[arc.tail] = gain, (arc, -1)
                    changed.add(arc.tail)
    if _SINK not in reached:
        return None
    path: list[tuple[_Arc, int]] = []
    node = _SINK
    while node != _SOURCE:
        arc, step = came[node]
        path.append((arc, step))
        node = arc.tail if step > 0 else arc.head
    return path
