"""The best set of the planes at hand: tiers, spreads and division at once, never one by one.

What is there and still valid is kept. A division that does not fit the best set looks for a roomier
one before it gives up.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations, islice, product
from typing import Final

from cellplane.cell.requirement import Spread
from cellplane.placement.scheduler.index import slots_of
from cellplane.placement.scheduler.scores import STICKINESS, above_spread, cell_hash
from cellplane.placement.scheduler.shares import Shares, room, shares
from cellplane.placement.scheduler.spread import Item, choose, excess, holds, loosened
from cellplane.placement.scheduler.trace import View

_SETS: Final = 2000
"""As many sets of planes are tried at most for a division that does not fit the best set."""


class Chooser:
    """Finds the best set of the planes at hand."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._demand = view.demand
        self._feasible = view.feasible
        self._of_cell = cell_hash(view.demand.cell)
        every = view.demand.requirement.spreads
        self._rules: tuple[Spread, ...] = () if view.demand.stateful else every
        self._hard = tuple(s for s in self._rules if not s.soft)
        self._soft = tuple(s for s in self._rules if s.soft)
        self._keys = tuple(s.topology_key for s in (*self._hard, *self._soft))

    def run(self) -> tuple[int, Shares] | None:
        """The planes as bits, and who has how many replicas; ``None`` if no set will do."""
        view, demand = self._view, self._demand
        staying = view.staying
        if demand.packed:
            return self._pack()
        if (
            staying.bit_count() == demand.copies
            and view.previous.spreads == demand.requirement.spreads
            and self._holds(staying)
        ):
            # A group that appears is no reason to move; only another rule is.
            found = self._divided(staying)
            if found is not None:
                return found
        return self._sized(demand.copies)

    def _holds(self, staying: int) -> bool:
        if not self._hard:
            return True
        keys = tuple(s.topology_key for s in self._hard)
        groups = [
            g for g, bits in self._feasible.classes(keys).items() for _ in slots_of(bits & staying)
        ]
        return holds(groups, self._hard, [sorted({g[i] for g in groups}) for i in range(len(keys))])

    def _pack(self) -> tuple[int, Shares] | None:
        staying = self._view.staying
        if staying and staying == self._view.there and self._holds(staying):
            found = self._divided(staying)
            if found is not None:
                return found
        most = (staying | self._view.fresh).bit_count()
        for many in range(1, min(most, self._demand.requirement.copies or most) + 1):
            found = self._sized(many)
            if found is not None:
                return found
        return None

    def _sized(self, copies: int) -> tuple[int, Shares] | None:
        chosen = self._best(copies)
        if chosen is None or not self._demand.split:
            return None if chosen is None else (chosen, ())
        return self._divided(chosen) or self._roomier(copies)

    def _roomier(self, copies: int) -> tuple[int, Shares] | None:
        """Another set, as the best one does not hold all replicas: the roomiest first."""
        view, index = self._view, self._feasible.index
        amounts = {slot: _free(view, slot) for slot in slots_of(view.staying | view.fresh)}
        rooms = {slot: room(self._demand, free) for slot, free in amounts.items()}
        found = self._divided(self._best(copies, rooms) or 0)
        if found is not None:
            return found
        keys = tuple(s.topology_key for s in self._hard)
        classes = self._feasible.classes(keys)
        group = {slot: g for g, bits in classes.items() for slot in slots_of(bits) if slot in rooms}
        among = [sorted({g[i] for g in group.values()}) for i in range(len(keys))]
        ranked = sorted(rooms, key=lambda s: (-rooms[s], index.at(s).data_plane))
        for chosen in _sets(ranked, copies):
            if holds([group[s] for s in chosen], self._hard, among):
                found = self._divided(sum(1 << s for s in chosen))
                if found is not None:
                    return found
        return None

    def _divided(self, chosen: int) -> tuple[int, Shares] | None:
        if not self._demand.split or not chosen:
            return (chosen, ()) if chosen else None
        view = self._view
        planes = sorted((view.plane(s) for s in slots_of(chosen)), key=lambda p: p.data_plane)
        free = {self._feasible.index.at(s).data_plane: _free(view, s) for s in slots_of(chosen)}
        split = shares(self._demand, planes, free, view.previous.shares)
        return None if split is None else (chosen, split)

    def _best(self, copies: int, rooms: Mapping[int, int] | None = None) -> int | None:
        tiers = self._feasible.tiers
        if not tiers or self._demand.requirement.overflow:
            found = self._soften(self._view.staying | self._view.fresh, copies, rooms)
            return None if found is None else _bits(found)
        best: tuple[int, int, int] | None = None
        for position, tier in enumerate(tiers):
            found = self._soften(tier & (self._view.staying | self._view.fresh), copies, rooms)
            if found is not None:
                bits = _bits(found)
                ranked = (bits & self._view.staying).bit_count(), -position, bits
                best = ranked if best is None or ranked[:2] > best[:2] else best
        return None if best is None else best[2]

    def _soften(
        self, at_hand: int, copies: int, rooms: Mapping[int, int] | None
    ) -> list[Item] | None:
        """The best set; of those with as few moves and as good tiers, the best spread one."""
        if rooms is None and not self._soft and not any(s.max_skew for s in self._hard):
            best = self._lucky(at_hand, copies)
            if best is not None:
                return best
        classes = self._classes(at_hand, copies, rooms)
        many = len(self._hard)
        hard = classes if not self._soft else _merged(classes, many)
        best = choose(hard, copies, self._hard)
        if best is None or not self._soft:
            return best
        groups = {slot: g for g, items in classes.items() for _, slot in items}
        among = [{g[many + i] for g in classes} for i in range(len(self._soft))]
        levels = [
            excess([groups[s] for _, s in best], spread, many + i, among[i])
            for i, spread in enumerate(self._soft)
        ]
        goal = above_spread(sum(worth for worth, _ in best))
        ways = product(*(range(sum(levels) + 1) for _ in levels))
        for loose in sorted((w for w in ways if sum(w) < sum(levels)), key=lambda w: (sum(w), w)):
            softened = [loosened(s, n) for s, n in zip(self._soft, loose, strict=True)]
            found = choose(classes, copies, (*self._hard, *softened))
            if found is not None and above_spread(sum(worth for worth, _ in found)) >= goal:
                return found
        return best

    def _lucky(self, at_hand: int, copies: int) -> list[Item] | None:
        """The best planes whatever their groups are, if they happen to be spread as they should."""
        view, feasible = self._view, self._feasible
        kept = slots_of(at_hand & view.staying)
        items = sorted(
            ((worth(view, s, self._of_cell) + (1 << STICKINESS), s) for s in kept),
            key=lambda i: (-i[0], feasible.index.at(i[1]).data_plane),
        )[:copies]
        items += feasible.best(at_hand & ~view.staying, copies - len(items), self._of_cell)
        labels = [feasible.index.at(slot).labels for _, slot in items]
        groups = [tuple(found.get(key, "") for key in self._keys) for found in labels]
        lucky = len(items) == copies and holds(groups, self._hard, [()] * len(self._keys))
        return items if lucky else None

    def _classes(
        self, at_hand: int, copies: int, rooms: Mapping[int, int] | None
    ) -> dict[tuple[str, ...], list[Item]]:
        found: dict[tuple[str, ...], list[Item]] = {}
        view, feasible = self._view, self._feasible
        for groups, members in feasible.classes(self._keys).items():
            here = members & at_hand
            if not here:
                continue
            kept = here & view.staying
            items = [
                (worth(view, slot, self._of_cell) + (1 << STICKINESS), slot)
                for slot in slots_of(kept)
            ]
            many = copies if rooms is None else here.bit_count()
            items += feasible.best(here & ~kept, many, self._of_cell)
            if rooms is not None:
                items = [(w + (rooms[slot] << (STICKINESS + 16)), slot) for w, slot in items]
            if kept or rooms is not None:
                items.sort(key=lambda i: (-i[0], feasible.index.at(i[1]).data_plane))
            found[groups] = items
        return found


def _merged(
    classes: Mapping[tuple[str, ...], list[Item]], many: int
) -> dict[tuple[str, ...], list[Item]]:
    """The classes of the first labels only."""
    found: dict[tuple[str, ...], list[Item]] = {}
    for groups, items in classes.items():
        found.setdefault(groups[:many], []).extend(items)
    return {groups: sorted(items, reverse=True) for groups, items in found.items()}


def _sets(ranked: list[int], copies: int) -> list[tuple[int, ...]]:
    """Sets of planes, up to as many as are tried."""
    return list(islice(combinations(ranked, copies), _SETS))


def worth(view: View, slot: int, of_cell: int) -> int:
    """What a plane is worth but for stickiness, the Cell itself not counted."""
    counted = view.own is not None and view.feasible.index.at(slot).data_plane in view.own
    others = view.feasible.index.cell_counts[slot] - counted
    return view.feasible.worth(slot, of_cell, others)


def _bits(items: list[Item]) -> int:
    return sum(1 << slot for _, slot in items)


def _free(view: View, slot: int) -> dict[str, int]:
    plane = view.plane(slot)
    own = (view.own or {}).get(plane.data_plane, {}) if view.feasible.index.firm else {}
    return {
        name: max(most - plane.used.get(name, 0), own.get(name, 0))
        for name, most in plane.allocatable.items()
    }
