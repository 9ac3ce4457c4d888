"""What a decision is made from: the data planes, and what one Cell asks of them.

Field names are those of ``placement/v1``; what is asked has its words in ``cell.requirement``. The
order of planes, labels and rules in here never matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from cellplane.cell.requirement import PlacementRequirement, Spread, Taint
from cellplane.cell.visibility import Encryption


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
