"""Placement stops and starts, streams break, and nothing is lost, repeated or moved."""

from __future__ import annotations

import pytest

from cellplane.api.agent.v1 import link_pb2
from cellplane.api.placement.v1 import data_plane_pb2
from tests.service.placement.world import ORGANIZATION, World, cell_name, settled

CELL = cell_name()
WAYS = link_pb2.Welcome.Resume


async def state_of(world: World, name: str = "europe-1") -> data_plane_pb2.DataPlane:
    """A data plane as it is now."""
    return await world.client.planes.GetDataPlane(
        data_plane_pb2.GetDataPlaneRequest(name=f"{ORGANIZATION}/dataPlanes/{name}")
    )


@pytest.mark.asyncio
async def test_reconnecting_with_the_same_costs_next_to_nothing(world: World) -> None:
    """Nothing changed: SAME, no Want, no comparison, and under 300 bytes of messages."""
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        wants = len(agent.wants)
        await agent.connect()
        assert agent.welcomes[-1].resume == WAYS.SAME
        await agent.say(beat=link_pb2.Beat())
        assert agent.sent + agent.received < 300
        assert (len(agent.wants), agent.compares) == (wants, 0)


@pytest.mark.asyncio
async def test_what_was_wanted_meanwhile_arrives_on_reconnect(world: World) -> None:
    """Edits and removals while no stream was there follow Welcome, without a comparison."""
    async with await world.agent() as agent:
        other = cell_name("bank")
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        await settled(world, other, await world.model.put(other, {"b": "1"}))
        await agent.disconnect()
        await world.model.put(CELL, {"a": "2"})
        await world.model.delete(other)
        await world.model.until_condition(CELL, "Compiled", "TRUE", revision=2)
        await agent.connect()
        await settled(world, CELL, 2)
        await agent.until(lambda: agent.removed == [other])
        assert agent.welcomes[-1].resume == WAYS.TAIL
        assert agent.compares == 0
        assert agent.wants[-1].base_revision or agent.wants[-2].base_revision


@pytest.mark.asyncio
async def test_a_restart_moves_and_sends_nothing(world: World) -> None:
    """After a restart the epoch is higher, decisions are the same, and no Want is sent."""
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1", "b": "1"}))
        wants, epoch = len(agent.wants), agent.epoch
        await world.stop()
        assert agent.drained
        await world.start()
        await agent.connect()
        assert agent.welcomes[-1].epoch > epoch
        assert agent.welcomes[-1].resume == WAYS.SAME
        await settled(world, CELL, await world.model.put(CELL, {"a": "2", "b": "1"}))
        assert len(agent.wants) == wants + 1
        assert [o.object.object for o in agent.wants[-1].objects] == ["a"]


@pytest.mark.asyncio
async def test_a_restart_in_the_middle_loses_nothing(world: World) -> None:
    """An edit that was stored and not delivered arrives after it, with a higher revision."""
    async with await world.agent(settle=False) as agent:
        await world.model.put(CELL, {"a": "1"})
        await world.model.until_condition(CELL, "Accepted", "TRUE")
        first = agent.stored[CELL].revision
        await agent.disconnect()
        await world.model.put(CELL, {"a": "2"})
        await world.model.until_condition(CELL, "Compiled", "TRUE", revision=2)
        await world.stop()
        await world.start()
        agent.settle = True
        await agent.connect()
        await settled(world, CELL, 2)
        assert agent.stored[CELL].revision > first


@pytest.mark.asyncio
async def test_a_cell_that_went_while_placement_was_down_is_removed(world: World) -> None:
    """Only the complete first picture of model says so, and then by explicit removal."""
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        await world.stop()
        await world.model.delete(CELL)
        await world.start()
        await agent.connect()
        await agent.until(lambda: agent.removed == [CELL])


@pytest.mark.asyncio
async def test_an_agent_that_lost_its_store_gets_everything_again(world: World) -> None:
    """An empty inventory is answered by whole Cells, from no base."""
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        await agent.disconnect()
        agent.stored.clear()
        agent.blobs.clear()
        await agent.connect()
        await agent.until(lambda: CELL in agent.stored)
        assert agent.wants[-1].base_revision == 0


@pytest.mark.asyncio
async def test_silence_makes_a_plane_suspect_and_lost_and_a_word_ready(world: World) -> None:
    """Three missed beats, then the grace; its Cells are unknown meanwhile, and nothing moves."""
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        await agent.disconnect()
        await world.stop()
        world.settings_changes = {"suspect_after": 0.3, "lost_after": 0.3}
        await world.start()
        await world.model.until_condition(CELL, "Ready", "UNKNOWN", reason="DataPlaneLost")
        lost = await state_of(world)
        assert lost.state == data_plane_pb2.DataPlane.LOST
        await world.stop()
        world.settings_changes = {}
        await world.start()
        await agent.connect()
        await settled(world, CELL, 1)
        ready = await state_of(world)
        assert ready.state == data_plane_pb2.DataPlane.READY
        assert ready.cell_count == 1
        assert {c.type for c in ready.conditions} == {"Joined", "Connected", "PlatformReady"}


@pytest.mark.asyncio
async def test_a_peer_that_is_away_delays_and_loses_nothing(world: World) -> None:
    """Reports are repeated until they are accepted."""
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        world.health.away = True
        await settled(world, CELL, await world.model.put(CELL, {"a": "2"}))
        seen = len(world.health.reports)
        world.health.away = False
        await world.health.until(lambda: len(world.health.reports) > seen)
        assert world.health.reports[-1].health.revision == 2
        assert not agent.error
