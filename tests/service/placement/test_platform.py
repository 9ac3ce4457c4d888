"""What data planes get beside Cells."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from cellplane.api.placement.v1 import data_plane_pb2
from cellplane.api.type.v1 import condition_pb2
from cellplane.testing.joining import DEADLINE
from tests.service.placement.world import ORGANIZATION, World, cell_name, settled

PLANE = f"{ORGANIZATION}/dataPlanes/europe-1"
GATEWAYS = f"{PLANE}/platforms/gateways"
CELL = cell_name()


async def until_ready(world: World, *, status: str = "TRUE") -> condition_pb2.Condition:
    """The data plane's condition, once it has that status."""
    wanted = condition_pb2.Condition.Status.Value(status)
    async with asyncio.timeout(DEADLINE):
        while True:
            found = await world.client.planes.GetDataPlane(
                data_plane_pb2.GetDataPlaneRequest(name=PLANE)
            )
            for condition in found.conditions:
                if condition.type == "PlatformReady" and condition.status == wanted:
                    return condition


@pytest.mark.asyncio
async def test_a_data_plane_gets_it_without_any_cell(world: World) -> None:
    """It is delivered as Cells are, is no Cell, and the data plane says how far it is."""
    async with await world.agent(settle=False) as agent:
        await agent.until(lambda: GATEWAYS in agent.stored)
        (want,) = agent.wants
        assert (want.namespace, [o.object.kind for o in want.objects]) == (
            "cellplane-gateways",
            ["Namespace"],
        )
        assert (await until_ready(world, status="FALSE")).reason == "Applying"
        await agent.applied(GATEWAYS)
        assert (await until_ready(world)).message == ""
        found = await world.client.planes.GetDataPlane(
            data_plane_pb2.GetDataPlaneRequest(name=PLANE)
        )
        assert found.cell_count == 0
        await world.client.planes.DeleteDataPlane(data_plane_pb2.DeleteDataPlaneRequest(name=PLANE))


@pytest.mark.asyncio
async def test_only_what_it_depends_on_compiles_it_again(world: World) -> None:
    """An edit of a Cell asks nobody; another range of the internal network is sent at once."""
    compiler = world.compilers["network_policy"]
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        await until_ready(world)
        asked = len(compiler.platforms)
        await settled(world, CELL, await world.model.put(CELL, {"a": "2"}))
        assert len(compiler.platforms) == asked
        before = agent.stored[GATEWAYS].revision
        await world.client.planes.UpdateDataPlane(
            data_plane_pb2.UpdateDataPlaneRequest(
                data_plane=data_plane_pb2.DataPlane(name=PLANE, internal_networks=["10.9.0.0/16"]),
                update_mask=FieldMask(paths=["internal_networks"]),
            )
        )
        await agent.until(lambda: agent.stored[GATEWAYS].revision > before)
        assert list(compiler.platforms[-1].data_plane.internal_networks) == ["10.9.0.0/16"]


@pytest.mark.asyncio
async def test_a_restart_sends_nothing_again(world: World) -> None:
    """What the agent has is compiled the same after a restart, and not sent."""
    async with await world.agent() as agent:
        await until_ready(world)
        wants = len(agent.wants)
        await world.stop()
        await world.start()
        await agent.connect()
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        assert [w.cell for w in agent.wants[wants:]] == [CELL]
