"""Removing much of a data plane waits until somebody says that it is meant."""

from __future__ import annotations

import grpc
import pytest

from cellplane.api.placement.v1 import data_plane_pb2
from cellplane.testing.agents import Agent
from tests.service.placement.world import ORGANIZATION, World, cell_name, settled

PLANE = f"{ORGANIZATION}/dataPlanes/europe-1"
CELL, SMALL = cell_name(), cell_name("bank")
MANY = {f"c{number}": "1" for number in range(8)}
"""Their objects are more than twenty, and more than a quarter of all."""


async def plane_of(world: World) -> data_plane_pb2.DataPlane:
    """The data plane as it is now."""
    return await world.client.planes.GetDataPlane(data_plane_pb2.GetDataPlaneRequest(name=PLANE))


async def removed_all(world: World, agent: Agent) -> data_plane_pb2.HeldRemovals:
    """Delete a large Cell, and answer what waits because of it."""
    await settled(world, CELL, await world.model.put(CELL, MANY))
    await settled(world, SMALL, await world.model.put(SMALL, {"a": "1"}))
    await world.model.delete(CELL)
    await settled(world, SMALL, await world.model.put(SMALL, {"a": "2"}))
    assert CELL in agent.stored
    return (await plane_of(world)).held_removals


@pytest.mark.asyncio
async def test_invariant_5_a_mass_removal_waits_for_its_confirmation(world: World) -> None:
    """Held and said, over a reconnect and a restart; other Cells go on; confirmed, it goes."""
    async with await world.agent() as agent:
        held = await removed_all(world, agent)
        assert list(held.cells) == [CELL]
        assert held.object_count > 20
        await agent.connect()
        await world.stop()
        await world.start()
        await agent.connect()
        await settled(world, SMALL, await world.model.put(SMALL, {"a": "3"}))
        assert CELL in agent.stored
        plane = await plane_of(world)
        assert plane.held_removals == held
        (waits,) = (c for c in plane.conditions if c.type == "RemovalsConfirmed")
        assert "confirm-removal europe-1" in waits.message
        await world.client.planes.ConfirmRemovals(
            data_plane_pb2.ConfirmRemovalsRequest(name=PLANE, digest=held.digest)
        )
        await agent.until(lambda: agent.removed == [CELL])
        assert not (await plane_of(world)).HasField("held_removals")


@pytest.mark.asyncio
async def test_invariant_5_a_confirmation_covers_only_what_it_names(world: World) -> None:
    """Another digest than that of what waits now is refused, and nothing goes."""
    async with await world.agent() as agent:
        await removed_all(world, agent)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await world.client.planes.ConfirmRemovals(
                data_plane_pb2.ConfirmRemovalsRequest(name=PLANE, digest="another")
            )
        assert caught.value.code() is grpc.StatusCode.ABORTED
        await settled(world, SMALL, await world.model.put(SMALL, {"a": "4"}))
        assert CELL in agent.stored
