"""Placement comes back from a backup, and agents that have seen more take what it wants."""

from __future__ import annotations

import asyncio

import pytest

from cellplane.backup.archive import create, restore
from cellplane.backup.plan import GAP, SERVICES, Place
from tests.service.placement.world import World, cell_name, settled

CELL = cell_name()


@pytest.mark.asyncio
async def test_agents_go_on_with_what_was_restored(world: World) -> None:
    """Revisions and the epoch are above all that the agent has seen: it refuses nothing."""
    one = next(service for service in SERVICES if service.name == "placement")
    places = [Place(service=one, state=world.folder / "state")]
    file = world.folder / "placement.backup"
    late = cell_name("bank")
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        await asyncio.to_thread(create, file, places)
        for number in range(2, 6):
            await settled(world, CELL, await world.model.put(CELL, {"a": str(number)}))
        await settled(world, late, await world.model.put(late, {"b": "1"}))
        epoch, seen = agent.epoch, max(want.revision for want in agent.wants)
        await world.stop()
        await asyncio.to_thread(restore, file, places, force=True)
        await world.start()
        await agent.connect()
        await settled(world, CELL, await world.model.put(CELL, {"a": "6"}))
        await settled(world, late, await world.model.put(late, {"b": "2"}))
        assert agent.epoch > max(epoch, GAP)
        wants = [want for want in agent.wants if want.cell == CELL]
        assert wants[-1].revision > max(seen, GAP)
        assert agent.removed == []
