"""Moves on data planes: make before break, and nothing lost or doubled wherever placement ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask

from cellplane.api.agent.v1 import link_pb2
from cellplane.api.placement.v1 import data_plane_pb2, decision_pb2
from cellplane.api.type.v1 import placement_pb2
from cellplane.placement.failpoints import PLACES, VARIABLE
from cellplane.testing.agents import Agent
from tests.service.placement.test_capacity import has
from tests.service.placement.world import ORGANIZATION, World, cell_name, settled

CELL = cell_name()
NAMES = ("a", "b", "c")


class Stops:
    """Holds placement at one place, as if it ended there."""

    def __init__(self) -> None:
        self.place = ""
        self.passed = 0
        """How often that place is passed before."""
        self.happened = asyncio.Event()
        self.go_on = asyncio.Event()

    def arm(self, place: str, *, passed: int = 0) -> None:
        """Hold it there the next time, or a later one."""
        self.place, self.passed = place, passed

    async def __call__(self, place: str) -> None:
        """Be told of a place."""
        if place != self.place:
            return
        if self.passed:
            self.passed -= 1
            return
        self.happened.set()
        await self.go_on.wait()


@pytest.fixture
def stops() -> Stops:
    """Nothing is held yet."""
    return Stops()


@pytest_asyncio.fixture
async def world(tmp_path: Path, stops: Stops) -> AsyncIterator[World]:
    """Placement that can be held at every step of a move."""
    made = World(tmp_path)
    made.reached = stops
    async with made.open() as opened:
        yield opened


async def decision(world: World, cell: str = CELL) -> decision_pb2.Decision:
    """Where a Cell is."""
    return await world.client.decisions.GetDecision(
        decision_pb2.GetDecisionRequest(name=f"{cell}/decision")
    )


async def drain(world: World, name: str, *, drained: bool = True) -> None:
    """Have the Cells of a data plane leave it, or not any more."""
    await world.client.planes.UpdateDataPlane(
        data_plane_pb2.UpdateDataPlaneRequest(
            data_plane=data_plane_pb2.DataPlane(
                name=f"{ORGANIZATION}/dataPlanes/{name}", drained=drained
            ),
            update_mask=FieldMask(paths=["drained"]),
        )
    )


async def three(world: World, stack: AsyncExitStack) -> dict[str, Agent]:
    """Three data planes with their agents, by id."""
    return {name: await stack.enter_async_context(await world.agent(name)) for name in NAMES}


async def moved(agents: dict[str, Agent], old: str) -> str:
    """Wait until the Cell has left a data plane; where it is then, on one only."""
    await agents[old].until(lambda: agents[old].removed == [CELL])
    (there,) = (name for name, agent in agents.items() if CELL in agent.stored)
    return there


@pytest.mark.asyncio
@pytest.mark.parametrize("place", PLACES)
async def test_a_restart_at_any_step_of_a_move_loses_and_doubles_nothing(
    world: World, stops: Stops, place: str
) -> None:
    """It is never nowhere, ends on one data plane, was made on no third, and is removed once."""
    async with AsyncExitStack() as stack:
        agents = await three(world, stack)
        await settled(world, CELL, await world.model.put(CELL, {"web": "1"}))
        (old,) = (await decision(world)).data_planes
        stops.arm(place)
        await drain(world, old)
        async with asyncio.timeout(10):
            await stops.happened.wait()
        homes = [name for name, agent in agents.items() if CELL in agent.stored]
        assert homes
        await world.stop()
        stops.arm("")
        await world.start()
        for agent in agents.values():
            await agent.connect()
        new = await moved(agents, old)
        await settled(world, CELL, await world.model.put(CELL, {"web": "2"}))
        now = await decision(world)
        assert list(now.data_planes) == [new]
        assert not now.moves
        third = next(name for name in NAMES if name not in (old, new))
        assert CELL not in agents[third].stored
        assert not agents[third].removed
        assert agents[old].removed == [CELL]


@pytest.mark.asyncio
async def test_a_killed_placement_finishes_the_move(tmp_path: Path) -> None:
    """Killed by its own hand after the cut-over was stored, the next process clears the old one."""
    world = World(tmp_path)
    world.as_process = True
    world.environment = {VARIABLE: "move.cut_over"}
    async with world.open(), AsyncExitStack() as stack:
        agents = await three(world, stack)
        await settled(world, CELL, await world.model.put(CELL, {"web": "1"}))
        (old,) = (await decision(world)).data_planes
        await drain(world, old)
        assert world.process is not None
        async with asyncio.timeout(20):
            await world.process.wait()
        assert world.process.returncode == -9
        assert CELL in agents[old].stored
        await world.stop()
        world.environment = {}
        await world.start()
        for agent in agents.values():
            await agent.connect()
        new = await moved(agents, old)
        assert list((await decision(world)).data_planes) == [new]


@pytest.mark.asyncio
async def test_a_return_before_the_cut_over_takes_the_move_back(world: World) -> None:
    """The new one never became ready: undrained, the Cell is where it was, and nowhere else."""
    async with AsyncExitStack() as stack:
        agents = await three(world, stack)
        await settled(world, CELL, await world.model.put(CELL, {"web": "1"}))
        (old,) = (await decision(world)).data_planes
        for name in NAMES:
            agents[name].settle = name == old
        await drain(world, old)
        others = [agents[name] for name in NAMES if name != old]
        await world.model.until(lambda: any(CELL in agent.stored for agent in others))
        now = await decision(world)
        (move,) = now.moves
        assert (move.old_data_plane, move.reason) == (old, "DRAINED")
        assert move.step == decision_pb2.Move.MAKING
        for agent in others:
            agent.settle = True
            agent.answer = None
        await drain(world, old, drained=False)
        (new,) = (a for a in others if CELL in a.stored or a.removed)
        await new.until(lambda: new.removed == [CELL])
        now = await decision(world)
        assert (list(now.data_planes), list(now.moves)) == ([old], [])
        assert CELL in agents[old].stored
        assert not agents[old].removed


@pytest.mark.asyncio
async def test_calls_follow_a_cell_only_once_it_is_ready_elsewhere(
    world: World, stops: Stops
) -> None:
    """Until the cut-over a caller's peers are the old data plane, and afterwards the new one."""
    async with AsyncExitStack() as stack:
        for name in NAMES:
            fields = {"westbound_host": f"{name}.example", "labels": {"of": "callee"}}
            await stack.enter_async_context(await world.agent(name, fields=fields))
        caller = cell_name("caller")
        await settled(world, CELL, await world.model.put(CELL, {"web": "1"}))
        await settled(world, caller, await world.model.put(caller, {"a": "1"}, targets=["shop"]))
        (old,) = (await decision(world)).data_planes

        def hosts() -> list[str]:
            asked = [r for r in world.compilers["gateway"].requests if r.cell.cell == caller]
            return [g.host for c in asked[-1].peers.cells for g in c.gateways]

        assert hosts() == [f"{old}.example"]
        stops.arm("move.ready")
        await drain(world, old)
        async with asyncio.timeout(10):
            await stops.happened.wait()
        new = next(n for n in (await decision(world)).data_planes if n != old)
        assert hosts() == [f"{old}.example"]
        stops.go_on.set()
        await world.model.until_condition(CELL, "Ready", "TRUE")
        await world.model.until(lambda: hosts() == [f"{new}.example"])


@pytest.mark.asyncio
async def test_a_preemption_is_said_before_it_happens(world: World, stops: Stops) -> None:
    """The decision names who has to go while that one is still there; then it has its place."""
    async with has(await world.agent("only"), cpu=1000) as agent:
        low, high = cell_name("low"), cell_name("high")
        await settled(world, low, await world.model.put(low, {"a": "1"}, cpu="600m"))
        asked = placement_pb2.PlacementRequirement(priority=10, preemption=True)
        # Said with the first commit; it happens with the second.
        stops.arm("decision.made", passed=1)
        await world.model.put(high, {"a": "1"}, cpu="600m", placement=asked)
        async with asyncio.timeout(10):
            await stops.happened.wait()
        said = await decision(world, high)
        assert [(p.cell, p.data_plane) for p in said.preemptions] == [(low, "only")]
        assert not said.data_planes
        assert low in said.summary
        assert list((await decision(world, low)).data_planes) == ["only"]
        assert low in agent.stored
        stops.go_on.set()
        await world.model.until_condition(high, "Ready", "TRUE")
        await agent.until(lambda: low in agent.removed)
        assert not (await decision(world, high)).preemptions


@pytest.mark.asyncio
async def test_a_rebalance_moves_within_its_budget_and_shows_it_before(world: World) -> None:
    """Three Cells on one data plane and a new one beside it: shown, one moves, and it is made."""
    async with await world.agent("first") as first:
        cells = [cell_name(f"p{i}") for i in range(3)]
        for cell in cells:
            await settled(world, cell, await world.model.put(cell, {"a": "1"}))
        async with await world.agent("second") as second:
            pinned = placement_pb2.PlacementRequirement(excluded_data_planes=["first"])
            other = cell_name("other")
            await settled(world, other, await world.model.put(other, {"a": "1"}, placement=pinned))
            ask = decision_pb2.RebalanceDecisionsRequest(parent=ORGANIZATION, move_budget=1)
            ask.validate_only = True
            shown = await world.client.decisions.RebalanceDecisions(ask)
            assert not set(second.stored) & set(cells)
            ask.validate_only = False
            done = await world.client.decisions.RebalanceDecisions(ask)
            (change,) = done.changes
            assert list(shown.changes) == [change]
            assert list(change.new_data_planes) == ["second"]
            await first.until(lambda: first.removed == [change.cell])
            assert set(second.stored) & set(cells) == {change.cell}


@pytest.mark.asyncio
async def test_a_lost_data_plane_is_left_and_gone_back_to_where_that_is_asked_for(
    tmp_path: Path,
) -> None:
    """Silent for long enough, its Cells move, one only; heard of again, the one that asks returns.

    What was on the lost data plane is removed by name once its agent is there, never twice.
    """
    world = World(tmp_path)
    world.settings_changes = {"suspect_after": 2.0, "lost_after": 1.0, "hold_down": "0s"}
    async with world.open(), AsyncExitStack() as stack:
        alive: list[Agent] = []
        beats = asyncio.create_task(beating(alive))
        stack.callback(beats.cancel)
        agents: dict[str, Agent] = {}
        for name in NAMES:
            agents[name] = await stack.enter_async_context(await world.agent(name))
            alive.append(agents[name])
        asked = placement_pb2.PlacementRequirement(failback=True, lost_seconds=0)
        other = cell_name("other")
        for cell in (CELL, other):
            asked.failback = cell == CELL
            asked.excluded_data_planes[:] = ["b", "c"]
            await settled(world, cell, await world.model.put(cell, {"a": "1"}, placement=asked))
            del asked.excluded_data_planes[:]
            asked.excluded_data_planes.append("c")
            await settled(world, cell, await world.model.put(cell, {"a": "1"}, placement=asked))
        alive.remove(agents["a"])
        await agents["a"].disconnect()
        await agents["b"].until(lambda: {CELL, other} <= set(agents["b"].stored))
        for cell in (CELL, other):
            assert list((await decision(world, cell)).data_planes) == ["b"]
            assert [m.reason for m in (await decision(world, cell)).moves] == ["LOST"]
        await agents["a"].connect()
        alive.append(agents["a"])
        await agents["a"].until(lambda: other in agents["a"].removed)
        await agents["b"].until(lambda: agents["b"].removed == [CELL])
        assert list((await decision(world)).data_planes) == ["a"]
        assert list((await decision(world, other)).data_planes) == ["b"]
        assert not {CELL, other} & {c for n in "c" for c in agents[n].stored}


async def beating(alive: list[Agent]) -> None:
    """Say that agents are alive, as their own clock makes real ones."""
    while True:
        for agent in list(alive):
            await agent.say(beat=link_pb2.Beat())
        await asyncio.sleep(0.1)
