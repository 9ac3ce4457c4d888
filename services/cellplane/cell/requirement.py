"""What Cells ask of their data planes, and how it is narrowed.

The only place that knows these words: people write them, placement decides by them. From the
organization, the environment and the project: whatever one demands holds, a narrower level can add
and never take away. Of single numbers the narrower level's counts. Field names are those of the
contract (``type/v1/placement.proto``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class Operator(Enum):
    """How a selector compares a label."""

    IN = "IN"
    NOT_IN = "NOT_IN"
    EXISTS = "EXISTS"
    DOES_NOT_EXIST = "DOES_NOT_EXIST"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelector:
    """A condition on one label of a data plane."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

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

    def tolerates(self, taint: Taint) -> bool:
        """Tell whether the taint is one of those."""
        return self.key in ("", taint.key) and self.value in ("", taint.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How copies are spread over the groups of data planes that share a label's value."""

    topology_key: str
    min_groups: int | None = None
    max_skew: int | None = None


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


def narrow(levels: Iterable[PlacementRequirement | None]) -> PlacementRequirement:
    """The effective requirement of *levels*, the widest first."""
    given = [level for level in levels if level is not None]
    spreads: dict[str, Spread] = {}
    for spread in (s for level in given for s in level.spreads):
        before = spreads.get(spread.topology_key)
        spreads[spread.topology_key] = spread if before is None else _stricter(before, spread)
    return PlacementRequirement(
        copies=next((g.copies for g in reversed(given) if g.copies is not None), None),
        selectors=tuple(dict.fromkeys(s for g in given for s in g.selectors)),
        preferences=tuple(dict.fromkeys(p for g in given for p in g.preferences)),
        excluded_data_planes=tuple(sorted({p for g in given for p in g.excluded_data_planes})),
        tolerations=tuple(dict.fromkeys(t for g in given for t in g.tolerations)),
        spreads=tuple(spreads[key] for key in sorted(spreads)),
        capabilities=tuple(sorted({c for g in given for c in g.capabilities})),
    )


def _stricter(one: Spread, other: Spread) -> Spread:
    groups = [n for n in (one.min_groups, other.min_groups) if n is not None]
    skews = [n for n in (one.max_skew, other.max_skew) if n is not None]
    return Spread(
        topology_key=one.topology_key,
        min_groups=max(groups, default=None),
        max_skew=min(skews, default=None),
    )
