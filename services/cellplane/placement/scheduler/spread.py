"""Chooses the best set of data planes that meets every spread at once, if there is any.

Exact, never greedy one plane at a time. Planes that are in the same groups of all spreads are
equals but for their scores, so only how many of each class are taken is searched, best planes first
within a class; and what the classes before have taken matters to the rest only by a small summary
(copies left, counts of groups that are still open, least and most of those that are closed). That
makes it a dynamic program over classes: linear in planes, exponential only in the groups that are
open at once, which one label, or nested labels, keep at one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cellplane.cell.requirement import Spread
from cellplane.placement.scheduler.scores import NOTHING, Scores, add
from cellplane.placement.scheduler.snapshot import Plane

Scored: TypeAlias = tuple[Plane, Scores]

_Closed: TypeAlias = tuple[int, int, int]
"""Of the closed groups of one spread: the least, the most, and how many have any; -1, -1, 0 at
first."""
_Open: TypeAlias = tuple[tuple[tuple[str, int], ...], ...]
"""For each spread, the groups that are open, with what was taken of them."""
_State: TypeAlias = tuple[int, tuple[_Closed, ...], _Open]


@dataclass(frozen=True, slots=True)
class _Class:
    """Planes in the same groups, best first, with the worth of taking the first ``n``."""

    groups: tuple[str, ...]
    planes: tuple[Plane, ...]
    worth: tuple[Scores, ...]
    closes: tuple[bool, ...]
    """For each spread, whether no later class is in the same group."""


def choose(scored: Sequence[Scored], copies: int, spreads: Sequence[Spread]) -> list[Plane] | None:
    """The best ``copies`` planes by the sum of scores, or ``None`` if no set meets the spreads.

    Every plane must have the label of every spread. Groups are those of the planes at hand.
    """
    if copies > len(scored):
        return None
    if not spreads:
        best = sorted(scored, key=lambda s: s[1], reverse=True)
        return [plane for plane, _ in best[:copies]]
    # The label with the most groups first: its groups are then each open for one stretch only.
    ordered = sorted(
        spreads,
        key=lambda s: (-len({p.labels[s.topology_key] for p, _ in scored}), s.topology_key),
    )
    classes = _classes(scored, [s.topology_key for s in ordered])
    return _Search(classes, ordered).run(copies)


def holds(planes: Iterable[Plane], spreads: Sequence[Spread], among: Iterable[Plane]) -> bool:
    """Tell whether a set meets the spreads, over the groups of the planes *among*."""
    chosen, groups_of = list(planes), list(among)
    for spread in spreads:
        counts = {plane.labels.get(spread.topology_key): 0 for plane in groups_of}
        for plane in chosen:
            group = plane.labels.get(spread.topology_key)
            counts[group] = counts.get(group, 0) + 1
        if not counts:
            continue
        if spread.max_skew and max(counts.values()) - min(counts.values()) > spread.max_skew:
            return False
        if sum(count > 0 for count in counts.values()) < (spread.min_groups or 1):
            return False
    return True


def _classes(scored: Sequence[Scored], keys: Sequence[str]) -> list[_Class]:
    members: dict[tuple[str, ...], list[Scored]] = {}
    for plane, parts in scored:
        members.setdefault(tuple(plane.labels[key] for key in keys), []).append((plane, parts))
    ordered = sorted(members)
    last = [{groups[i]: index for index, groups in enumerate(ordered)} for i in range(len(keys))]
    classes: list[_Class] = []
    for index, groups in enumerate(ordered):
        best = sorted(members[groups], key=lambda s: s[1], reverse=True)
        worth = [NOTHING]
        for _, parts in best:
            worth.append(add(worth[-1], parts))
        classes.append(
            _Class(
                groups=groups,
                planes=tuple(plane for plane, _ in best),
                worth=tuple(worth),
                closes=tuple(last[i][group] == index for i, group in enumerate(groups)),
            )
        )
    return classes


class _Search:
    """Walks the classes forwards; keeps, for each state, the best way to reach it."""

    def __init__(self, classes: Sequence[_Class], spreads: Sequence[Spread]) -> None:
        self._classes = classes
        self._spreads = spreads

    def run(self, copies: int) -> list[Plane] | None:
        start: _State = (
            copies,
            tuple((-1, -1, 0) for _ in self._spreads),
            tuple(() for _ in self._spreads),
        )
        room = sum(len(c.planes) for c in self._classes)
        reached: dict[_State, tuple[Scores, tuple[int, ...]]] = {start: (NOTHING, ())}
        for cls in self._classes:
            room -= len(cls.planes)
            step: dict[_State, tuple[Scores, tuple[int, ...]]] = {}
            for state, (worth, taken) in reached.items():
                left = state[0]
                # What the classes behind can't hold has to be taken here.
                for count in range(max(0, left - room), min(left, len(cls.planes)) + 1):
                    following = self._take(state, cls, count)
                    if following is None:
                        continue
                    value = (add(worth, cls.worth[count]), (*taken, count))
                    if following not in step or step[following][0] < value[0]:
                        step[following] = value
            reached = step
        ends = [value for state, value in reached.items() if self._enough(state)]
        if not ends:
            return None
        _, taken = max(ends)
        return [p for cls, n in zip(self._classes, taken, strict=True) for p in cls.planes[:n]]

    def _take(self, state: _State, cls: _Class, count: int) -> _State | None:
        left, closed, opened = state
        new_closed: list[_Closed] = []
        new_opened: list[tuple[tuple[str, int], ...]] = []
        for index, spread in enumerate(self._spreads):
            group = cls.groups[index]
            counts = dict(opened[index])
            total = counts.pop(group, 0) + count
            least, most, used = closed[index]
            if cls.closes[index]:
                least = total if least < 0 else min(least, total)
                most = max(most, total)
                used += total > 0
            else:
                counts[group] = total
            highest = max([most, *counts.values()])
            if spread.max_skew and least >= 0 and highest - least > spread.max_skew:
                return None
            if not spread.max_skew:
                # Only how many groups are used matters then.
                least, most = -1, -1
                counts = {g: min(n, 1) for g, n in counts.items()}
            wanted = spread.min_groups or 1
            new_closed.append((least, most, min(used, wanted)))
            new_opened.append(tuple(sorted(counts.items())))
        return left - count, tuple(new_closed), tuple(new_opened)

    def _enough(self, state: _State) -> bool:
        left, closed, _ = state
        return left == 0 and all(
            used >= (spread.min_groups or 1)
            for (_, _, used), spread in zip(closed, self._spreads, strict=True)
        )
