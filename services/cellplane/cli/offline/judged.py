"""Questions about who reaches whom, answered from documents, as the service answers them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cellplane.cell.cell import ResolvedCell
from cellplane.cell.plane import DataPlaneProfile
from cellplane.cli.offline.compilers import compile_cell
from cellplane.network_policy.compiler.reach import Site
from cellplane.network_policy.compiler.survey import Opening, survey


def site(cells: Sequence[ResolvedCell], plane: DataPlaneProfile) -> Site:
    """All Cells on one data plane, with their policies."""
    objects = [
        json.loads(m.content)
        for cell in cells
        for m in compile_cell(cell, plane, cells).manifests
        if m.kind.endswith("NetworkPolicy")
    ]
    return Site(
        data_plane=plane.data_plane,
        cells={cell.frame.project: cell for cell in cells},
        objects=tuple(objects),
    )


def openings(cells: Sequence[ResolvedCell], plane: DataPlaneProfile) -> set[Opening]:
    """Everything that is open in these Cells."""
    known = site(cells, plane)
    return {
        opening
        for cell in cells
        for opening in survey(plane.data_plane, cell, known.objects).openings
    }
