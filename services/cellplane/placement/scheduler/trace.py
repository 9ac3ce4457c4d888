"""Why it was decided so, in less than 2 KB: rules with what they removed, and the best planes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from cellplane.placement.scheduler.feasible import Feasible
from cellplane.placement.scheduler.filters import Rejection, rejection
from cellplane.placement.scheduler.index import slots_of
from cellplane.placement.scheduler.scores import PARTS, unpacked
from cellplane.placement.scheduler.snapshot import Amounts, Demand, Plane, Previous

CANDIDATES: Final = 10
"""As many feasible planes, and as many that were turned down, a trace shows at most."""
BYTES: Final = 2048
"""What a trace takes at most, as JSON."""
_EACH: Final = 3
_NAMES: Final = [name for name, _ in PARTS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A feasible data plane, with the parts of its score by name."""

    data_plane: str
    chosen: bool
    parts: tuple[int, ...]
    """In the order of ``PARTS``."""

    @property
    def scores(self) -> tuple[tuple[str, float], ...]:
        """The parts with their names."""
        return tuple((name, float(v)) for (name, _), v in zip(PARTS, self.parts, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Why it was decided so. Sorted: rejections by plane, candidates best first."""

    summary: str
    rejections: tuple[Rejection, ...] = ()
    """Of each rule the first few."""
    candidates: tuple[Candidate, ...] = ()
    rules: tuple[tuple[str, int], ...] = ()
    """How many planes each rule turned down, in the order of the rules."""
    slack: int = 0
    """How many more planes are feasible than are needed; less than 0: so many are missing."""
    moves_avoided: int = 0
    """Planes that it is kept on though others are better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What a decision has seen: the planes at hand, and who takes what of them."""

    feasible: Feasible
    demand: Demand
    previous: Previous
    own: Mapping[str, Amounts] | None
    """By data plane, what the Cell itself is counted for there; ``None`` if it is not counted."""
    staying: int
    fresh: int

    @property
    def there(self) -> int:
        """Where the Cell is."""
        return self.feasible.index.bits(self.previous.data_planes)

    def plane(self, slot: int) -> Plane:
        """A plane as it is for this Cell: what others use of it."""
        index = self.feasible.index
        plane = index.current(slot)
        own = self.own.get(plane.data_plane) if self.own is not None else None
        if own is None:
            return plane
        used = {name: amount - own.get(name, 0) for name, amount in plane.used.items()}
        return replace(plane, used=used, cell_count=plane.cell_count - 1)


def rules_of(view: View) -> dict[str, int]:
    """By rule, in their order, the planes that it turned down."""
    feasible, there = view.feasible, view.there
    found = {reason: bits & ~there for reason, bits in feasible.removed if bits & ~there}
    full = feasible.fresh & ~there & ~view.fresh
    if full:
        found["CAPACITY"] = full
    for slot in slots_of(there & ~view.staying):
        turned = turned_down(view, slot)
        if turned is not None:
            found[turned.reason] = found.get(turned.reason, 0) | 1 << slot
    return found


def turned_down(view: View, slot: int) -> Rejection | None:
    """Why a plane is not feasible."""
    plane = view.plane(slot)
    there = plane.data_plane in view.previous.data_planes
    word = view.previous.leaving.get(plane.data_plane)
    if there and word is not None:
        message = f"the Cell is to leave it: {word.lower()}"
        return Rejection(data_plane=plane.data_plane, reason=word, message=message)
    return rejection(plane, view.demand, there=there)


def examples(view: View, rules: Mapping[str, int]) -> tuple[Rejection, ...]:
    """Of each rule the first planes that it turned down, by name; and more, while there is room."""
    index = view.feasible.index
    by_rule = {rule: index.names(bits) for rule, bits in rules.items()}
    wanted = {name for names in by_rule.values() for name in names[:_EACH]}
    if len(wanted) < CANDIDATES:
        rest = sorted(name for names in by_rule.values() for name in names[_EACH:CANDIDATES])
        wanted.update(rest[: CANDIDATES - len(wanted)])
    slots = [s for name in sorted(wanted)[:CANDIDATES] if (s := index.slot(name)) is not None]
    return tuple(r for slot in slots if (r := turned_down(view, slot)) is not None)


def candidates(
    view: View, ranked: Sequence[tuple[int, int]], chosen: Sequence[str]
) -> tuple[Candidate, ...]:
    """The best planes with the parts of their scores; *ranked* is their worth, and their slots."""
    found: list[Candidate] = []
    tiers = view.feasible.tiers
    for worth, slot in ranked[:CANDIDATES]:
        name = view.feasible.index.at(slot).data_plane
        stays = int(name in view.previous.data_planes)
        tier = -next((i for i, bits in enumerate(tiers) if bits >> slot & 1), 0)
        parts = (stays, tier, *unpacked(worth)[2:])
        found.append(Candidate(data_plane=name, chosen=name in chosen, parts=parts))
    return tuple(found)


def _digits(candidate: Candidate) -> int:
    """As many signs as its numbers take at most: the last one is a hash of 48 bits."""
    *parts, _ = candidate.parts
    ordinary = -100_000 < min(parts) and max(parts) < 100_000
    return 8 * len(parts) + 17 if ordinary else BYTES


def _small(trace: Trace) -> bool:
    """Whether it is below the limit for sure, without writing it out."""
    words = [trace.summary, *(c.data_plane for c in trace.candidates)]
    words += [w for r in trace.rejections for w in (r.data_plane, r.reason, r.message)]
    digits = sum(map(_digits, trace.candidates))
    # Whatever it is, no character takes more than six, and what is around a word thirty.
    signs = sum(len(w) if w.isascii() and w.isprintable() else 6 * len(w) for w in words)
    quoted = sum(w.count('"') + w.count("\\") for w in words)
    return signs + quoted + digits + 30 * (len(words) + len(trace.rules)) + 300 < BYTES


def to_json(trace: Trace) -> dict[str, Any]:
    """A trace to be stored: as much as there is room for, the best first."""
    names = _NAMES if trace.candidates else []
    body: dict[str, Any] = {
        "summary": trace.summary[:600],
        "rules": [list(rule) for rule in trace.rules],
        "slack": trace.slack,
        "moves_avoided": trace.moves_avoided,
        "parts": names,
        "candidates": [],
        "rejections": [],
    }
    entries = [
        ("candidates", [c.data_plane, int(c.chosen), *c.parts]) for c in trace.candidates
    ] + [("rejections", [r.data_plane, r.reason, r.message[:160]]) for r in trace.rejections]
    for kind, entry in entries:
        body[kind].append(entry)
    over = 0 if _small(trace) else len(json.dumps(body).encode()) - BYTES
    for kind, entry in reversed(entries):
        if over <= 0:
            break
        body[kind].pop()
        over -= len(json.dumps(entry).encode()) + 2
    return body


def of_json(body: Mapping[str, Any]) -> Trace:
    """A trace that was stored, also by a version that stored all of it."""
    if "parts" not in body:
        return Trace(summary=body["summary"])
    return Trace(
        summary=body["summary"],
        rejections=tuple(
            Rejection(data_plane=plane, reason=reason, message=message)
            for plane, reason, message in body["rejections"]
        ),
        candidates=tuple(
            Candidate(
                data_plane=plane,
                chosen=bool(chosen),
                parts=tuple(
                    dict(zip(body["parts"], values, strict=True)).get(n, 0) for n in _NAMES
                ),
            )
            for plane, chosen, *values in body["candidates"]
        ),
        rules=tuple((rule, count) for rule, count in body["rules"]),
        slack=body["slack"],
        moves_avoided=body["moves_avoided"],
    )
