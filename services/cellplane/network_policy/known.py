"""What the other services know of a Cell, gathered: where it is, who is around it, its policies.

The policies are compiled here as they are for its data planes: the same inputs give the same bytes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc.aio

from cellplane.api.model.v1 import cell_pb2
from cellplane.api.placement.v1 import data_plane_pb2, decision_pb2
from cellplane.api.type.v1 import compile_pb2, resolved_cell_pb2
from cellplane.cell.addresses import WESTBOUND_PORT
from cellplane.cell.cell import CellFrame, OrganizationTarget, ResolvedCell, ResolvedComponent
from cellplane.cell.names import CellName
from cellplane.cell.plane import DataPlaneProfile, PeerCell, PeerGateway, Peers
from cellplane.cell.problem import FailedPrecondition, Invalid, NotFound
from cellplane.network_policy.compiler.compile import compile as compile_policies
from cellplane.network_policy.compiler.reach import Elsewhere, Site
from cellplane.rpc.codec import Codec
from cellplane.rpc.status import explain


@dataclass(frozen=True, slots=True, kw_only=True)
class Stubs:
    """The services that are asked."""

    cells: Any
    decisions: Any
    data_planes: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A Cell and its data planes."""

    cell: ResolvedCell
    planes: tuple[DataPlaneProfile, ...]


class Known:
    """Asks model and placement."""

    def __init__(self, stubs: Stubs | None) -> None:
        """Without *stubs*, every question is refused: nobody is there to ask."""
        self._stubs = stubs
        self._frame = Codec(CellFrame, resolved_cell_pb2.CellFrame)
        self._component = Codec(ResolvedComponent, resolved_cell_pb2.ResolvedComponent)
        self._profile = Codec(DataPlaneProfile, compile_pb2.DataPlaneProfile)

    async def sites(self, cell: str, projects: Iterable[str] = ()) -> list[Site]:
        """The data planes of a Cell by id, with all policies there.

        Args:
            cell: Name of the Cell.
            projects: Whose Cells of the same environment are to be known as well.
        """
        name = _parse(cell)
        own = await self._find(name)
        targets = {
            target.project
            for outbound in own.cell.frame.outbound
            if isinstance(target := outbound.connection.target, OrganizationTarget)
        }
        known = {name.project: own, **await self._others(name, {*targets, *projects})}
        return [
            _site(plane, own, known) for plane in sorted(own.planes, key=lambda p: p.data_plane)
        ]

    async def cells(self, cell: str, projects: Iterable[str]) -> list[ResolvedCell]:
        """A Cell, and those of *projects* in the same environment, as far as there are any."""
        name = _parse(cell)
        own = await self._find(name)
        others = await self._others(name, projects)
        return [own.cell, *(found.cell for found in others.values())]

    async def _others(self, beside: CellName, projects: Iterable[str]) -> dict[str, _Found]:
        wanted = sorted(set(projects) - {beside.project})
        found = await asyncio.gather(*(self._find_if_any(beside, p) for p in wanted))
        return {p: f for p, f in zip(wanted, found, strict=True) if f is not None}

    async def _find_if_any(self, beside: CellName, project: str) -> _Found | None:
        """The Cell of another project in the same environment."""
        name = CellName(
            organization=beside.organization, project=project, environment=beside.environment
        )
        try:
            return await self._find(name)
        except NotFound:
            return None

    async def _find(self, name: CellName) -> _Found:
        try:
            return await self._ask(name)
        except grpc.aio.AioRpcError as error:
            # What another service says of the Cell is the answer to who asked this one.
            raise explain(error).to_error() from error

    async def _ask(self, name: CellName) -> _Found:
        stubs = self._stubs
        if stubs is None:
            raise FailedPrecondition(
                "this service does not know the others: start it with --model-address and "
                "--placement-address",
                reason="PEERS_UNKNOWN",
            )
        answer = await stubs.cells.GetResolvedCell(cell_pb2.GetResolvedCellRequest(name=str(name)))
        decision = await stubs.decisions.GetDecision(
            decision_pb2.GetDecisionRequest(name=f"{name}/decision")
        )
        planes = await asyncio.gather(
            *(
                stubs.data_planes.GetDataPlane(
                    data_plane_pb2.GetDataPlaneRequest(
                        name=f"organizations/{name.organization}/dataPlanes/{data_plane}"
                    )
                )
                for data_plane in decision.data_planes
            )
        )
        cell = ResolvedCell(
            cell=answer.cell,
            revision=answer.revision,
            frame=self._frame.to_domain(answer.frame),
            components=tuple(self._component.to_domain(c) for c in answer.components),
        )
        profiles = tuple(self._profile.to_domain(p.profile) for p in planes)
        return _Found(cell=cell, planes=profiles)


def _parse(cell: str) -> CellName:
    name = CellName.parse(cell)
    if name is None:
        raise Invalid(
            f'"{cell}" is not the name of a Cell: give organizations/*/projects/*/cells/*'
        )
    return name


def _site(plane: DataPlaneProfile, own: _Found, known: Mapping[str, _Found]) -> Site:
    here = {
        project: found.cell
        for project, found in known.items()
        if found is own or plane.data_plane in {p.data_plane for p in found.planes}
    }
    objects = [o for cell in here.values() for o in _policies(cell, plane, known)]
    elsewhere: dict[str, Elsewhere] = {}
    for project, found in known.items():
        away = next((p for p in found.planes if p.westbound_host), None)
        if project not in here and away is not None:
            elsewhere[project] = Elsewhere(
                cell=found.cell,
                objects=tuple(_policies(found.cell, away, known)),
                host=away.westbound_host,
                port=away.westbound_port or WESTBOUND_PORT,
            )
    return Site(
        data_plane=plane.data_plane, cells=here, objects=tuple(objects), elsewhere=elsewhere
    )


def _policies(
    cell: ResolvedCell, plane: DataPlaneProfile, known: Mapping[str, _Found]
) -> Iterable[dict[str, Any]]:
    peers = Peers(
        cells=tuple(
            PeerCell(
                project=project,
                gateways=tuple(
                    PeerGateway(
                        data_plane=p.data_plane,
                        host=p.westbound_host,
                        port=p.westbound_port or WESTBOUND_PORT,
                    )
                    for p in sorted(
                        found.planes, key=lambda p: (p.data_plane != plane.data_plane, p.data_plane)
                    )
                    if p.westbound_host
                ),
            )
            for project, found in sorted(known.items())
            if project != cell.frame.project
        )
    )
    compiled = compile_policies(cell, plane, peers, include_frame=True)
    return (json.loads(m.content) for m in compiled.manifests)
