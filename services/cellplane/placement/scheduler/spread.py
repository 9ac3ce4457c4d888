"""Chooses the best set of data planes that meets every spread at once, if there is any.

Exact, never greedy one plane at a time. Four ways, each tried if the one before did not settle it:
the best planes, if they happen to meet the rules; a branch and bound over the best planes of each
class (planes in the same groups of all spreads differ by their scores only), for few copies; a
flow, for one or two labels; and a dynamic program over classes. There, what the classes before have
taken matters to the rest only by a small summary: the copies left, the counts of groups that are
still open, and how many closed ones are used. That is linear in planes, and exponential only in the
groups that are open at once, which one label, or nested labels, keep at one. For a skew, the least
count of a group is fixed first, so that every group has bounds of its own. What takes too long is
given up, and said to be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, product
from math import comb
from typing import Final, TypeAlias

from cellplane.cell.requirement import Spread
from cellplane.placement.scheduler.flow import best_flow

Item: TypeAlias = tuple[int, int]
"""What a plane is worth, and its slot."""
Classes: TypeAlias = Mapping[tuple[str, ...], Sequence[Item]]
"""Planes by their groups, one for each spread, best first."""

_FEW: Final = 8
"""Up to so many copies, sets are searched one by one first."""
_NODES: Final = 4000
"""As many steps that search takes at most."""
_WAYS: Final = 256
"""As many choices of groups are tried at most."""
_STEPS: Final = 300_000
"""As many steps the dynamic program takes at most."""

_Open: TypeAlias = tuple[tuple[tuple[str, int], ...], ...]
_State: TypeAlias = tuple[int, tuple[int, ...], _Open]
"""Copies left; for each spread, how many closed groups are used; and the open groups' counts."""


def choose(classes: Classes, copies: int, spreads: Sequence[Spread]) -> list[Item] | None:
    """The best ``copies`` planes by the sum of their worth, or ``None`` if no set will do.

    The groups that count are those of the planes at hand.
    """
    items = sorted((i for items in classes.values() for i in items), reverse=True)
    if copies > len(items):
        return None
    if not spreads:
        return items[:copies]
    if any(
        (s.min_groups or 1) > min(copies, len({g[i] for g, many in classes.items() if many}))
        for i, s in enumerate(spreads)
    ):
        return None
    groups_of = {slot: groups for groups, many in classes.items() for _, slot in many}
    among = _among(classes, len(spreads))
    best = items[:copies]
    if holds([groups_of[slot] for _, slot in best], spreads, among):
        return best
    if copies <= _FEW:
        few = sorted((i for many in classes.values() for i in many[:copies]), reverse=True)
        search = _Few(few, [groups_of[slot] for _, slot in few], copies, spreads, among)
        if search.run():
            return search.best
    found: list[Item] | None = None
    settled = True
    for part in _within(classes, spreads, among):
        done, one = _flowing(part, copies, spreads, among, groups_of)
        settled = settled and done
        if one is not None and (found is None or _sum(one) > _sum(found)):
            found = one
    if settled:
        return found
    try:
        return _Search(classes, spreads, among).run(copies)
    except SearchEnded:
        if found is not None:
            return found
        raise


class SearchEnded(Exception):
    """It took too long: whether there is a set is not known."""


def _within(
    classes: Classes, spreads: Sequence[Spread], among: Sequence[Sequence[str]]
) -> Iterator[Classes]:
    """The classes of as many groups as a spread allows, in every way, if there are not too many."""
    for index, (spread, groups) in enumerate(zip(spreads, among, strict=True)):
        most = spread.max_groups
        if most and most < len(groups) and comb(len(groups), most) <= _WAYS:
            for allowed in combinations(groups, most):
                yield {g: items for g, items in classes.items() if g[index] in allowed}
            return
    yield classes


def _flowing(
    classes: Classes,
    copies: int,
    spreads: Sequence[Spread],
    among: Sequence[Sequence[str]],
    groups_of: Mapping[int, tuple[str, ...]],
) -> tuple[bool, list[Item] | None]:
    """Whether a flow settles it, and a valid set; how many groups are used is no flow's matter."""
    if len(spreads) > 2:
        return False, None
    two = {(g[0], g[1] if len(g) > 1 else ""): items for g, items in classes.items() if items}
    ways = [list(_skews(copies, s, len(a))) for s, a in zip(spreads, among, strict=True)]
    if len(ways) == 1:
        ways.append([(0, copies)])
    best: list[Item] | None = None
    valid: list[Item] | None = None
    here = [len({g[i] for g, items in classes.items() if items}) for i in range(len(spreads))]
    for one, other in product(*ways):
        least = (one[0], other[0])
        if any(n and many < len(a) for n, many, a in zip(least, here, among, strict=False)):
            continue  # a group that has to be used is not here
        for extra in ((0, 0), (1, 0), (0, 1), (1, 1)):
            found = best_flow(two, copies, (one, other), extra)
            if found is None:
                break
            good = holds([groups_of[slot] for _, slot in found], spreads, among)
            if extra == (0, 0) and (best is None or _sum(found) > _sum(best)):
                best = found
            if good and (valid is None or _sum(found) > _sum(valid)):
                valid = found
            if good:
                break
    if best is None:
        return True, None
    # Nothing is better than what is best without a rule on the number of groups.
    return valid is not None and _sum(valid) == _sum(best), valid


def _skews(copies: int, spread: Spread, groups: int) -> Iterator[tuple[int, int]]:
    """What each group has at least and at most, for each way to keep within the skew."""
    if not spread.max_skew:
        yield 0, copies
        return
    lowest = max(0, -(-(copies - groups * spread.max_skew) // groups))
    for least in range(lowest, copies // groups + 1):
        yield least, least + spread.max_skew


def _sum(items: Iterable[Item]) -> int:
    return sum(worth for worth, _ in items)


def holds(
    chosen: Sequence[tuple[str, ...]], spreads: Sequence[Spread], among: Sequence[Iterable[str]]
) -> bool:
    """Tell whether planes in these groups meet the spreads, over the groups *among*."""
    return all(
        _meets(Counter(groups[i] for groups in chosen), spread, among[i])
        for i, spread in enumerate(spreads)
    )


def excess(
    chosen: Sequence[tuple[str, ...]], spread: Spread, index: int, among: Iterable[str]
) -> int:
    """By how much one spread has to be loosened for planes in these groups to meet it."""
    counts, level = Counter(groups[index] for groups in chosen), 0
    while not _meets(counts, loosened(spread, level), among):
        level += 1
    return level


def loosened(spread: Spread, level: int) -> Spread:
    """The same with so many fewer groups, and so much more skew."""
    return Spread(
        topology_key=spread.topology_key,
        min_groups=max(1, spread.min_groups - level) if spread.min_groups else None,
        max_skew=spread.max_skew + level if spread.max_skew else None,
        max_groups=spread.max_groups + level if spread.max_groups else None,
    )


def _meets(counts: Mapping[str, int], spread: Spread, among: Iterable[str]) -> bool:
    if spread.max_skew and counts:
        least = min((counts.get(group, 0) for group in among), default=0)
        if max(counts.values()) - min(least, *counts.values()) > spread.max_skew:
            return False
    if spread.max_groups and len(counts) > spread.max_groups:
        return False
    return len(counts) >= (spread.min_groups or 1) or not counts


def _among(classes: Classes, many: int) -> list[list[str]]:
    return [sorted({groups[i] for groups, items in classes.items() if items}) for i in range(many)]


class _Few:
    """Tries sets in the order of their planes' worth; stops what cannot be better or valid."""

    def __init__(
        self,
        items: Sequence[Item],
        groups: Sequence[tuple[str, ...]],
        copies: int,
        spreads: Sequence[Spread],
        among: Sequence[Sequence[str]],
    ) -> None:
        self.best: list[Item] | None = None
        self._items, self._groups, self._copies = items, groups, copies
        self._spreads, self._among = spreads, among
        self._sums = [0, *accumulate(worth for worth, _ in items)]
        self._most = [
            spread.max_skew + copies // len(groups) if spread.max_skew else copies
            for spread, groups in zip(spreads, among, strict=True)
        ]
        self._worth: int | None = None
        self._left = _NODES

    def run(self) -> bool:
        """Search; false if it took too long, so that the best found may not be the best."""
        self._step(0, self._copies, 0, [], [Counter() for _ in self._spreads])
        return self._left > 0

    def _step(
        self, start: int, left: int, worth: int, taken: list[int], counts: list[Counter[str]]
    ) -> None:
        if not left:
            groups = [self._groups[i] for i in taken]
            if holds(groups, self._spreads, self._among):
                self.best, self._worth = [self._items[i] for i in taken], worth
            return
        for at in range(start, len(self._items) - left + 1):
            self._left -= 1
            if self._left <= 0:
                return
            bound = worth + self._sums[at + left] - self._sums[at]
            if self._worth is not None and bound <= self._worth:
                return
            groups_at = self._groups[at]
            if not self._can(groups_at, left - 1, counts):
                continue
            for count, group in zip(counts, groups_at, strict=True):
                count[group] += 1
            taken.append(at)
            self._step(at + 1, left - 1, worth + self._items[at][0], taken, counts)
            taken.pop()
            for count, group in zip(counts, groups_at, strict=True):
                count[group] -= 1
                if not count[group]:
                    del count[group]

    def _can(self, groups: tuple[str, ...], left: int, counts: list[Counter[str]]) -> bool:
        for spread, most, group, count in zip(
            self._spreads, self._most, groups, counts, strict=True
        ):
            used = len(count) + (group not in count)
            if count[group] + 1 > most or used + left < (spread.min_groups or 1):
                return False
            if spread.max_groups and used > spread.max_groups:
                return False
        return True


@dataclass(frozen=True, slots=True)
class _Class:
    """Planes in the same groups, best first, with the worth of taking the first ``n``."""

    groups: tuple[str, ...]
    items: tuple[Item, ...]
    worth: tuple[int, ...]
    closes: tuple[bool, ...]
    """For each spread, whether no later class is in the same group."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What each group of a spread has at least and at most, and how many groups are used."""

    least: int
    most: int
    min_used: int
    max_used: int | None
    counted: bool
    """Whether it matters how many are in a group, beside whether any is."""


class _Search:
    """Walks the classes forwards; keeps, for each state, the best way to reach it."""

    def __init__(
        self, classes: Classes, spreads: Sequence[Spread], among: Sequence[Sequence[str]]
    ) -> None:
        # The label with the most groups first: its groups are then each open for one stretch only.
        order = sorted(range(len(spreads)), key=lambda i: (-len(among[i]), spreads[i].topology_key))
        self._spreads = [spreads[i] for i in order]
        self._groups = [len(among[i]) for i in order]
        self._classes = list(_ordered(classes, order))
        self._left = _STEPS

    def run(self, copies: int) -> list[Item] | None:
        best: tuple[int, tuple[int, ...]] | None = None
        for bounds in self._bounds(copies):
            found = self._best(copies, bounds)
            if found is not None and (best is None or found > best):
                best = found
        if best is None:
            return None
        return [i for cls, n in zip(self._classes, best[1], strict=True) for i in cls.items[:n]]

    def _bounds(self, copies: int) -> Iterator[tuple[_Bounds, ...]]:
        ways: list[list[_Bounds]] = []
        for spread, groups in zip(self._spreads, self._groups, strict=True):
            wanted = spread.min_groups or 1
            if not spread.max_skew:
                counted = False
                ways.append([_Bounds(0, copies, wanted, spread.max_groups, counted)])
                continue
            ways.append(
                [
                    _Bounds(least, most, wanted, spread.max_groups, counted=True)
                    for least, most in _skews(copies, spread, groups)
                ]
            )
        yield from product(*ways)

    def _best(self, copies: int, bounds: Sequence[_Bounds]) -> tuple[int, tuple[int, ...]] | None:
        start: _State = (copies, tuple(0 for _ in bounds), tuple(() for _ in bounds))
        room = sum(len(c.items) for c in self._classes)
        reached: dict[_State, tuple[int, tuple[int, ...]]] = {start: (0, ())}
        for cls in self._classes:
            room -= len(cls.items)
            step: dict[_State, tuple[int, tuple[int, ...]]] = {}
            for state, (worth, taken) in reached.items():
                left = state[0]
                # What the classes behind can't hold has to be taken here.
                counts = range(max(0, left - room), min(left, len(cls.items)) + 1)
                self._left -= len(counts)
                if self._left < 0:
                    raise SearchEnded
                for count in counts:
                    following = _take(state, cls, count, bounds)
                    if following is None:
                        continue
                    value = (worth + cls.worth[count], (*taken, count))
                    if following not in step or step[following][0] < value[0]:
                        step[following] = value
            reached = step
        ends = [
            value for (left, used, _), value in reached.items() if not left and _all(used, bounds)
        ]
        return max(ends, default=None)


def _all(used: Sequence[int], bounds: Sequence[_Bounds]) -> bool:
    return all(n >= b.min_used for n, b in zip(used, bounds, strict=True))


def _take(state: _State, cls: _Class, count: int, bounds: Sequence[_Bounds]) -> _State | None:
    left, used_before, opened = state
    used: list[int] = []
    still: list[tuple[tuple[str, int], ...]] = []
    for index, limit in enumerate(bounds):
        group = cls.groups[index]
        counts = dict(opened[index])
        in_group = counts.pop(group, 0) + count
        users = used_before[index]
        if in_group > limit.most:
            return None
        if cls.closes[index]:
            if in_group < limit.least:
                return None
            users += in_group > 0
        else:
            counts[group] = in_group if limit.counted else min(in_group, 1)
        if limit.max_used is None:
            users = min(users, limit.min_used)
        elif users + sum(n > 0 for n in counts.values()) > limit.max_used:
            return None
        used.append(users)
        still.append(tuple(sorted(counts.items())))
    return left - count, tuple(used), tuple(still)


def _ordered(classes: Classes, order: Sequence[int]) -> Iterator[_Class]:
    turned = sorted(
        (tuple(groups[i] for i in order), tuple(items))
        for groups, items in classes.items()
        if items
    )
    last = [{groups[i]: at for at, (groups, _) in enumerate(turned)} for i in range(len(order))]
    for at, (groups, items) in enumerate(turned):
        yield _Class(
            groups=groups,
            items=items,
            worth=(0, *accumulate(worth for worth, _ in items)),
            closes=tuple(last[i][group] == at for i, group in enumerate(groups)),
        )
