"""Explanations, previews and simulations, asked of a placement service that runs."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct

from cellplane.api.placement.v1 import decision_pb2
from cellplane.api.type.v1 import placement_pb2
from tests.service.placement.world import ORGANIZATION, World, cell_name, settled

CELL = cell_name()


def struct(**fields: object) -> Struct:
    """A struct of these fields."""
    made = Struct()
    made.update(fields)
    return made


@pytest.mark.asyncio
async def test_a_drain_is_shown_and_changes_nothing(world: World) -> None:
    """The plan and the preview of the same drain name the Cell; the Cell stays where it is."""
    async with await world.agent("europe-1"), await world.agent("europe-2"):
        await settled(world, CELL, await world.model.put(CELL, {"web": "1"}))
        decisions = world.client.decisions
        asked = decision_pb2.GetDecisionRequest(name=f"{CELL}/decision")
        (there,) = (await decisions.GetDecision(asked)).data_planes
        other = next(n for n in ("europe-1", "europe-2") if n != there)

        plan = await decisions.PlanDrain(
            decision_pb2.PlanDrainRequest(name=f"{ORGANIZATION}/dataPlanes/{there}")
        )
        preview = await decisions.PlanDecisions(
            decision_pb2.PlanDecisionsRequest(
                parent=ORGANIZATION, events=[struct(event="drain", data_plane=there)]
            )
        )
        assert (list(plan.changes), plan.brake) == (list(preview.changes), preview.brake)
        (change,) = plan.changes
        assert (change.cell, change.old_data_planes, change.new_data_planes) == (
            CELL,
            [there],
            [other],
        )
        assert list((await decisions.GetDecision(asked)).data_planes) == [there]
        why = await decisions.ExplainDecision(
            decision_pb2.ExplainDecisionRequest(name=asked.name, data_plane=other)
        )
        assert why.answer.startswith(f"{other} is feasible, but {there} is better in stickiness")


@pytest.mark.asyncio
async def test_an_unplaceable_cell_is_told_what_would_help(world: World) -> None:
    """The rule, the data planes that it removed, and a change that places the Cell once made."""
    async with await world.agent("europe-1"):
        asked = placement_pb2.PlacementRequirement(
            selectors=[placement_pb2.LabelSelector(key="gold", operator="EXISTS")]
        )
        await world.model.put(CELL, {"web": "1"}, placement=asked)
        await world.model.until_condition(CELL, "Placed", "FALSE")
        explained = await world.client.decisions.ExplainDecision(
            decision_pb2.ExplainDecisionRequest(name=f"{CELL}/decision")
        )
        assert [(b.rule, list(b.data_planes)) for b in explained.blockers] == [
            ("SELECTOR", ["europe-1"])
        ]
        assert explained.advices[0].message == "label europe-1 gold=true"


@pytest.mark.asyncio
async def test_a_world_is_simulated_and_a_bad_one_refused_with_paths(world: World) -> None:
    """The RPC answers as the command line does; what is wrong is named by its path."""
    decisions = world.client.decisions
    answer = await decisions.SimulatePlacement(
        decision_pb2.SimulatePlacementRequest(
            parent=ORGANIZATION,
            world=struct(data_planes=[{"data_plane": "a"}], cells=[{"cell": "shop/dev"}]),
        )
    )
    assert dict(answer.steps[0]["placements"])["shop/dev"][0] == "a"
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await decisions.SimulatePlacement(
            decision_pb2.SimulatePlacementRequest(
                parent=ORGANIZATION, world=struct(data_planes=[{"date_plane": "a"}])
            )
        )
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
