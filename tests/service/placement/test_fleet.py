"""Many simulated agents on one placement."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from cellplane.api.placement.v1 import data_plane_pb2
from cellplane.testing.fleet import Fleet
from tests.service.placement.world import ORGANIZATION, World

COUNT = 12


@pytest.mark.asyncio
async def test_a_fleet_joins_stays_and_comes_back_for_little(world: World) -> None:
    """All are connected, say that they are simulated, and reconnect for under 300 bytes each."""

    async def grant(name: str) -> Any:
        await world.create_plane(name)
        return await world.grant(name)

    fleet = Fleet(grant, random.Random(1))  # noqa: S311 - a seed
    await fleet.join(COUNT)
    async with fleet.staying():
        await fleet.connected()
        async with asyncio.timeout(60):
            # Facts, and what each is to have at first, may still be on their way.
            while len(await ready(world)) < COUNT or fleet.figures().resumed_same < COUNT:
                await fleet.storm()
        await fleet.storm()
        figures = fleet.figures()
        assert (figures.agents, figures.connected) == (COUNT, COUNT)
        for agent in fleet.agents.values():
            assert agent.sent + agent.received < 300
        planes = await ready(world)
        assert {p.profile.labels["cellplane.dev/simulated"] for p in planes} == {"true"}


async def ready(world: World) -> list[data_plane_pb2.DataPlane]:
    """The data planes whose agents have said what they are."""
    found = await world.client.planes.ListDataPlanes(
        data_plane_pb2.ListDataPlanesRequest(parent=ORGANIZATION, page_size=100)
    )
    return [p for p in found.data_planes if p.state == data_plane_pb2.DataPlane.READY]
