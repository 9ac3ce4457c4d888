"""Data planes as bitsets: bit ``i`` of a Python int is the plane in slot ``i``.

Filtering is AND and ANDNOT. What only people or agents change (labels, taints, states, ...) counts
a ``version`` up, so that what was derived of it is kept until then. What every decision changes is
in bitsets, too: how many Cells are there by number, and what is free by its order of magnitude, so
that only the planes of the same magnitude as what is asked for are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from typing import Final, TypeVar

from cellplane.cell.requirement import LabelSelector, Operator, Source, Taint
from cellplane.placement.scheduler.scores import BUCKETS, plane_hash
from cellplane.placement.scheduler.snapshot import (
    ALWAYS,
    Amounts,
    Plane,
    PlaneState,
    outside_of,
)

K = TypeVar("K", bound=Hashable)

_SPARSE: Final = 24
"""Up to so many bits it is faster to take them out one by one."""


def slots_of(bits: int) -> list[int]:
    """The slots that are set, ascending."""
    if bits.bit_count() <= _SPARSE:
        found: list[int] = []
        while bits:
            low = bits & -bits
            found.append(low.bit_length() - 1)
            bits ^= low
        return found
    return [slot for slot, bit in enumerate(bin(bits)[:1:-1]) if bit == "1"]


class Index:
    """The data planes of a world, by every word that a rule can ask for."""

    __slots__ = (
        "_free",
        "_magnitudes",
        "_outside",
        "_room",
        "_slots",
        "_words",
        "apis",
        "buckets",
        "capabilities",
        "cell_counts",
        "cordoned",
        "costly",
        "counts",
        "drained",
        "everything",
        "firm",
        "hashes",
        "now",
        "organizations",
        "planes",
        "states",
        "taints",
        "used",
        "version",
    )

    def __init__(
        self, planes: Iterable[Plane] = (), now: float = 0.0, *, firm: bool = False
    ) -> None:
        self.now = now
        self.firm = firm
        """Whether a Cell keeps what it has where there turns out to be less than was thought."""
        self.version = 0
        self.planes: list[Plane | None] = []
        self.hashes: list[int] = []
        self.used: list[dict[str, int]] = []
        """What is taken of each plane, by slot."""
        self.cell_counts: list[int] = []
        self.counts: dict[int, int] = {}
        """Planes by how many Cells are on them."""
        self.buckets = [0] * BUCKETS
        """Planes by the bucket of their hash."""
        self.everything = 0
        self.cordoned = 0
        self.costly = 0
        """Planes whose cost is not 0."""
        self.drained = 0
        self.states: dict[PlaneState, int] = {}
        self.organizations: dict[str, int] = {}
        self.capabilities: dict[str, int] = {}
        self.apis: dict[str, int] = {}
        self.taints: dict[Taint, int] = {}
        self._words: dict[tuple[Source, str], dict[str, int]] = {}
        self._outside: dict[int, int] | None = None
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._room: dict[str, dict[int, int]] = {}
        """By resource, planes by the number of bits of what is free."""
        self._magnitudes: list[dict[str, int]] = []
        """The same by slot."""
        for plane in sorted(planes, key=lambda p: (p.data_plane, p.organization)):
            self.put(plane)

    def slot(self, data_plane: str) -> int | None:
        """The slot of a plane."""
        return self._slots.get(data_plane)

    def get(self, data_plane: str) -> Plane | None:
        """A plane as it was put: what Cells of this world use is not in it."""
        slot = self._slots.get(data_plane)
        return None if slot is None else self.planes[slot]

    def at(self, slot: int) -> Plane:
        """The plane in a slot that is taken."""
        plane = self.planes[slot]
        if plane is None:
            raise LookupError(f"slot {slot} is free")
        return plane

    def current(self, slot: int) -> Plane:
        """The plane in a slot with what is used of it now."""
        return replace(self.at(slot), used=self.used[slot], cell_count=self.cell_counts[slot])

    def bits(self, data_planes: Iterable[str]) -> int:
        """These planes, as far as they are there."""
        found = 0
        for name in data_planes:
            slot = self._slots.get(name)
            if slot is not None:
                found |= 1 << slot
        return found

    def names(self, bits: int) -> list[str]:
        """Ids of planes, sorted."""
        return sorted(self.at(slot).data_plane for slot in slots_of(bits))

    def put(self, plane: Plane) -> None:
        """A plane is there, or is different; what Cells use of it stays."""
        slot = self._slots.get(plane.data_plane)
        self.version += 1
        self._outside = None
        if slot is None:
            slot = self._new_slot(plane)
        else:
            before = self.at(slot)
            self._turn(before, 1 << slot, on=False)
            used = {k: v - before.used.get(k, 0) for k, v in self.used[slot].items()}
            for name, amount in plane.used.items():
                used[name] = used.get(name, 0) + amount
            self.used[slot] = used
            self._count(slot, plane.cell_count - before.cell_count)
        self.planes[slot] = plane
        self._turn(plane, 1 << slot, on=True)
        self._measure(slot)

    def drop(self, data_plane: str) -> None:
        """A plane is gone."""
        slot = self._slots.pop(data_plane, None)
        if slot is None:
            return
        self.version += 1
        self._outside = None
        self._turn(self.at(slot), 1 << slot, on=False)
        self._count(slot, -self.cell_counts[slot])
        self.counts[0] &= ~(1 << slot)
        self.planes[slot] = None
        self.used[slot] = {}
        self._free.append(slot)
        self._measure(slot)

    def occupy(self, slot: int, amounts: Amounts, *, sign: int = 1) -> None:
        """A Cell takes so much of a plane, or gives it back."""
        used = self.used[slot]
        for name, amount in amounts.items():
            used[name] = used.get(name, 0) + sign * amount
        self._count(slot, sign)
        self._measure(slot)

    def advance(self, now: float) -> None:
        """It is later: some scores may not be true any more."""
        before, self.now = self.now, now
        for plane in self.planes:
            if plane is not None and any(
                s.valid_until is not None and before <= s.valid_until < now for s in plane.scores
            ):
                self.version += 1
                self._outside = None
                return

    def roomy(self, amounts: Amounts) -> int:
        """Planes that have so much free."""
        found = self.everything
        for name, amount in amounts.items():
            asked, known, enough = amount.bit_length(), 0, 0
            for magnitude, bits in self._room.get(name, {}).items():
                known |= bits
                if magnitude > asked:
                    enough |= bits
                elif magnitude == asked:
                    for slot in slots_of(bits & found):
                        if self._left(slot, name) >= amount:
                            enough |= 1 << slot
            # Processor time and memory may be unknown; an extended resource is not there then.
            found &= enough | ~known if name in ALWAYS else enough
        return found

    def fits(self, slot: int, amounts: Amounts, own: Amounts | None = None) -> bool:
        """Tell whether so much is free; *own* is counted as used, and is the asking Cell's."""
        plane, used = self.planes[slot], self.used[slot]
        if plane is None:
            return False
        for name, amount in amounts.items():
            most = plane.allocatable.get(name)
            if most is None:
                if amount and name not in ALWAYS:
                    return False
                continue
            mine = own.get(name, 0) if own else 0
            if used.get(name, 0) - mine + amount > most:
                return False
        return True

    def holds(self, slot: int, amounts: Amounts, own: Amounts | None) -> bool:
        """Tell whether a Cell that has *own* there may have so much."""
        if self.firm and own is not None and all(own.get(n, 0) >= a for n, a in amounts.items()):
            return True
        return self.fits(slot, amounts, own)

    def over(self, slot: int) -> list[str]:
        """The resources of which more is used than there is."""
        most = self.at(slot).allocatable
        return [
            name
            for name, amount in self.used[slot].items()
            if amount > most.get(name, amount if name in ALWAYS else 0)
        ]

    def selected(self, selector: LabelSelector) -> int:
        """Planes that a selector holds for."""
        if selector.source is Source.FACT:
            return self._where(selector)
        values = self._words.get((selector.source or Source.LABEL, selector.key), {})
        match selector.operator:
            case Operator.IN | Operator.NOT_IN:
                found = 0
                for value in selector.values:
                    found |= values.get(value, 0)
                return found if selector.operator is Operator.IN else self.everything & ~found
            case Operator.EXISTS | Operator.DOES_NOT_EXIST:
                found = self.having(selector.key, selector.source)
                return found if selector.operator is Operator.EXISTS else self.everything & ~found
            case Operator.AT_LEAST | Operator.AT_MOST:
                found = 0
                for value, bits in values.items():
                    if selector.holds({selector.key: value}):
                        found |= bits
                return found

    def having(self, key: str, source: Source | None = None) -> int:
        """Planes that have a label, or a field."""
        found = 0
        for bits in self._words.get((source or Source.LABEL, key), {}).values():
            found |= bits
        return found

    def groups(self, key: str) -> Mapping[str, int]:
        """Planes by the value of a label."""
        return self._words.get((Source.LABEL, key), {})

    def outside(self) -> Mapping[int, int]:
        """Planes by the sum of their scores from outside that are true now, where it is not 0."""
        if self._outside is None:
            sums: dict[int, int] = {}
            for slot, plane in enumerate(self.planes):
                if plane is not None and plane.scores:
                    worth = outside_of(plane, self.now)
                    if worth:
                        sums[worth] = sums.get(worth, 0) | 1 << slot
            self._outside = sums
        return self._outside

    def _left(self, slot: int, name: str) -> int:
        return self.at(slot).allocatable.get(name, 0) - self.used[slot].get(name, 0)

    def _measure(self, slot: int) -> None:
        """Note how much is free of a plane."""
        plane, before, bit = self.planes[slot], self._magnitudes[slot], 1 << slot
        now = {
            name: max(0, self._left(slot, name)).bit_length()
            for name in (plane.allocatable if plane is not None else ())
        }
        if now == before:
            return
        for name in {*before, *now}:
            if before.get(name) != now.get(name):
                room = self._room.setdefault(name, {})
                if name in before:
                    _turn(room, before[name], bit, on=False)
                if name in now:
                    _turn(room, now[name], bit, on=True)
        self._magnitudes[slot] = now

    def _where(self, selector: LabelSelector) -> int:
        found = 0
        for slot, plane in enumerate(self.planes):
            if plane is not None and self.current(slot).matches(selector):
                found |= 1 << slot
        return found

    def _new_slot(self, plane: Plane) -> int:
        slot = self._free.pop() if self._free else len(self.planes)
        self._slots[plane.data_plane] = slot
        if slot == len(self.planes):
            self.planes.append(plane)
            self.hashes.append(0)
            self.used.append({})
            self.cell_counts.append(0)
            self._magnitudes.append({})
        self.hashes[slot] = plane_hash(plane.data_plane)
        self.used[slot] = dict(plane.used)
        self.cell_counts[slot] = plane.cell_count
        self.counts[plane.cell_count] = self.counts.get(plane.cell_count, 0) | 1 << slot
        self.counts.setdefault(0, 0)
        return slot

    def _count(self, slot: int, more: int) -> None:
        if not more:
            return
        bit, before = 1 << slot, self.cell_counts[slot]
        left = self.counts[before] & ~bit
        if left or not before:
            self.counts[before] = left
        else:
            del self.counts[before]
        self.cell_counts[slot] = before + more
        self.counts[before + more] = self.counts.get(before + more, 0) | bit

    def _turn(self, plane: Plane, bit: int, *, on: bool) -> None:
        _turn(self.states, plane.state, bit, on=on)
        _turn(self.organizations, plane.organization, bit, on=on)
        for source in (Source.LABEL, Source.FIELD):
            for key, value in plane.words(source).items():
                _turn(self._words.setdefault((source, key), {}), value, bit, on=on)
        for taint in plane.taints:
            _turn(self.taints, taint, bit, on=on)
        for capability in plane.capabilities:
            _turn(self.capabilities, capability, bit, on=on)
        for api in plane.apis if plane.apis is not None else ():
            _turn(self.apis, api, bit, on=on)
        if plane.apis is None:
            _turn(self.apis, "", bit, on=on)
        self.everything = self.everything | bit if on else self.everything & ~bit
        bucket = plane_hash(plane.data_plane) % BUCKETS
        self.buckets[bucket] = self.buckets[bucket] & ~bit | (bit if on else 0)
        self.cordoned &= ~bit
        self.drained &= ~bit
        self.costly &= ~bit
        if on:
            self.costly |= bit if plane.cost else 0
            self.cordoned |= bit if plane.cordoned else 0
            self.drained |= bit if plane.drained else 0


def _turn(sets: dict[K, int], key: K, bit: int, *, on: bool) -> None:
    if on:
        sets[key] = sets.get(key, 0) | bit
        return
    left = sets.get(key, 0) & ~bit
    if left:
        sets[key] = left
    else:
        sets.pop(key, None)
