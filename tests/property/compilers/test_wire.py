"""The compilers' adapter: the wire changes nothing, and what it cannot say is refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.api.type.v1 import compile_pb2, resolved_cell_pb2
from cellplane.cell.cell import ResolvedCell
from cellplane.cell.manifest import Manifest
from cellplane.cell.plane import DataPlaneProfile, Peers
from cellplane.cell.problem import Invalid, Problem
from cellplane.gateway.compiler.compile import compile as compile_gateways
from cellplane.gateway.convert import compile_adapter as gateways_adapter
from cellplane.model.workload.compile import compile as compile_workload
from cellplane.network_policy.compiler.compile import compile as compile_policies
from cellplane.network_policy.convert import compile_adapter as policies_adapter
from cellplane.observability.compiler.compile import compile as compile_telemetry
from cellplane.observability.convert import compile_adapter as telemetry_adapter
from cellplane.rpc.codec import Codec
from cellplane.rpc.compile import Compile, CompileAdapter
from tests.property.compilers.strategies import cells, peers, planes

CELL = Codec(
    ResolvedCell,
    resolved_cell_pb2.ResolvedCell,
    ignore=frozenset({"removed_components", "base_revision"}),
)
PLANE = Codec(DataPlaneProfile, compile_pb2.DataPlaneProfile)
PEERS = Codec(Peers, compile_pb2.Peers)
MANIFEST = Codec(Manifest, compile_pb2.Manifest)


@settings(max_examples=40, deadline=None)
@given(
    cells(),
    planes(),
    peers,
    st.booleans(),
    st.sampled_from(
        [
            (compile_workload, CompileAdapter(compile_workload)),
            (compile_policies, policies_adapter()),
            (compile_gateways, gateways_adapter()),
            (compile_telemetry, telemetry_adapter()),
        ]
    ),
)
def test_the_wire_changes_nothing(
    cell: ResolvedCell,
    plane: DataPlaneProfile,
    reached: Peers,
    frame: bool,
    served: tuple[Compile, CompileAdapter],
) -> None:
    """Asked over the wire, a service answers as its compiler does: nothing that it reads is cut."""
    function, adapter = served
    request = compile_pb2.CompileRequest(
        cell=CELL.to_wire(cell),
        data_plane=PLANE.to_wire(plane),
        peers=PEERS.to_wire(reached),
        include_frame=frame,
    )
    again = compile_pb2.CompileRequest.FromString(request.SerializeToString())
    direct = function(cell, plane, reached, include_frame=frame)

    answer = adapter.answer(again)

    assert tuple(MANIFEST.to_domain(m) for m in answer.manifests) == direct.manifests
    assert [(p.reason, p.message, p.field) for p in answer.problems] == [
        (p.reason, p.message, p.field) for p in direct.problems
    ]


def test_what_is_not_whole_is_refused_with_every_finding() -> None:
    """A request without a frame, plane, kind, workload, protocol or target names each of them."""
    request = compile_pb2.CompileRequest(
        cell=resolved_cell_pb2.ResolvedCell(
            components=[
                resolved_cell_pb2.ResolvedComponent(
                    component="api",
                    endpoints=[resolved_cell_pb2.ResolvedEndpoint(endpoint="http")],
                    connections=[resolved_cell_pb2.ResolvedConnection(connection="pay")],
                )
            ]
        )
    )

    with pytest.raises(Invalid) as caught:
        CompileAdapter(compile_policies).answer(request)

    found: list[Problem] = list(caught.value.problems)
    assert [p.field for p in found] == [
        "data_plane",
        "cell.cell",
        "cell.frame",
        "cell.components[0].workload",
        "cell.components[0].kind",
        "cell.components[0].endpoints[0].protocol",
        "cell.components[0].connections[0]",
        "cell.components[0].connections[0].protocol",
    ]
