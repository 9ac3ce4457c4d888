"""Telemetry settings over the wire."""

from __future__ import annotations

import grpc.aio
import pytest

from cellplane.api.type.v1 import compile_pb2, resolved_cell_pb2, workload_pb2
from cellplane.rpc.client import explain
from tests.service.observability.world import CELL, World


@pytest.mark.asyncio
async def test_settings_are_compiled(world: World) -> None:
    """A component is answered with the ConfigMap that its workload reads."""
    answer = await world.telemetry.Compile(
        compile_pb2.CompileRequest(
            cell=resolved_cell_pb2.ResolvedCell(
                cell=CELL,
                frame=resolved_cell_pb2.CellFrame(project="shop", namespace="cell-shop-dev-x"),
                components=[
                    resolved_cell_pb2.ResolvedComponent(
                        component="api",
                        kind=workload_pb2.COMPONENT_KIND_SERVICE,
                        workload=workload_pb2.Workload(image="app:1"),
                    )
                ],
            ),
            data_plane=compile_pb2.DataPlaneProfile(data_plane="plane-a"),
        )
    )

    assert [(m.part, m.kind, m.object) for m in answer.manifests] == [
        ("api", "ConfigMap", "api-telemetry")
    ]
    assert list(answer.problems) == []


@pytest.mark.asyncio
async def test_a_request_without_a_frame_is_refused(world: World) -> None:
    """What a compiler can't read is refused with the field's path."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.telemetry.Compile(
            compile_pb2.CompileRequest(
                cell=resolved_cell_pb2.ResolvedCell(cell=CELL),
                data_plane=compile_pb2.DataPlaneProfile(data_plane="plane-a"),
            )
        )

    failure = explain(caught.value)
    assert failure.code == "INVALID_ARGUMENT"
    assert [v.field for v in failure.violations] == ["cell.frame"]
