"""A world as a document: data planes, Cells, where they are, and what happens.

The dataclasses are the format: its reader and its JSON Schema are made from them. What is asked of
data planes has the words of the API (``type/v1/placement.proto``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from cellplane.cell.plane import KUBERNETES_POLICY
from cellplane.cell.requirement import PlacementRequirement, Taint
from cellplane.cell.visibility import Encryption
from cellplane.placement.scheduler.snapshot import (
    ComponentDemand,
    Demand,
    OutsideScore,
    Plane,
    PlaneState,
)

ORGANIZATION: Final = "world"
"""All of a world is of one organization."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSpec:
    """A data plane."""

    data_plane: str
    state: PlaneState = PlaneState.READY
    cordoned: bool = False
    drained: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    capabilities: tuple[str, ...] = (KUBERNETES_POLICY,)
    apis: tuple[str, ...] | None = None
    capacity: Mapping[str, int] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    scores: tuple[OutsideScore, ...] = ()
    cost: int = 0

    def plane(self) -> Plane:
        """What the scheduler needs to know of it."""
        return Plane(
            data_plane=self.data_plane,
            organization=ORGANIZATION,
            state=self.state,
            cordoned=self.cordoned,
            drained=self.drained,
            labels=self.labels,
            fields=self.fields,
            facts=self.facts,
            taints=self.taints,
            capabilities=frozenset(self.capabilities),
            apis=frozenset(self.apis) if self.apis is not None else None,
            allocatable=self.capacity,
            used=self.used,
            scores=self.scores,
            cost=self.cost,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSpec:
    """A Cell, and what it asks for."""

    cell: str
    requirement: PlacementRequirement = field(default_factory=PlacementRequirement)
    components: tuple[ComponentDemand, ...] = ()
    encryption: Encryption = Encryption.UNSPECIFIED
    exposed: bool = False
    identified: bool = False
    stateful: bool = False

    def demand(self) -> Demand:
        """What the scheduler needs to know of it."""
        return Demand(
            cell=self.cell,
            organization=ORGANIZATION,
            requirement=self.requirement,
            components=self.components,
            encryption=self.encryption,
            exposed=self.exposed,
            identified=self.identified,
            stateful=self.stateful,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many replicas of a component a data plane has."""

    component: str
    data_plane: str
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionSpec:
    """Where a Cell is at first."""

    cell: str
    data_planes: tuple[str, ...]
    shares: tuple[Share, ...] = ()


class Kind(Enum):
    """What happens."""

    LOSE = "lose"
    RETURN = "return"
    DRAIN = "drain"
    UNDRAIN = "undrain"
    CORDON = "cordon"
    UNCORDON = "uncordon"
    LABEL = "label"
    UNLABEL = "unlabel"
    TAINT = "taint"
    UNTAINT = "untaint"
    CAPACITY = "capacity"
    SCORE = "score"
    ADD_DATA_PLANE = "add_data_plane"
    REMOVE_DATA_PLANE = "remove_data_plane"
    ADD_CELL = "add_cell"
    REMOVE_CELL = "remove_cell"
    ADVANCE = "advance"
    REBALANCE = "rebalance"


REQUIRED: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.LABEL: ("data_plane", "labels"),
    Kind.UNLABEL: ("data_plane", "keys"),
    Kind.TAINT: ("data_plane", "taints"),
    Kind.UNTAINT: ("data_plane", "keys"),
    Kind.CAPACITY: ("data_plane", "capacity"),
    Kind.SCORE: ("data_plane", "scores"),
    Kind.ADD_DATA_PLANE: ("plane",),
    Kind.ADD_CELL: ("specification",),
    Kind.REMOVE_CELL: ("cell",),
    Kind.ADVANCE: ("seconds",),
    Kind.REBALANCE: ("budget",),
}
"""The fields of each event; ``data_plane`` for one that is not here."""


def required(kind: Kind) -> tuple[str, ...]:
    """The fields that an event has, and must have."""
    return REQUIRED.get(kind, ("data_plane",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happens."""

    event: Kind
    data_plane: str = ""
    cell: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    taints: tuple[Taint, ...] = ()
    capacity: Mapping[str, int] = field(default_factory=dict)
    scores: tuple[OutsideScore, ...] = ()
    plane: PlaneSpec | None = None
    specification: CellSpec | None = None
    seconds: float = 0.0
    budget: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Times and limits."""

    start_time: float = 0.0
    suspect_seconds: float = 45.0
    lost_seconds: float = 60.0
    brake_region_percent: int = 20
    brake_all_percent: int = 30
    brake_at_least: int = 2
    hold_down_seconds: float = 600.0
    make_seconds: float = 0.0
    drain_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All of it."""

    data_planes: tuple[PlaneSpec, ...] = ()
    cells: tuple[CellSpec, ...] = ()
    decisions: tuple[DecisionSpec, ...] = ()
    events: tuple[Event, ...] = ()
    settings: Settings = field(default_factory=Settings)
