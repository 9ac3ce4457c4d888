"""Cells on their way to data planes, over the real link."""

from __future__ import annotations

import grpc
import pytest

from cellplane.api.agent.v1 import link_pb2
from cellplane.api.placement.v1 import cell_revision_pb2, decision_pb2
from cellplane.api.type.v1 import condition_pb2
from cellplane.cell.names import CellName
from cellplane.testing.agents import Agent
from tests.service.placement.world import ORGANIZATION, World, cell_name, settled

CELL = cell_name()


def kinds_of(agent: Agent, cell: str = CELL) -> set[str]:
    """Kind and name of what an agent has stored."""
    return {f"{key[1]}/{key[3]}" for key in agent.stored[cell].objects}


@pytest.mark.asyncio
async def test_a_wanted_cell_arrives_and_is_ready(world: World) -> None:
    """Wanted by model, decided, compiled, stored, pushed, applied, reported: ready."""
    async with await world.agent() as agent:
        revision = await world.model.put(CELL, {"web": "1"})
        await settled(world, CELL, revision)
        assert {kind.split("/")[0] for kind in kinds_of(agent)} == {
            "Namespace",
            "Deployment",
            "NetworkPolicy",
            "ConfigMap",
        }
        status = world.model.statuses[CELL]
        assert {c.type for c in status.conditions} == {
            "Placed",
            "Compiled",
            "Accepted",
            "Applied",
            "Ready",
            "Isolated",
        }
        (plane,) = status.data_planes
        assert (plane.data_plane, plane.ready_revision) == ("europe-1", revision)
        decision = await world.client.decisions.GetDecision(
            decision_pb2.GetDecisionRequest(name=f"{CELL}/decision")
        )
        assert list(decision.data_planes) == ["europe-1"]
        name = CellName.parse(CELL)
        assert name is not None
        delivered = await world.client.revisions.GetCellRevision(
            cell_revision_pb2.GetCellRevisionRequest(
                name=f"{ORGANIZATION}/dataPlanes/europe-1/cellRevisions/{name.namespace}"
            )
        )
        assert delivered.digest == agent.stored[CELL].digest
        assert all(m.content for m in delivered.manifests)


@pytest.mark.asyncio
async def test_an_edit_compiles_and_sends_one_component(world: World) -> None:
    """Of three components one changes: one is resolved, compiled and sent, from the last base."""
    async with await world.agent() as agent:
        first = await world.model.put(CELL, {"a": "1", "b": "1", "c": "1"})
        await settled(world, CELL, first)
        for compiler in world.compilers.values():
            compiler.requests.clear()
        second = await world.model.put(CELL, {"a": "1", "b": "2", "c": "1"})
        await settled(world, CELL, second)
        for compiler in world.compilers.values():
            (request,) = compiler.requests
            assert [c.component for c in request.cell.components] == ["b"]
            assert not request.include_frame
        want = agent.wants[-1]
        assert want.base_revision == agent.wants[-2].revision
        assert [o.object.object for o in want.objects] == ["b"]
        assert not want.removals


@pytest.mark.asyncio
async def test_a_component_that_goes_is_removed_by_name(world: World) -> None:
    """Its objects are named, in the reverse order of phases; nothing else is touched."""
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1", "b": "1"}))
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        want = agent.wants[-1]
        assert [r.kind for r in want.removals] == ["Deployment", "ConfigMap", "NetworkPolicy"]
        assert not want.objects
        assert not any(name.endswith("/b") for name in kinds_of(agent))


@pytest.mark.asyncio
async def test_a_cell_that_is_not_wanted_is_removed_and_forgotten(world: World) -> None:
    """All of it is named; once the agent says that it is gone, nothing remembers it."""
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        await world.model.delete(CELL)
        await agent.until(lambda: agent.removed == [CELL])
        await world.health.until(lambda: any(r.removed for r in world.health.reports))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await world.client.decisions.GetDecision(
                decision_pb2.GetDecisionRequest(name=f"{CELL}/decision")
            )
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.asyncio
async def test_what_does_not_compile_leaves_the_last_revision_in_force(world: World) -> None:
    """The Cell says why, terminally; the agent gets nothing; a better change goes through."""
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1", "b": "1"}))
        wants = len(agent.wants)
        await world.model.put(CELL, {"a": "bad", "b": "2"})
        status = await world.model.until_condition(CELL, "Compiled", "FALSE")
        compiled = next(c for c in status.conditions if c.type == "Compiled")
        assert compiled.terminal
        assert "use another image" in compiled.message
        assert status.cause.terminal
        assert len(agent.wants) == wants
        await settled(world, CELL, await world.model.put(CELL, {"a": "3", "b": "2"}))
        assert [o.object.object for o in agent.wants[-1].objects] == ["a", "b"]


@pytest.mark.asyncio
async def test_an_unplaceable_cell_waits_and_is_placed_when_a_plane_comes(world: World) -> None:
    """It says what is missing, and needs nobody to try again."""
    await world.model.put(CELL, {"a": "1"})
    status = await world.model.until_condition(CELL, "Placed", "FALSE")
    placed = next(c for c in status.conditions if c.type == "Placed")
    assert "create one, and join it" in placed.message
    assert not placed.terminal
    async with await world.agent():
        await settled(world, CELL, 1)


@pytest.mark.asyncio
async def test_two_copies_are_on_two_planes_and_one_of_them_leaves_last(world: World) -> None:
    """A Cell that needs fewer copies leaves a plane only by explicit removal."""
    async with await world.agent("europe-1") as one, await world.agent("europe-2") as two:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}, copies=2))
        assert CELL in one.stored
        assert CELL in two.stored
        await world.model.put(CELL, {"a": "1"}, copies=1)
        await world.model.until(lambda: len(world.model.statuses[CELL].data_planes) == 1)
        gone = [agent for agent in (one, two) if agent.removed]
        assert len(gone) == 1
        assert CELL not in gone[0].stored


@pytest.mark.asyncio
async def test_ready_is_never_said_before_it_was_seen(world: World) -> None:
    """Accepted, applied and ready are told apart, each only once it is so."""
    async with await world.agent(settle=False) as agent:
        await world.model.put(CELL, {"a": "1"})
        await world.model.until_condition(CELL, "Accepted", "TRUE")
        await agent.applied(CELL)
        await world.model.until_condition(CELL, "Applied", "TRUE")
        await agent.report(CELL, "PROGRESSING")
        await world.health.until(lambda: len(world.health.reports) > 0)
        await agent.report(CELL, "READY")
        await settled(world, CELL, 1)
        states: list[tuple[bool, bool, bool]] = []
        for report in world.model.reports:
            yes = condition_pb2.Condition.Status.TRUE
            truth = {c.type: c.status == yes for c in report.conditions}
            states.append((truth["Accepted"], truth["Applied"], truth["Ready"]))
        assert states == sorted(states)


@pytest.mark.asyncio
async def test_a_refused_object_is_the_terminal_cause(world: World) -> None:
    """What the agent does not allow is said with the object and the reason."""
    async with await world.agent() as agent:
        agent.answer = lambda _: link_pb2.Reply.Verdict.REJECTED
        await world.model.put(CELL, {"a": "1"})
        status = await world.model.until_condition(CELL, "Accepted", "FALSE", reason="Rejected")
        accepted = next(c for c in status.conditions if c.type == "Accepted")
        assert "not allowed here" in accepted.message
        assert status.cause.terminal
        agent.answer = None
        await settled(world, CELL, await world.model.put(CELL, {"a": "2"}))


@pytest.mark.asyncio
async def test_latest_wins_with_one_pending_revision(world: World) -> None:
    """Edits while a Want is unanswered are one Want afterwards, made from the latest."""
    async with await world.agent(settle=False) as agent:
        await world.model.put(CELL, {"a": "1"})
        await world.model.until_condition(CELL, "Accepted", "TRUE")
        held: list[link_pb2.Want] = []
        agent.answer = lambda want: held.append(want) or link_pb2.Reply.Verdict.VERDICT_UNSPECIFIED
        for image in ("2", "3", "4"):
            await world.model.put(CELL, {"a": image})
        await agent.until(lambda: len(held) >= 1)
        agent.answer = None
        await agent.until(lambda: agent.compares >= 1)
        await world.model.until_condition(CELL, "Accepted", "TRUE", revision=4)
        assert len(agent.wants) <= 4


@pytest.mark.asyncio
async def test_another_base_is_answered_by_comparing(world: World) -> None:
    """An agent that has another revision than placement thinks gets all of it, and converges."""
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        agent.stored[CELL].revision = 99
        agent.stored[CELL].digest = "other"
        await settled(world, CELL, await world.model.put(CELL, {"a": "2"}))
        assert agent.compares == 1
        assert agent.wants[-1].base_revision == 0


@pytest.mark.asyncio
async def test_reports_of_what_is_not_placed_there_are_dropped(world: World) -> None:
    """A data plane has no say about Cells that it was not given."""
    async with await world.agent("europe-1") as one, await world.agent("europe-2") as two:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        owner, other = (one, two) if CELL in one.stored else (two, one)
        other.stored[CELL] = owner.stored[CELL]
        await other.report(CELL, "FAILED")
        del other.stored[CELL]
        await settled(world, CELL, await world.model.put(CELL, {"a": "2"}))
        await world.health.until(lambda: world.health.reports[-1].health.revision == 2)
        planes = {r.health.data_plane for r in world.health.reports}
        assert planes == {owner.credentials.data_plane.rsplit("/", 1)[-1]}
        failed = condition_pb2.Health.HEALTH_FAILED
        assert all(r.health != failed for r in world.model.reports)


@pytest.mark.asyncio
async def test_drift_becomes_an_event(world: World) -> None:
    """Who looks at the Cell's events sees what was changed, and that it was repaired."""
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        reference = link_pb2.ObjectReference(api_version="apps/v1", kind="Deployment", object="a")
        await agent.say(
            drift=link_pb2.Drift(
                cell=CELL, object=reference, part="a", fields=["/spec/image"], repaired=True
            )
        )
        await world.health.until(lambda: any(r.events for r in world.health.reports))
        (event,) = (e for r in world.health.reports for e in r.events)
        assert (event.reason, event.object) == ("DriftRepaired", "Deployment/a")


@pytest.mark.asyncio
async def test_peers_wake_their_readers(world: World) -> None:
    """A Cell that calls another gets its gateways, when they come and when they change."""
    other = cell_name("bank")
    fields = {"westbound_host": "west.example", "westbound_port": 8443}
    async with await world.agent(fields=fields) as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}, targets=["bank"]))
        assert b"west.example" not in _egress(agent)
        await settled(world, other, await world.model.put(other, {"b": "1"}))
        await agent.until(lambda: b"west.example" in _egress(agent))


def _egress(agent: Agent) -> bytes:
    for key, wanted in agent.stored[CELL].objects.items():
        if key[1] == "Gateway":
            return agent.blobs[wanted.digest]
    return b""
