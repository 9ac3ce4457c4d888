"""What a decision is made from: the data planes, and what one Cell asks of them.

Field names are those of the contracts (``type/v1/placement.proto``, ``placement/v1``). The order of
planes, labels and rules in here never matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from cellplane.cell.visibility import Encryption


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
    """What a Cell asks of its data planes; effective, so narrowed already."""

    copies: int | None = None
    selectors: tuple[LabelSelector, ...] = ()
    preferences: tuple[Preference, ...] = ()
    excluded_data_planes: tuple[str, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    spreads: tuple[Spread, ...] = ()
    capabilities: tuple[str, ...] = ()


class PlaneState(Enum):
    """The life of a data plane."""

    PENDING = "PENDING"
    READY = "READY"
    SUSPECT = "SUSPECT"
    LOST = "LOST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """A data plane, as far as decisions need to know."""

    data_plane: str
    organization: str
    state: PlaneState
    cordoned: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    capabilities: frozenset[str] = frozenset()
    cell_count: int = 0
    """Cells on it, the one that is decided on not counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Every data plane that can be chosen from."""

    planes: tuple[Plane, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one Cell asks for, as it is written and as follows from what it is."""

    cell: str
    organization: str
    requirement: PlacementRequirement = field(default_factory=PlacementRequirement)
    encryption: Encryption = Encryption.UNSPECIFIED
    exposed: bool = False
    """Whether gateways lead into it, or out of it."""
    identified: bool = False
    """Whether it calls other Cells or is called by them, so that it needs certificates."""
    stateful: bool = False
    """Whether it has volumes: it is on one data plane, and never moves by itself."""

    @property
    def copies(self) -> int:
        """On how many data planes it is to be."""
        return 1 if self.stateful else self.requirement.copies or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """Where the Cell is, and the rules of spread that held when that was decided."""

    data_planes: tuple[str, ...] = ()
    spreads: tuple[Spread, ...] = ()
