"""What Cells ask of their data planes, and how it is narrowed.

The only place that knows these words: people write them, placement decides by them. From the
organization, the environment and the project: whatever one demands holds, a narrower level can add
and never take away. Of single numbers the narrower level's counts, but for those that give rights
over others (priority, move budget), of which the smallest does. Field names are those of the
contract (``type/v1/placement.proto``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import TypeVar


class Operator(Enum):
    """How a selector compares a label."""

    IN = "IN"
    NOT_IN = "NOT_IN"
    EXISTS = "EXISTS"
    DOES_NOT_EXIST = "DOES_NOT_EXIST"
    AT_LEAST = "AT_LEAST"
    AT_MOST = "AT_MOST"


class Source(Enum):
    """Where a selector finds its key."""

    LABEL = "LABEL"
    FIELD = "FIELD"
    """What a data plane is: ``provider``, ``region``, ``zone``, ``kubernetes_version``, ..."""
    FACT = "FACT"
    """What its agent measured last: ``node_count``, ``free_cpu_millis``, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelector:
    """A condition on one label of a data plane, or on a field or a fact of it."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()
    source: Source | None = None
    """``None`` is a label."""

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels meet it; a missing label is in no set (as in Kubernetes)."""
        match self.operator:
            case Operator.IN:
                return self.key in labels and labels[self.key] in self.values
            case Operator.NOT_IN:
                return self.key not in labels or labels[self.key] not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels
            case Operator.AT_LEAST:
                return self.key in labels and ordinal(labels[self.key]) >= ordinal(*self.values[:1])
            case Operator.AT_MOST:
                return self.key in labels and ordinal(labels[self.key]) <= ordinal(*self.values[:1])

    def __str__(self) -> str:
        match self.operator:
            case Operator.IN:
                return f"{self.key} in ({', '.join(self.values)})"
            case Operator.NOT_IN:
                return f"{self.key} not in ({', '.join(self.values)})"
            case Operator.EXISTS:
                return f"{self.key} exists"
            case Operator.DOES_NOT_EXIST:
                return f"{self.key} does not exist"
            case Operator.AT_LEAST:
                return f"{self.key} at least {', '.join(self.values)}"
            case Operator.AT_MOST:
                return f"{self.key} at most {', '.join(self.values)}"


def ordinal(text: str = "") -> tuple[int, ...]:
    """A number or a version, such as ``v1.31.2``, as something that can be compared.

    What does not begin like one is below all; ``1.31`` equals ``1.31.0``.
    """
    numbers: list[int] = []
    for part in text.removeprefix("v").split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """A wish: a condition and what it is worth."""

    selector: LabelSelector
    weight: int


class Effect(Enum):
    """What a taint does to Cells that do not tolerate it."""

    NO_SCHEDULE = "NO_SCHEDULE"
    PREFER_NO_SCHEDULE = "PREFER_NO_SCHEDULE"
    NO_EXECUTE = "NO_EXECUTE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """Something about a data plane that keeps Cells away."""

    key: str
    value: str = ""
    effect: Effect

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Toleration:
    """A taint that does not keep a Cell away; empty fields match everything."""

    key: str = ""
    value: str = ""
    effect: Effect | None = None
    seconds: int | None = None
    """How long a Cell that is there bears ``NO_EXECUTE``; for ever if ``None``."""

    def tolerates(self, taint: Taint) -> bool:
        """Tell whether the taint is one of those, for however long."""
        return (
            self.key in ("", taint.key)
            and self.value in ("", taint.value)
            and self.effect in (None, taint.effect)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How copies are spread over the groups of data planes that share a label's value."""

    topology_key: str
    min_groups: int | None = None
    max_skew: int | None = None
    max_groups: int | None = None
    soft: bool = False
    """Whether it is a wish: kept as far as the hard rules and the tiers allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Data planes that are as good as each other; a Cell prefers the tiers that come first."""

    selectors: tuple[LabelSelector, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """Be near another Cell, or apart from it: in a group of its data planes, or in none."""

    cell: str
    """``project`` for the one in the same environment, or ``project/environment``."""
    topology_key: str = ""
    """What makes a group; empty for the data plane itself."""
    apart: bool = False
    weight: int | None = None
    """A wish that is worth so much; a hard rule if ``None``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaLimit:
    """How many replicas of each component a data plane gets at least and at most, where split."""

    selector: LabelSelector
    min_replicas: int | None = None
    max_replicas: int | None = None


class DivisionMethod(Enum):
    """By what replicas are divided."""

    WEIGHT = "WEIGHT"
    FREE_CAPACITY = "FREE_CAPACITY"
    PACK = "PACK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """What a data plane counts when replicas are divided by weight; 1 where none is given."""

    selector: LabelSelector
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Replicas of each component are divided over the data planes, instead of copied to each."""

    method: DivisionMethod = DivisionMethod.WEIGHT
    weights: tuple[Weight, ...] = ()
    limits: tuple[ReplicaLimit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutWave:
    """Data planes that get a change at about the same time."""

    selectors: tuple[LabelSelector, ...] = ()
    """All must hold; none: every data plane that is in no wave before."""
    size: str = ""
    """At most so many of them, as a number or in percent of all; empty for all of them."""
    mandatory: bool = False
    """Whether no failure is borne in it."""
    approval: bool = False
    """Whether somebody has to approve before it begins."""
    wait_seconds: int | None = None
    """How long it waits after the wave before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutStrategy:
    """How a change of a Cell comes to its data planes: in waves, and no further than is good."""

    waves: tuple[RolloutWave, ...] = ()
    """In order; what is in none follows at the end."""
    concurrency: str = ""
    """How many data planes are under way at once, as a number or in percent of all; empty: 1."""
    soak_seconds: int | None = None
    """How long a data plane has to stay ready."""
    deadline_seconds: int | None = None
    """How long it has to become ready. Default 600."""
    failure_budget: str = ""
    """How many data planes the change may break, as a number or in percent of all; empty: 0."""
    rollback: bool | None = None
    """Whether those go back to the revision that they were ready with. Default yes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementRequirement:
    """What is asked of data planes: by one level as it is written, or by all of them, narrowed."""

    copies: int | None = None
    selectors: tuple[LabelSelector, ...] = ()
    preferences: tuple[Preference, ...] = ()
    excluded_data_planes: tuple[str, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    spreads: tuple[Spread, ...] = ()
    capabilities: tuple[str, ...] = ()
    tiers: tuple[Tier, ...] = ()
    overflow: bool | None = None
    """Whether a Cell can be in several tiers at once: the first is filled, the rest spills over."""
    affinities: tuple[Affinity, ...] = ()
    division: Division | None = None
    """Copies of the whole Cell if ``None``."""
    priority: int | None = None
    preemption: bool | None = None
    """Whether Cells of lower priority may have to go for it."""
    stays: bool | None = None
    """Whether it is never moved for anything that is only better, nor for another Cell."""
    stickiness: int | None = None
    """How much more preference another data plane must have for a move that is only better."""
    move_budget: int | None = None
    """How many of its copies may move at a time when it need not."""
    failback: bool | None = None
    """Whether it goes back where it was once that data plane has held for a while."""
    lost_seconds: int | None = None
    """How long it stays on a data plane that is lost. Default 300."""
    rollout: RolloutStrategy | None = None
    """How a change comes to its data planes; to all at once if ``None``."""


def narrow(levels: Iterable[PlacementRequirement | None]) -> PlacementRequirement:
    """The effective requirement of *levels*, the widest first."""
    given = [level for level in levels if level is not None]
    spreads: dict[tuple[str, bool], Spread] = {}
    for spread in (s for level in given for s in level.spreads):
        key = spread.topology_key, spread.soft
        before = spreads.get(key)
        spreads[key] = spread if before is None else _stricter(before, spread)
    return PlacementRequirement(
        copies=_last(g.copies for g in given),
        selectors=tuple(dict.fromkeys(s for g in given for s in g.selectors)),
        preferences=tuple(dict.fromkeys(p for g in given for p in g.preferences)),
        excluded_data_planes=tuple(sorted({p for g in given for p in g.excluded_data_planes})),
        tolerations=tuple(dict.fromkeys(t for g in given for t in g.tolerations)),
        spreads=tuple(spreads[key] for key in sorted(spreads)),
        capabilities=tuple(sorted({c for g in given for c in g.capabilities})),
        tiers=_tiers([g.tiers for g in given if g.tiers]),
        overflow=_last(g.overflow for g in given),
        affinities=tuple(dict.fromkeys(a for g in given for a in g.affinities)),
        division=_division([g.division for g in given if g.division is not None]),
        priority=_least(g.priority for g in given),
        preemption=_all(g.preemption for g in given),
        stays=_any(g.stays for g in given),
        stickiness=_last(g.stickiness for g in given),
        move_budget=_least(g.move_budget for g in given),
        failback=_last(g.failback for g in given),
        lost_seconds=_last(g.lost_seconds for g in given),
        rollout=_rollout([g.rollout for g in given if g.rollout is not None]),
    )


T = TypeVar("T")


def _last(values: Iterable[T | None]) -> T | None:
    return next((v for v in reversed(list(values)) if v is not None), None)


def _least(values: Iterable[int | None]) -> int | None:
    return min((v for v in values if v is not None), default=None)


def _all(values: Iterable[bool | None]) -> bool | None:
    said = [v for v in values if v is not None]
    return all(said) if said else None


def _any(values: Iterable[bool | None]) -> bool | None:
    said = [v for v in values if v is not None]
    return any(said) if said else None


def _rollout(levels: Sequence[RolloutStrategy]) -> RolloutStrategy | None:
    """What a wider level says of order and numbers holds; a narrower one can take more time."""
    if not levels:
        return None
    soaks = [s.soak_seconds for s in levels if s.soak_seconds is not None]
    return RolloutStrategy(
        waves=next((s.waves for s in levels if s.waves), ()),
        concurrency=next((s.concurrency for s in levels if s.concurrency), ""),
        soak_seconds=max(soaks, default=None),
        deadline_seconds=_least(s.deadline_seconds for s in levels),
        failure_budget=next((s.failure_budget for s in levels if s.failure_budget), ""),
        rollback=_any(s.rollback for s in levels),
    )


def _tiers(levels: Sequence[tuple[Tier, ...]]) -> tuple[Tier, ...]:
    """What is in a tier of every level; the narrowest level's order counts first."""
    if not levels:
        return ()
    combined = levels[-1]
    for wider in reversed(levels[:-1]):
        combined = tuple(
            Tier(selectors=tuple(dict.fromkeys((*outer.selectors, *inner.selectors))))
            for inner in combined
            for outer in wider
        )
    return combined


def _division(levels: Sequence[Division]) -> Division | None:
    """The narrowest level's way, within every level's limits."""
    if not levels:
        return None
    limits = tuple(dict.fromkeys(limit for d in levels for limit in d.limits))
    return replace(levels[-1], limits=limits)


def _stricter(one: Spread, other: Spread) -> Spread:
    return Spread(
        topology_key=one.topology_key,
        min_groups=max(
            (n for n in (one.min_groups, other.min_groups) if n is not None), default=None
        ),
        max_skew=_least((one.max_skew, other.max_skew)),
        max_groups=_least((one.max_groups, other.max_groups)),
        soft=one.soft,
    )
