"""Data planes and grants as people see them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from cellplane.api.model.v1 import resource_change_pb2
from cellplane.api.placement.v1 import (
    cell_revision_pb2,
    data_plane_pb2,
    decision_pb2,
    join_grant_pb2,
    resource_pb2,
)
from cellplane.api.type.v1 import change_pb2, placement_pb2
from cellplane.rpc.client import explain
from cellplane.testing.agents import SIMULATED, Agent
from tests.service.placement.world import ORGANIZATION, World, cell_name, settled

PLANE = f"{ORGANIZATION}/dataPlanes/europe-1"
CELL = cell_name()


async def update(world: World, *paths: str, **fields: object) -> data_plane_pb2.DataPlane:
    """Change fields of the data plane."""
    return await world.client.planes.UpdateDataPlane(
        data_plane_pb2.UpdateDataPlaneRequest(
            data_plane=data_plane_pb2.DataPlane(name=PLANE, **fields),  # type: ignore[arg-type]
            update_mask=FieldMask(paths=paths),
        )
    )


@pytest.mark.asyncio
async def test_a_new_data_plane_is_pending_and_says_what_to_do(world: World) -> None:
    """Until an agent joins, its condition names the next step."""
    created = await world.create_plane(labels={"topology.kubernetes.io/region": "eu"})
    assert created.state == data_plane_pb2.DataPlane.PENDING
    found = await world.client.planes.GetDataPlane(data_plane_pb2.GetDataPlaneRequest(name=PLANE))
    assert found.etag == created.etag
    joined = next(c for c in found.conditions if c.type == "Joined")
    assert "create a join grant" in joined.message


@pytest.mark.asyncio
async def test_what_the_agent_says_is_shown_and_labels_of_people_win(world: World) -> None:
    """The profile holds facts and labels; a label that both give is the one that people wrote."""
    fields = {"labels": {"topology.kubernetes.io/region": "mars", "tier": "gold"}}
    async with await world.agent(fields=fields) as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        found = await world.client.planes.GetDataPlane(
            data_plane_pb2.GetDataPlaneRequest(name=PLANE)
        )
        assert found.state == data_plane_pb2.DataPlane.READY
        assert found.kubernetes_version == agent.facts.kubernetes_version
        assert dict(found.profile.labels) == {
            "topology.kubernetes.io/region": "mars",
            "tier": "gold",
            **SIMULATED,
        }
        assert found.cell_count == 1


@pytest.mark.asyncio
async def test_all_that_is_wrong_is_said_at_once(world: World) -> None:
    """Each finding has its field."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.create_plane(labels={"no good": "n/a"}, westbound_port=1)
    fields = {violation.field for violation in explain(caught.value).violations}
    assert fields == {'labels["no good"]', "westbound_port"}


@pytest.mark.asyncio
async def test_a_plane_with_cells_is_deleted_only_by_force(world: World) -> None:
    """The refusal names the Cells; forced, they are placed elsewhere or wait."""
    async with await world.agent():
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await world.client.planes.DeleteDataPlane(
                data_plane_pb2.DeleteDataPlaneRequest(name=PLANE)
            )
        assert CELL in explain(caught.value).message
        await world.client.planes.DeleteDataPlane(
            data_plane_pb2.DeleteDataPlaneRequest(name=PLANE, force=True)
        )
        await world.model.until_condition(CELL, "Placed", "FALSE")


@pytest.mark.asyncio
async def test_a_no_execute_taint_moves_a_cell_make_before_break(world: World) -> None:
    """The new place is ready before anything is removed from the old one."""
    async with await world.agent("europe-1") as old:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        async with await world.agent("europe-2", settle=False) as new:
            taint = placement_pb2.Taint(key="gone", effect=placement_pb2.Taint.Effect.NO_EXECUTE)
            await update(world, "taints", taints=[taint])
            await new.until(lambda: CELL in new.stored)
            assert not old.removed
            await new.applied(CELL)
            await new.report(CELL)
            await old.until(lambda: old.removed == [CELL])
            decision = await world.client.decisions.GetDecision(
                decision_pb2.GetDecisionRequest(name=f"{CELL}/decision")
            )
            assert list(decision.data_planes) == ["europe-2"]
            assert [r.reason for r in decision.rejections] == ["TAINT"]


@pytest.mark.asyncio
async def test_cordoning_keeps_what_is_there_and_takes_nothing_new(world: World) -> None:
    """The Cell stays, another one waits, and is placed after uncordoning."""
    other = cell_name("bank")
    async with await world.agent() as agent:
        await settled(world, CELL, await world.model.put(CELL, {"a": "1"}))
        await update(world, "cordoned", cordoned=True)
        await world.model.put(other, {"b": "1"})
        status = await world.model.until_condition(other, "Placed", "FALSE")
        assert "cordoned" in status.cause.message
        await settled(world, CELL, await world.model.put(CELL, {"a": "2"}))
        assert not agent.removed
        await update(world, "cordoned", cordoned=False)
        await settled(world, other, 1)


@pytest.mark.asyncio
async def test_the_token_is_answered_once(world: World) -> None:
    """A repeated request has the same grant without its token, and a trial has none."""
    await world.create_plane()
    request = join_grant_pb2.CreateJoinGrantRequest(
        parent=ORGANIZATION,
        join_grant_id="first",
        join_grant=join_grant_pb2.JoinGrant(data_plane=PLANE),
        request_id="0b2cf8a2-5a53-4b7e-8f0c-0d3f4a1c2b3d",
    )
    first = await world.client.grants.CreateJoinGrant(request)
    again = await world.client.grants.CreateJoinGrant(request)
    assert first.token.startswith("first.")
    assert (again.uid, again.token) == (first.uid, "")
    trial = join_grant_pb2.CreateJoinGrantRequest(
        parent=ORGANIZATION,
        join_grant_id="second",
        join_grant=join_grant_pb2.JoinGrant(data_plane=PLANE),
        validate_only=True,
    )
    assert not (await world.client.grants.CreateJoinGrant(trial)).token
    listed = await world.client.grants.ListJoinGrants(
        join_grant_pb2.ListJoinGrantsRequest(parent=ORGANIZATION)
    )
    assert [g.name.rsplit("/", 1)[-1] for g in listed.join_grants] == ["first"]
    assert not listed.join_grants[0].token


@pytest.mark.asyncio
async def test_a_grant_is_for_a_data_plane_that_exists(world: World) -> None:
    """The finding names the field and the way out."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.grant("nowhere")
    (violation,) = explain(caught.value).violations
    assert violation.field == "data_plane"
    assert "create it" in violation.message


@pytest.mark.asyncio
async def test_cell_revisions_are_listed_by_name_in_pages(world: World) -> None:
    """Pages follow each other, without the objects; a token of another list is refused."""
    cells = [cell_name(f"p{index}") for index in range(3)]
    async with await world.agent():
        for cell in cells:
            await settled(world, cell, await world.model.put(cell, {"a": "1"}))
        names: list[str] = []
        token = ""
        while True:
            page = await world.client.revisions.ListCellRevisions(
                cell_revision_pb2.ListCellRevisionsRequest(
                    parent=f"{ORGANIZATION}/dataPlanes/-", page_size=2, page_token=token
                )
            )
            names += [revision.cell for revision in page.cell_revisions]
            assert not any(revision.manifests for revision in page.cell_revisions)
            token = page.next_page_token
            if not token:
                break
        assert sorted(names) == cells
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await world.client.revisions.ListCellRevisions(
                cell_revision_pb2.ListCellRevisionsRequest(parent=PLANE, page_token="AAAA")
            )
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.asyncio
async def test_the_history_of_data_planes_and_grants_is_kept(world: World) -> None:
    """Who created, changed and deleted one, by its fields; a grant's token is nowhere in it."""
    await world.create_plane(labels={"tier": "gold"})
    await update(world, "labels", labels={"tier": "iron"})
    grant = await world.client.grants.CreateJoinGrant(
        join_grant_pb2.CreateJoinGrantRequest(
            parent=ORGANIZATION,
            join_grant_id="first",
            join_grant=join_grant_pb2.JoinGrant(data_plane=PLANE),
        )
    )
    await world.client.planes.DeleteDataPlane(data_plane_pb2.DeleteDataPlaneRequest(name=PLANE))
    request = resource_change_pb2.ListResourceChangesRequest(parent=ORGANIZATION)
    found = list((await world.client.changes.ListResourceChanges(request)).resource_changes)
    request.parent = PLANE
    own = list((await world.client.changes.ListResourceChanges(request)).resource_changes)

    assert [resource_change_pb2.ResourceChange.Type.Name(c.type) for c in own] == [
        "DELETED",
        "UPDATED",
        "CREATED",
    ]
    assert [
        (f.path, f.old_value.string_value, f.new_value.string_value) for f in own[1].fields
    ] == [('labels["tier"]', "gold", "iron")]
    assert own[0].actor.endswith("/users/admin")
    assert {c.resource_name for c in found} == {PLANE, grant.name}
    assert grant.token
    assert all(grant.token not in str(change) for change in found)


@pytest.mark.asyncio
async def test_a_watch_tells_what_is_written_and_what_agents_make_of_it(world: World) -> None:
    """What is there, a marker, each change; an agent that joins is a change, and a used grant too.

    A watch that is resumed goes on behind its token, with the latest of what agents made of it.
    """
    change = change_pb2.Change
    await world.create_plane(labels={"tier": "gold"})
    request = resource_pb2.WatchResourcesRequest(parent=ORGANIZATION)
    stream = world.client.resources.WatchResources(request)

    async def until(holds: Callable[[change_pb2.Change, Any], bool]) -> tuple[list[str], str]:
        """Read until something holds: the types so far, and the last token."""
        types, token = [], ""
        async with asyncio.timeout(30):
            while True:
                told = (await stream.read()).change
                found: Any = data_plane_pb2.DataPlane()
                if not told.resource.Unpack(found):
                    found = join_grant_pb2.JoinGrant()
                    told.resource.Unpack(found)
                types.append(change.Type.Name(told.type))
                token = told.resume_token or token
                if holds(told, found):
                    return types, token

    first, _ = await until(lambda told, _: told.type == change.SYNCED)
    await update(world, "labels", labels={"tier": "iron"})
    written, token = await until(lambda _, found: dict(found.labels) == {"tier": "iron"})
    async with Agent(await world.join()):
        joined, _ = await until(
            lambda _, found: getattr(found, "state", None) == data_plane_pb2.DataPlane.READY
        )
        stream.cancel()
        stream = world.client.resources.WatchResources(
            resource_pb2.WatchResourcesRequest(parent=PLANE, resume_token=token)
        )
        resumed, _ = await until(
            lambda _, found: getattr(found, "state", None) == data_plane_pb2.DataPlane.READY
        )
        stream.cancel()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.client.resources.WatchResources(
            resource_pb2.WatchResourcesRequest(parent="x", kinds=["Component"])
        ).read()

    assert first == ["SNAPSHOT", "SYNCED"]
    assert written == ["UPDATED"]
    assert set(joined) <= {"CREATED", "UPDATED"}
    assert "CREATED" in joined
    assert set(resumed) == {"UPDATED"}
    assert {v.field for v in explain(caught.value).violations} == {"parent", "kinds[0]"}
