"""The same placement on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from cellplane.testing.postgres import PostgresServer, postgresql
from tests.service.placement.world import World, cell_name, settled

CELL = cell_name()


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the tests of this module."""
    with postgresql(Path(__file__).parents[2] / "postgresql.lock") as server:
        yield server


@pytest_asyncio.fixture
async def world(tmp_path: Path, postgres_server: PostgresServer) -> AsyncIterator[World]:
    """Placement on a database of its own."""
    made = World(tmp_path)
    made.settings_changes = {"database_url": postgres_server.new_database()}
    async with made.open() as opened:
        yield opened


@pytest.mark.asyncio
async def test_cells_come_change_outlive_a_restart_and_go(world: World) -> None:
    """The whole life of Cells on two data planes, with a restart in the middle."""
    other = cell_name("bank")
    async with await world.agent("europe-1") as one, await world.agent("europe-2") as two:
        await world.model.put(CELL, {"a": "1", "b": "1"}, copies=2)
        await world.model.put(other, {"c": "1"}, copies=2)
        await settled(world, CELL, 1)
        await settled(world, other, 1)
        await settled(world, CELL, await world.model.put(CELL, {"a": "2"}, copies=2))
        wants = len(one.wants) + len(two.wants)
        await world.stop()
        await world.start()
        await one.connect()
        await two.connect()
        await settled(world, CELL, await world.model.put(CELL, {"a": "3"}, copies=2))
        assert len(one.wants) + len(two.wants) == wants + 2
        await world.model.delete(other)
        await one.until(lambda: one.removed == [other])
        await two.until(lambda: two.removed == [other])
        await settled(world, other, await world.model.put(other, {"c": "1"}))
        floor = max(want.revision for want in one.wants if want.removed)
        wanted = [w for agent in (one, two) for w in agent.wants if w.cell == other]
        assert max(w.revision for w in wanted if not w.removed) > floor
