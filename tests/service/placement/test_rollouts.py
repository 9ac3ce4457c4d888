"""Rollouts over data planes, through the service: waves, gates, stops and the way back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
import pytest_asyncio

from cellplane.api.placement.v1 import rollout_pb2
from cellplane.api.type.v1 import placement_pb2
from cellplane.testing.agents import Agent
from tests.service.placement.world import World, cell_name, settled

CELL = cell_name()
NAME = f"{CELL}/rollout"
NAMES = ("a", "b", "c")


def strategy(**fields: Any) -> placement_pb2.PlacementRequirement:
    """A canary by label first, then the rest, one after the other."""
    canary = placement_pb2.RolloutWave(
        selectors=[placement_pb2.LabelSelector(key="ring", operator="IN", values=["canary"])]
    )
    return placement_pb2.PlacementRequirement(
        rollout=placement_pb2.RolloutStrategy(
            waves=[canary, placement_pb2.RolloutWave(approval=True)], **fields
        )
    )


@pytest_asyncio.fixture
async def agents(world: World) -> AsyncIterator[dict[str, Agent]]:
    """Three data planes; the second is the canary."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(
                await world.agent(
                    name, fields={"labels": {"ring": "canary"} if name == "b" else {}}
                )
            )
            for name in NAMES
        }


def image(agent: Agent) -> str:
    """The image that a data plane has stored."""
    (digest,) = (
        o.digest for o in agent.stored[CELL].objects.values() if o.object.kind == "Deployment"
    )
    return str(json.loads(agent.blobs[digest])["spec"]["image"])


async def put(world: World, text: str, asked: placement_pb2.PlacementRequirement) -> int:
    """Want the Cell with an image, on all three data planes."""
    return await world.model.put(CELL, {"web": text}, copies=3, placement=asked)


async def phase(world: World, wanted: str) -> rollout_pb2.Rollout:
    """Wait until the rollout does something."""
    asked = rollout_pb2.GetRolloutRequest(name=NAME)
    found = await world.client.rollouts.GetRollout(asked)
    while rollout_pb2.Rollout.Phase.Name(found.phase) != wanted:
        await world.model.until_reported()
        found = await world.client.rollouts.GetRollout(asked)
    return found


def steps(rollout: rollout_pb2.Rollout) -> dict[str, str]:
    """How far each data plane is."""
    return {
        p.data_plane: rollout_pb2.RolloutPlane.Step.Name(p.step)
        for wave in rollout.waves
        for p in wave.data_planes
    }


@pytest.mark.asyncio
async def test_a_change_comes_in_waves_and_waits_to_be_approved(
    world: World, agents: dict[str, Agent]
) -> None:
    """The canary first; the others keep what they have, also over a restart, until approved."""
    await settled(world, CELL, await put(world, "1", strategy()))
    revision = await put(world, "2", strategy())
    waiting = await phase(world, "WAITING_FOR_APPROVAL")
    assert steps(waiting) == {"b": "DONE", "a": "HELD", "c": "HELD"}
    assert [image(agents[n]) for n in NAMES] == ["1", "2", "1"]

    await world.stop()
    await world.start()
    for agent in agents.values():
        await agent.connect()
    assert steps(await phase(world, "WAITING_FOR_APPROVAL"))["a"] == "HELD"
    assert [image(agents[n]) for n in NAMES] == ["1", "2", "1"]

    wrong = rollout_pb2.ApproveRolloutRequest(name=NAME, revision=revision - 1)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await world.client.rollouts.ApproveRollout(wrong)
    assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    await world.client.rollouts.ApproveRollout(
        rollout_pb2.ApproveRolloutRequest(name=NAME, revision=revision)
    )
    await settled(world, CELL, revision)
    assert [image(agents[n]) for n in NAMES] == ["2", "2", "2"]
    assert (await phase(world, "DONE")).failure_count == 0


@pytest.mark.asyncio
async def test_what_breaks_the_canary_goes_back_and_no_further(
    world: World, agents: dict[str, Agent]
) -> None:
    """It has its old image again, the others never had the new one; a better one gets through."""
    await settled(world, CELL, await put(world, "1", strategy()))
    agents["b"].settle = False
    await put(world, "2", strategy())
    await agents["b"].until(lambda: image(agents["b"]) == "2")
    await agents["b"].applied(CELL)
    agents["b"].settle = True
    await agents["b"].report(CELL, "FAILED")
    failed = await phase(world, "FAILED")
    assert (failed.failure_count, failed.failure_budget) == (1, 0)
    assert steps(failed) == {"b": "ROLLED_BACK", "a": "HELD", "c": "HELD"}
    await agents["b"].until(lambda: image(agents["b"]) == "1")
    assert all("2" not in str(want) for n in "ac" for want in [image(agents[n])])

    revision = await put(world, "3", strategy())
    waiting = await phase(world, "WAITING_FOR_APPROVAL")
    assert waiting.revision == revision
    assert [image(agents[n]) for n in NAMES] == ["1", "3", "1"]
    assert {p.base_revision for w in waiting.waves for p in w.data_planes} == {1}


@pytest.mark.asyncio
async def test_a_change_that_is_stopped_goes_no_further_until_it_is_resumed(
    world: World, agents: dict[str, Agent]
) -> None:
    """Stopped while the canary is under way: it ends there, and the rest waits."""
    plain = placement_pb2.PlacementRequirement(rollout=placement_pb2.RolloutStrategy())
    await settled(world, CELL, await put(world, "1", plain))
    with pytest.raises(grpc.aio.AioRpcError):
        await world.client.rollouts.StopRollout(rollout_pb2.StopRolloutRequest(name=NAME))
    agents["a"].settle = False
    revision = await put(world, "2", plain)
    await agents["a"].until(lambda: image(agents["a"]) == "2")
    await world.client.rollouts.StopRollout(rollout_pb2.StopRolloutRequest(name=NAME))
    agents["a"].settle = True
    await agents["a"].applied(CELL)
    await agents["a"].report(CELL)
    stopped = await phase(world, "STOPPED")
    while steps(stopped)["a"] != "DONE":
        await world.model.until_reported()
        stopped = await phase(world, "STOPPED")
    assert steps(stopped) == {"a": "DONE", "b": "HELD", "c": "HELD"}
    assert [image(agents[n]) for n in NAMES] == ["2", "1", "1"]
    await world.client.rollouts.ResumeRollout(rollout_pb2.ResumeRolloutRequest(name=NAME))
    await settled(world, CELL, revision)
    assert [image(agents[n]) for n in NAMES] == ["2", "2", "2"]
