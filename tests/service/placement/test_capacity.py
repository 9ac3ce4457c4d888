"""Capacity as agents tell it: counted when a Cell is decided on, kept, and given back."""

from __future__ import annotations

import asyncio
import json

import pytest

from cellplane.api.agent.v1 import link_pb2
from cellplane.api.placement.v1 import data_plane_pb2, decision_pb2
from cellplane.api.type.v1 import placement_pb2
from cellplane.testing.agents import Agent
from cellplane.testing.joining import DEADLINE
from tests.service.placement.world import ORGANIZATION, World, cell_name, settled


def has(agent: Agent, *, cpu: int, others: int = 0, cells: int = 0) -> Agent:
    """An agent whose cluster has so many thousandths of a core."""
    agent.facts.digest = f"facts-{cpu}-{others}-{cells}"
    del agent.facts.resources[:]
    agent.facts.resources.extend(
        [
            link_pb2.ResourceFacts(
                resource="cpu_millis",
                allocatable=cpu,
                cells_requested=cells,
                others_requested=others,
            )
        ]
    )
    return agent


async def planes_of(world: World, cell: str) -> decision_pb2.Decision:
    """Where a Cell is."""
    return await world.client.decisions.GetDecision(
        decision_pb2.GetDecisionRequest(name=f"{cell}/decision")
    )


async def blocked_by(world: World, decision: str, rule: str) -> None:
    """Wait until the explanation of a decision, which is of now, says that a rule is in the way."""
    request = decision_pb2.ExplainDecisionRequest(name=decision)
    async with asyncio.timeout(DEADLINE):
        while True:
            found = await world.client.decisions.ExplainDecision(request)
            if rule in {each.rule for each in found.blockers}:
                return


async def capacity(world: World, name: str) -> data_plane_pb2.ResourceCapacity:
    """The processor time of a data plane."""
    plane = await world.client.planes.GetDataPlane(
        data_plane_pb2.GetDataPlaneRequest(name=f"{ORGANIZATION}/dataPlanes/{name}")
    )
    (cpu,) = plane.capacity.resources
    return cpu


async def tell(world: World, agent: Agent) -> None:
    """Say the facts of an agent, and return once they are known."""
    await agent.say(facts=agent.facts)
    (wanted,) = agent.facts.resources
    async with asyncio.timeout(10):
        while (known := await capacity(world, "europe-1")) is not None:
            if (known.others_requested, known.cells_requested) == (
                wanted.others_requested,
                wanted.cells_requested,
            ):
                return


@pytest.mark.asyncio
async def test_cells_at_once_never_take_the_same_room(world: World) -> None:
    """Of five Cells that come together and fit twice, two are placed and three told why not."""
    async with has(await world.agent(), cpu=1000, others=100):
        cells = [cell_name(f"p{i}") for i in range(5)]
        await asyncio.gather(*(world.model.put(c, {"a": "1"}, cpu="400m") for c in cells))
        for cell in cells:
            await world.model.until(lambda cell=cell: cell in world.model.statuses)  # type: ignore[misc]
        decisions = [await planes_of(world, cell) for cell in cells]
        assert sorted(len(d.data_planes) for d in decisions) == [0, 0, 0, 1, 1]
        assert (await capacity(world, "europe-1")).reserved == 800
        # They are looked at again when their data plane is ready, and then say what is missing.
        await blocked_by(world, next(d.name for d in decisions if not d.data_planes), "CAPACITY")

        # One goes: the first of those that wait has its place.
        gone = next(d.name for d in decisions if d.data_planes).removesuffix("/decision")
        await world.model.delete(gone)
        waiting = [d.name.removesuffix("/decision") for d in decisions if not d.data_planes]
        await world.model.until_condition(min(waiting), "Ready", "TRUE")
        assert (await capacity(world, "europe-1")).reserved == 800


@pytest.mark.asyncio
async def test_less_than_was_thought_moves_nobody_and_takes_nobody(world: World) -> None:
    """Others' use grows over what is there: the Cell stays, also after a restart; a new one waits.

    What Cells use beyond what they were decided to have is not free either.
    """
    async with has(await world.agent(), cpu=1000) as agent:
        await world.agent("europe-2")
        first, second = cell_name("a"), cell_name("b")
        await settled(world, first, await world.model.put(first, {"a": "1"}, cpu="600m"))
        await tell(world, has(agent, cpu=1000, others=900, cells=600))
        await world.model.put(second, {"a": "1"}, cpu="100m")
        await world.model.until_condition(second, "Placed", "FALSE")
        assert list((await planes_of(world, first)).data_planes) == ["europe-1"]
        await world.stop()
        await world.start()
        await agent.connect()
        await settled(world, first, await world.model.put(first, {"a": "2"}, cpu="600m"))
        assert list((await planes_of(world, first)).data_planes) == ["europe-1"]

        await tell(world, has(agent, cpu=1000, others=0, cells=950))
        assert not (await planes_of(world, second)).data_planes
        await tell(world, has(agent, cpu=1000, others=0, cells=600))
        await settled(world, second, 1)


@pytest.mark.asyncio
async def test_a_divided_cell_runs_its_share_on_each_data_plane(world: World) -> None:
    """Nine replicas, twice the weight: six here and three there, in the manifests that arrive."""
    by_weight = placement_pb2.PlacementRequirement(
        division=placement_pb2.Division(
            method="WEIGHT",
            weights=[
                placement_pb2.Weight(
                    selector=placement_pb2.LabelSelector(
                        key="size", operator="IN", values=["large"]
                    ),
                    weight=2,
                )
            ],
        )
    )
    cell = cell_name()
    large = {"labels": {"size": "large"}}
    async with await world.agent("east", fields=large) as east, await world.agent("west") as west:
        await settled(
            world,
            cell,
            await world.model.put(cell, {"a": "1"}, copies=2, placement=by_weight, replicas=9),
        )
        assert [_replicas(agent, cell) for agent in (east, west)] == [6, 3]
        shares = {(s.data_plane, s.replica_count) for s in (await planes_of(world, cell)).shares}
        assert shares == {("east", 6), ("west", 3)}
        revision = await world.model.put(
            cell, {"a": "1"}, copies=2, placement=by_weight, replicas=12
        )
        await settled(world, cell, revision)
        assert [_replicas(agent, cell) for agent in (east, west)] == [8, 4]


def _replicas(agent: Agent, cell: str) -> int:
    (digest,) = (
        o.digest for o in agent.stored[cell].objects.values() if o.object.kind == "Deployment"
    )
    return int(json.loads(agent.blobs[digest])["spec"]["replicas"])
