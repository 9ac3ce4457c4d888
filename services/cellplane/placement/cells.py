"""What the engine knows of one Cell."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from cellplane.cell.names import CellName
from cellplane.cell.requirement import PlacementRequirement
from cellplane.placement.clients import Resolved
from cellplane.placement.compilation import Compilation
from cellplane.placement.records import Decided
from cellplane.placement.scheduler.snapshot import ComponentDemand, Demand


@dataclass(slots=True, kw_only=True)
class CellEntry:
    """One Cell, as far as the engine knows."""

    name: CellName
    wanted: bool | None = None
    """Whether model wants it; ``None`` until it said so, since this process started."""
    revision: int = 0
    requirement: PlacementRequirement = field(default_factory=PlacementRequirement)
    target_projects: tuple[str, ...] = ()
    resolved: Resolved | None = None
    decided: Decided | None = None
    compilations: dict[str, Compilation] = field(default_factory=dict)
    """By data plane."""
    delay: str = ""
    """Why it is not brought about yet, as some service does not answer."""


def demand_of(entry: CellEntry, resolved: Resolved) -> Demand:
    """What a Cell asks of its data planes, as it is written and as follows from what it is."""
    parts = resolved.parts
    return Demand(
        cell=str(entry.name),
        organization=entry.name.organization,
        # How a change comes to data planes does not matter to which ones they are.
        requirement=replace(entry.requirement, rollout=None),
        encryption=resolved.frame.encryption,
        exposed=any(p.exposed for p in parts),
        identified=any(p.identified for p in parts),
        stateful=any(p.stateful for p in parts),
        components=tuple(
            ComponentDemand(
                component=name,
                replicas=part.replicas,
                resources=dict(part.resources),
                once=part.once,
            )
            for name, part in sorted(resolved.components.items())
        ),
    )
