"""What a decision is made from: the data planes, and what one Cell asks of them.

Field names are those of ``placement/v1``; what is asked has its words in ``cell.requirement``. The
order of planes, labels and rules in here never matters. Amounts are integers by resource:
``cpu_millis``, ``memory_bytes``, and extended resources under their own names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, TypeAlias

from cellplane.cell.requirement import (
    DivisionMethod,
    LabelSelector,
    PlacementRequirement,
    Source,
    Spread,
    Taint,
    narrow,
)
from cellplane.cell.visibility import Encryption

Amounts: TypeAlias = Mapping[str, int]
"""Amounts by resource."""

ALWAYS: Final = frozenset({"cpu_millis", "memory_bytes"})
"""Resources that every data plane has, also where it is not known how much."""
REGION: Final = "topology.kubernetes.io/region"
ZONE: Final = "topology.kubernetes.io/zone"


class PlaneState(Enum):
    """The life of a data plane."""

    PENDING = "PENDING"
    READY = "READY"
    SUSPECT = "SUSPECT"
    LOST = "LOST"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideScore:
    """What somebody else thinks of a data plane, for as long as it is true."""

    score: str
    value: int
    valid_until: float | None = None
    """Seconds since the epoch of ``Snapshot.now``; for ever if ``None``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """A data plane, as far as decisions need to know."""

    data_plane: str
    organization: str
    state: PlaneState
    cordoned: bool = False
    drained: bool = False
    """Whether its Cells are to leave it."""
    labels: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    """What it is, by name: ``provider``, ``kubernetes_version``, ..."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What was measured last, by name."""
    taints: tuple[Taint, ...] = ()
    capabilities: frozenset[str] = frozenset()
    apis: frozenset[str] | None = None
    """API versions that it serves; not known if ``None``."""
    allocatable: Amounts = field(default_factory=dict)
    """What Cells can have; a resource that is not named is not counted."""
    used: Amounts = field(default_factory=dict)
    """What is taken of it, by the Cell that is decided on not counted."""
    scores: tuple[OutsideScore, ...] = ()
    cost: int = 0
    cell_count: int = 0
    """Cells on it, the one that is decided on not counted."""

    def words(self, source: Source | None) -> Mapping[str, str]:
        """What a selector with that source reads."""
        if source is None or source is Source.LABEL:
            return self.labels
        if source is Source.FACT:
            free = {
                f"free_{name}": str(amount - self.used.get(name, 0))
                for name, amount in self.allocatable.items()
            }
            has = {f"allocatable_{name}": str(amount) for name, amount in self.allocatable.items()}
            return {"cell_count": str(self.cell_count), **free, **has, **self.facts}
        known = {
            "data_plane": self.data_plane,
            "region": self.labels.get(REGION, ""),
            "zone": self.labels.get(ZONE, ""),
            **self.fields,
        }
        return {name: value for name, value in known.items() if value}

    def matches(self, selector: LabelSelector) -> bool:
        """Tell whether a selector holds."""
        return selector.holds(self.words(selector.source))


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Every data plane that can be chosen from."""

    planes: tuple[Plane, ...] = ()
    cells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Where the Cells are that some Cell wants to be near to, or apart from."""
    now: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentDemand:
    """What one component of a Cell asks for."""

    component: str
    replicas: int = 1
    resources: Amounts = field(default_factory=dict)
    """Of one replica."""
    requirement: PlacementRequirement | None = None
    apis: tuple[str, ...] = ()
    """API versions that its objects need, such as ``cert-manager.io/v1``."""
    once: bool = False
    """Whether it runs once, or at times, on each data plane: it is never divided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """An affinity, with where the other Cell is: groups of ``topology_key``, or data planes."""

    cell: str
    topology_key: str
    apart: bool
    weight: int | None
    groups: frozenset[str]

    def holds(self, plane: Plane) -> bool:
        """Tell whether a plane is where it should be."""
        group = plane.labels.get(self.topology_key) if self.topology_key else plane.data_plane
        return (group in self.groups) is not self.apart


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
    components: tuple[ComponentDemand, ...] = ()
    near: tuple[Near, ...] = ()
    """Its affinities, once it is known where the other Cells are."""
    now: float = 0.0
    """When it is decided; see ``Snapshot.now``."""

    @property
    def copies(self) -> int:
        """On how many data planes it is to be."""
        return 1 if self.stateful else self.requirement.copies or 1

    @property
    def split(self) -> bool:
        """Whether its replicas are divided over its data planes."""
        return self.requirement.division is not None and not self.stateful

    @property
    def packed(self) -> bool:
        """Whether it is to be on as few data planes as hold it."""
        division = self.requirement.division
        return self.split and division is not None and division.method is DivisionMethod.PACK

    def amounts(self) -> dict[str, int]:
        """What each data plane must have free: a whole copy, or one replica of each if split."""
        return total(
            {name: n * (1 if self.split else c.replicas) for name, n in c.resources.items()}
            for c in self.components
        )

    def whole(self) -> Demand:
        """The same with one requirement: the intersection of the components' and its own."""
        own = [c.requirement for c in self.components if c.requirement is not None]
        if not own:
            return self
        return replace(
            self,
            requirement=narrow([self.requirement, *own]),
            components=tuple(replace(c, requirement=None) for c in self.components),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """Where the Cell is, and the rules of spread that held when that was decided."""

    data_planes: tuple[str, ...] = ()
    spreads: tuple[Spread, ...] = ()
    leaving: Mapping[str, str] = field(default_factory=dict)
    """Those of them that it has to leave, and why: ``LOST``, ``DRAINED``, ``PREEMPTED``, ..."""
    shares: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()
    """If split: by component, how many replicas each data plane has."""


def outside_of(plane: Plane, now: float) -> int:
    """The sum of a plane's scores from outside that are true now."""
    return sum(s.value for s in plane.scores if s.valid_until is None or s.valid_until >= now)


def total(amounts: Iterable[Amounts]) -> dict[str, int]:
    """The sum by resource."""
    result: dict[str, int] = {}
    for one in amounts:
        for name, amount in one.items():
            result[name] = result.get(name, 0) + amount
    return result


def bind(
    demand: Demand,
    cells: Mapping[str, tuple[str, ...]],
    plane_of: Callable[[str], Plane | None],
    now: float,
) -> Demand:
    """The demand with where the Cells of its affinities are; those that are nowhere keep none away.

    Args:
        demand: What one Cell asks for.
        cells: Where other Cells are.
        plane_of: A data plane by its id.
        now: When it is decided.
    """
    if not demand.requirement.affinities:
        return demand if demand.now == now else replace(demand, now=now)
    near: list[Near] = []
    for affinity in demand.requirement.affinities:
        other = neighbour(demand.cell, affinity.cell)
        places = cells.get(other, ()) if other != demand.cell else ()
        groups = {
            plane.labels.get(affinity.topology_key, "") if affinity.topology_key else name
            for name in places
            if (plane := plane_of(name)) is not None
        }
        if groups or not affinity.apart:
            near.append(
                Near(
                    cell=other,
                    topology_key=affinity.topology_key,
                    apart=affinity.apart,
                    weight=affinity.weight,
                    groups=frozenset(groups - {""}),
                )
            )
    return replace(demand, near=tuple(near), now=now)


def neighbour(cell: str, word: str) -> str:
    """The name of the Cell that *cell* calls ``project`` or ``project/environment``."""
    project, _, environment = word.partition("/")
    parts = cell.split("/")
    parts[-1] = environment or parts[-1]
    parts[-3 if len(parts) > 3 else 0] = project
    return "/".join(parts)
