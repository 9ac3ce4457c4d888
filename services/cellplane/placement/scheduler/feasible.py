"""What Cells with an equal demand share: which planes the hard rules leave, and in what order.

One ``Feasible`` for each signature. It is made from bitsets, anew when the index has another
version; where there is room is asked each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Final, TypeAlias

from cellplane.cell.requirement import Effect, LabelSelector, Source
from cellplane.placement.scheduler.filters import keeps_away, needs
from cellplane.placement.scheduler.index import Index, slots_of
from cellplane.placement.scheduler.scores import buckets, mix, mixes, packed, static, tier_worth
from cellplane.placement.scheduler.snapshot import Amounts, Demand, PlaneState

Signature: TypeAlias = tuple[object, ...]
Passed: TypeAlias = tuple[str, int, int]
"""A rule, the planes that pass it for new Cells, and for Cells that are there."""


def signature(demand: Demand) -> Signature:
    """What decides which planes are feasible, and how good they are, but for which Cell it is."""
    return (
        demand.organization,
        demand.requirement,
        demand.encryption,
        demand.exposed,
        demand.identified,
        demand.stateful,
        tuple(sorted({api for c in demand.components for api in c.apis})),
        demand.near,
        tuple(sorted(demand.amounts().items())),
    )


class Feasible:
    """The planes that are feasible for Cells of one signature."""

    __slots__ = (
        "__weakref__",
        "_classes",
        "_facts",
        "_fits",
        "_version",
        "amounts",
        "demand",
        "fresh",
        "index",
        "kept_out",
        "levels",
        "removed",
        "stay",
        "tiers",
    )

    def __init__(self, index: Index, demand: Demand) -> None:
        self.index = index
        self.demand = demand
        self.amounts: Amounts = {k: v for k, v in demand.amounts().items() if v}
        self.fresh = 0
        """Planes that new Cells may go to, if there is room."""
        self.stay = 0
        """Planes that Cells which are there may stay on, if there is room."""
        self.removed: tuple[tuple[str, int], ...] = ()
        """For new Cells, in the order of the rules: the planes that each turned down."""
        self.kept_out: tuple[tuple[str, int], ...] = ()
        """The same for Cells that are there."""
        self.levels: tuple[tuple[int, int], ...] = ()
        """Planes by what they are worth to every Cell of the signature, best first."""
        self.tiers: tuple[int, ...] = ()
        self._facts = tuple(s for s in demand.requirement.selectors if s.source is Source.FACT)
        self._classes: dict[tuple[str, ...], dict[tuple[str, ...], int]] = {}
        self._version = -1
        self._fits = 0

    def refresh(self) -> None:
        """Take in what changed since."""
        index = self.index
        if self._version != index.version:
            self._version = index.version
            self._make()
        self._fits = index.roomy(self.amounts)
        if self._facts:
            self._fits = sum(
                1 << slot for slot in slots_of(self._fits & self.fresh) if self._measured(slot)
            )

    @property
    def skewed(self) -> bool:
        """Whether a group that is empty counts against a set."""
        return any(s.max_skew and not s.soft for s in self.demand.requirement.spreads)

    @property
    def fits(self) -> int:
        """Planes with room for one more Cell of the signature."""
        return self._fits

    def _measured(self, slot: int) -> bool:
        plane = self.index.current(slot)
        return all(plane.matches(s) for s in self._facts)

    def _make(self) -> None:
        index, fresh, stay = self.index, self.index.everything, self.index.everything
        removed: list[tuple[str, int]] = []
        kept_out: list[tuple[str, int]] = []
        for rule in RULES:
            for reason, passes, keeps in rule(index, self.demand):
                gone = fresh & ~passes
                if gone:
                    removed.append((reason, gone))
                if stay & ~keeps:
                    kept_out.append((reason, stay & ~keeps))
                fresh &= passes
                stay &= keeps
        self.fresh, self.stay = fresh, stay
        self.removed, self.kept_out = tuple(removed), tuple(kept_out)
        self.tiers = tuple(_tiers(index, self.demand, fresh | stay))
        self.levels = tuple(_levels(index, self.demand, self.tiers, fresh | stay))
        self._classes = {}

    def classes(self, keys: tuple[str, ...]) -> dict[tuple[str, ...], int]:
        """The feasible planes by their groups of several labels; no label is the group ``""``."""
        found = self._classes.get(keys)
        if found is None:
            found = {(): self.fresh | self.stay}
            for key in keys:
                values = self.index.groups(key)
                finer: dict[tuple[str, ...], int] = {}
                for groups, bits in found.items():
                    rest = bits
                    for value, members in values.items():
                        inside = bits & members
                        if inside:
                            finer[(*groups, value)] = inside
                            rest &= ~members
                    if rest:
                        finer[(*groups, "")] = rest
                found = finer
            self._classes[keys] = found
        return found

    def best(self, bits: int, many: int, of_cell: int) -> list[tuple[int, int]]:
        """The *many* best of these planes, with their worth but for stickiness, best first."""
        index = self.index
        found: list[tuple[int, int]] = []
        counts = sorted(index.counts.items())
        for worth, level in self.levels:
            at_level = bits & level
            if not at_level:
                continue
            for count, members in counts:
                equals = at_level & members
                if not equals:
                    continue
                found += self._ranked(equals, many - len(found), worth, count, of_cell)
                if len(found) >= many:
                    return found
                at_level &= ~equals
                if not at_level:
                    break
        return found

    def _ranked(
        self, equals: int, many: int, worth: int, count: int, of_cell: int
    ) -> list[tuple[int, int]]:
        """The best of planes that are equal but for cost and hash."""
        index = self.index
        if equals.bit_count() > 2 * many and not equals & index.costly:
            few, found_bits = 0, 0
            for bucket in buckets(of_cell):
                inside = equals & index.buckets[bucket]
                if inside:
                    found_bits |= inside
                    few += inside.bit_count()
                    if few >= many:
                        break
            equals = found_bits
        slots = slots_of(equals)
        hashed = mixes([index.hashes[slot] for slot in slots], of_cell)
        if equals & index.costly:
            prices = [index.at(slot).cost for slot in slots]
            hashed = [packed(worth, count, p, h) for p, h in zip(prices, hashed, strict=True)]
        else:
            base = packed(worth, count, 0, 0)
            hashed = [base + h for h in hashed]
        ranked = sorted(zip(hashed, slots, strict=True), reverse=True)
        if any(one[0] == other[0] for one, other in pairwise(ranked)):
            # Slots depend on who came first; names do not.
            ranked.sort(key=self._rank, reverse=True)
        return ranked[:many]

    def worth(self, slot: int, of_cell: int, others: int) -> int:
        """What one plane is worth but for stickiness; *others* is how many Cells it has."""
        bit = 1 << slot
        base = next((worth for worth, level in self.levels if level & bit), 0)
        index = self.index
        return packed(base, others, index.at(slot).cost, mix(index.hashes[slot], of_cell))

    def _rank(self, entry: tuple[int, int]) -> tuple[int, str]:
        return entry[0], self.index.at(entry[1]).data_plane


def _organization(index: Index, demand: Demand) -> Iterator[Passed]:
    own = index.organizations.get(demand.organization, 0)
    yield "ORGANIZATION", own, own


def _state(index: Index, _demand: Demand) -> Iterator[Passed]:
    yield "STATE", index.states.get(PlaneState.READY, 0), index.everything


def _cordoned(index: Index, _demand: Demand) -> Iterator[Passed]:
    yield "DRAINED", ~index.drained, ~index.drained
    yield "CORDONED", ~index.cordoned, index.everything


def _excluded(index: Index, demand: Demand) -> Iterator[Passed]:
    kept = ~index.bits(demand.requirement.excluded_data_planes)
    yield "EXCLUDED", kept, kept


def _selectors(index: Index, demand: Demand) -> Iterator[Passed]:
    static_ones = [s for s in demand.requirement.selectors if s.source is not Source.FACT]
    kept = _all_of(index, static_ones)
    yield "SELECTOR", kept, kept


def _tier(index: Index, demand: Demand) -> Iterator[Passed]:
    if demand.requirement.tiers:
        kept = 0
        for tier in demand.requirement.tiers:
            kept |= _all_of(index, tier.selectors)
        yield "TIER", kept, kept


def _taints(index: Index, demand: Demand) -> Iterator[Passed]:
    fresh = stay = 0
    for taint, bits in index.taints.items():
        if keeps_away(taint, demand, there=False):
            fresh |= bits
        if keeps_away(taint, demand, there=True):
            stay |= bits
    yield "TAINT", ~fresh, ~stay


def _capabilities(index: Index, demand: Demand) -> Iterator[Passed]:
    kept = index.everything
    for _, any_of in needs(demand):
        able = 0
        for name in any_of:
            able |= index.capabilities.get(name, 0)
        kept &= able
    yield "CAPABILITY", kept, kept


def _apis(index: Index, demand: Demand) -> Iterator[Passed]:
    unknown, kept = index.apis.get("", 0), index.everything
    for api in {api for c in demand.components for api in c.apis}:
        kept &= unknown | index.apis.get(api, 0)
    yield "API", kept, kept


def _topology(index: Index, demand: Demand) -> Iterator[Passed]:
    kept = index.everything
    for spread in demand.requirement.spreads:
        if not spread.soft:
            kept &= index.having(spread.topology_key)
    yield "TOPOLOGY", kept, kept


def _near(index: Index, demand: Demand) -> Iterator[Passed]:
    for other in demand.near:
        if other.weight is None:
            bits = _together(index, other.topology_key, other.groups)
            kept = ~bits if other.apart else bits
            yield "APART" if other.apart else "NEAR", kept, kept


RULES: Final[tuple[Callable[[Index, Demand], Iterator[Passed]], ...]] = (
    _organization,
    _state,
    _cordoned,
    _excluded,
    _selectors,
    _tier,
    _taints,
    _capabilities,
    _apis,
    _topology,
    _near,
)


def _all_of(index: Index, selectors: Iterable[LabelSelector]) -> int:
    kept = index.everything
    for selector in selectors:
        kept &= index.selected(selector)
    return kept


def _together(index: Index, key: str, groups: Iterable[str]) -> int:
    if not key:
        return index.bits(groups)
    found = 0
    for group in groups:
        found |= index.groups(key).get(group, 0)
    return found


def _tiers(index: Index, demand: Demand, feasible: int) -> Iterator[int]:
    for tier in demand.requirement.tiers:
        members = feasible & _all_of(index, tier.selectors)
        yield members
        feasible &= ~members


def _levels(
    index: Index, demand: Demand, tiers: tuple[int, ...], feasible: int
) -> list[tuple[int, int]]:
    """Split the feasible planes by every part of the score that does not change with use."""
    levels = {0: feasible}

    def split(bits: int, worth: int) -> None:
        nonlocal levels
        finer: dict[int, int] = {}
        for before, members in levels.items():
            inside = members & bits
            for value, part in ((before + worth, inside), (before, members & ~inside)):
                if part:
                    finer[value] = finer.get(value, 0) | part
        levels = finer

    for position, bits in enumerate(tiers):
        split(bits, static(tier_worth(position, len(tiers), demand.copies), 0, 0))
    for wish in demand.requirement.preferences:
        split(index.selected(wish.selector), static(0, wish.weight, 0))
    for other in demand.near:
        if other.weight is not None:
            bits = _together(index, other.topology_key, other.groups)
            split(~bits if other.apart else bits, static(0, other.weight, 0))
    for value, bits in index.outside().items():
        split(bits, static(0, value, 0))
    for taint, bits in index.taints.items():
        if taint.effect is Effect.PREFER_NO_SCHEDULE and not any(
            t.tolerates(taint) for t in demand.requirement.tolerations
        ):
            split(bits, static(0, 0, -1))
    return sorted(levels.items(), reverse=True)
