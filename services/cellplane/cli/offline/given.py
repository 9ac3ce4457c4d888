"""What an offline command is given: documents, a data plane and an environment, resolved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cellplane.cell.cell import ResolvedCell
from cellplane.cell.plane import DataPlaneProfile
from cellplane.cli.documents.load import load, refuse
from cellplane.cli.exits import usage
from cellplane.cli.offline import cells, planes


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The Cells of one environment, and the data plane that they are for."""

    world: cells.World
    plane: DataPlaneProfile
    cells: Sequence[ResolvedCell]


def read(
    filenames: Sequence[str] | None,
    data_plane: Path,
    environment: str | None,
    organization: str | None,
) -> Given:
    """Read and resolve; ends the command with all findings."""
    plane = planes.load(data_plane)
    world = cells.World(load(filenames or [], organization or plane.organization))
    found = list(cells.check(world))
    if found:
        raise refuse(found)
    known = cells.environments(world)
    chosen = environment.rsplit("/", 1)[-1] if environment else next(iter(known), "")
    if not chosen:
        raise usage("which environment? give --environment, or documents with a pipeline")
    if known and chosen not in known:
        raise usage(f'there is no environment "{chosen}": choose of {", ".join(known)}')
    resolved = list(cells.cells(world, chosen))
    found = [finding for _, findings in resolved for finding in findings]
    if found:
        raise refuse(found)
    return Given(world=world, plane=plane, cells=[cell for cell, _ in resolved])
