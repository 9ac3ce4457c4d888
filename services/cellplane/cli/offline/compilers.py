"""Resolved Cells to manifests, by the compilers that the services run."""

from __future__ import annotations

from collections.abc import Sequence

from cellplane.cell.cell import OrganizationTarget, ResolvedCell
from cellplane.cell.manifest import Compiled, in_order
from cellplane.cell.plane import DataPlaneProfile, PeerCell, PeerGateway, Peers
from cellplane.gateway.compiler.compile import compile as compile_gateways
from cellplane.model.workload.compile import compile as compile_workloads
from cellplane.network_policy.compiler.compile import compile as compile_policies
from cellplane.observability.compiler.compile import compile as compile_telemetry

COMPILERS = (compile_workloads, compile_policies, compile_gateways, compile_telemetry)


def compile_cell(
    cell: ResolvedCell, plane: DataPlaneProfile, others: Sequence[ResolvedCell]
) -> Compiled:
    """Compile a whole Cell; every Cell that it connects to counts as on the same data plane."""
    present = {other.frame.project for other in others}
    targets = sorted(
        {
            outbound.connection.target.project
            for outbound in cell.frame.outbound
            if isinstance(outbound.connection.target, OrganizationTarget)
        }
        & present
    )
    gateway = PeerGateway(
        data_plane=plane.data_plane,
        host=plane.westbound_host or f"westbound.{plane.data_plane}.cellplane.internal",
        port=plane.westbound_port or 443,
    )
    peers = Peers(cells=tuple(PeerCell(project=p, gateways=(gateway,)) for p in targets))
    answers = [compiler(cell, plane, peers, include_frame=True) for compiler in COMPILERS]
    return Compiled(
        manifests=in_order(m for answer in answers for m in answer.manifests),
        problems=tuple(p for answer in answers for p in answer.problems),
    )
