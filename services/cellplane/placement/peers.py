"""Where the targets of a Cell's connections are, nearest first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cellplane.cell.names import CellName
from cellplane.cell.plane import DataPlaneProfile, PeerCell, PeerGateway, Peers

REGION = "topology.kubernetes.io/region"


def target_cells(cell: CellName, projects: Iterable[str]) -> tuple[str, ...]:
    """Names of the Cells that a Cell's connections lead to, sorted."""
    return tuple(
        str(CellName(organization=cell.organization, project=p, environment=cell.environment))
        for p in sorted(set(projects))
    )


def peers_of(
    cell: CellName,
    projects: Iterable[str],
    reader: DataPlaneProfile,
    planes_of: Callable[[str], Iterable[DataPlaneProfile]],
) -> Peers:
    """The westbound gateways that lead to each target, as seen from one data plane.

    The own data plane is nearest, then those of its region, then the rest by id. A data plane
    without a westbound address leads nowhere, and is left out.
    """
    found: list[PeerCell] = []
    for project in sorted(set(projects)):
        (target,) = target_cells(cell, [project])
        reachable = [p for p in planes_of(target) if p.westbound_host]
        reachable.sort(key=lambda p: (_distance(reader, p), p.data_plane))
        gateways = tuple(
            PeerGateway(data_plane=p.data_plane, host=p.westbound_host, port=p.westbound_port)
            for p in reachable
        )
        found.append(PeerCell(project=project, gateways=gateways))
    return Peers(cells=tuple(found))


def _distance(reader: DataPlaneProfile, plane: DataPlaneProfile) -> int:
    if plane.data_plane == reader.data_plane:
        return 0
    region = reader.labels.get(REGION)
    return 1 if region and plane.labels.get(REGION) == region else 2
