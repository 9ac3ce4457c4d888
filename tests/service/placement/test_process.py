"""Placement as a process of its own, killed at bad moments."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.service.placement.world import World, cell_name, settled

CELL = cell_name()


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Placement as it is run, with stand-ins around it."""
    made = World(tmp_path)
    made.as_process = True
    async with made.open() as opened:
        yield opened


@pytest.mark.asyncio
async def test_a_killed_placement_loses_nothing_and_answers_an_edit_soon(world: World) -> None:
    """Killed with edits on their way, it goes on where it was: same planes, higher revisions."""
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1", "b": "1"}))
        stored = agent.stored[CELL].revision
        for image in "234":
            await world.model.put(CELL, {"a": image, "b": "1"})
        await world.kill()
        await world.model.put(CELL, {"a": "5", "b": "1"})
        await world.start()
        began = time.monotonic()
        await agent.connect()
        await settled(world, CELL, 5)
        assert time.monotonic() - began < 5
        assert agent.stored[CELL].revision > stored
        assert agent.epoch == 2
        revisions = [want.revision for want in agent.wants]
        assert revisions == sorted(revisions)
        await settled(world, CELL, await world.model.put(CELL, {"a": "6", "b": "1"}))


@pytest.mark.asyncio
async def test_a_removal_that_was_asked_for_before_the_crash_is_done_after_it(
    world: World,
) -> None:
    """The names of what has to go are durable."""
    async with await world.agent(settle=False) as agent:
        await world.model.put(CELL, {"a": "1", "b": "1"})
        await world.model.until_condition(CELL, "Accepted", "TRUE")
        await agent.applied(CELL)
        await agent.report(CELL)
        await settled(world, CELL, 1)
        await agent.disconnect()
        await world.model.put(CELL, {"a": "1"})
        await world.model.until_condition(CELL, "Compiled", "TRUE", revision=2)
        await world.kill()
        await world.start()
        await agent.connect()
        await agent.until(lambda: bool(agent.wants[-1].removals))
        assert {r.object for r in agent.wants[-1].removals} == {"b", "b-telemetry"}


@pytest.mark.asyncio
async def test_an_idle_agent_costs_no_write(world: World) -> None:
    """Reconnecting with the same, and a beat, leave the database as it was."""
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        log = world.folder / "state" / "placement.db-wal"
        quiet = False
        async with asyncio.timeout(20):
            # What was observed last is written some moments later.
            while not quiet:
                before = log.stat()
                for _ in range(10):
                    await agent.connect()
                after = log.stat()
                quiet = (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
