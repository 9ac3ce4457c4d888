"""Why Cells cannot be placed, asked of the service that runs: ten causes at once."""

from __future__ import annotations

from typing import Any

import pytest

from cellplane.api.placement.v1 import decision_pb2
from cellplane.api.type.v1 import placement_pb2
from tests.service.placement.test_capacity import has
from tests.service.placement.world import World, cell_name, settled

REGION = "topology.kubernetes.io/region"


def label(key: str, *values: str) -> placement_pb2.LabelSelector:
    """A label with one of these values, or with any."""
    operator = "IN" if values else "EXISTS"
    return placement_pb2.LabelSelector(key=key, operator=operator, values=values)


CAUSES: dict[str, dict[str, Any]] = {
    "selector": {"selectors": [label("gold")]},
    "excluded": {"excluded_data_planes": ["east", "west"]},
    "capability": {"capabilities": ["mtls"]},
    "tier": {"tiers": [placement_pb2.Tier(selectors=[label("tier", "first")])]},
    "topology": {"spreads": [placement_pb2.Spread(topology_key="rack", min_groups=1)]},
    "near": {"affinities": [placement_pb2.Affinity(cell="nobody")]},
    "too_few": {"copies": 5},
    "regions": {"copies": 2, "spreads": [placement_pb2.Spread(topology_key=REGION, min_groups=2)]},
    "version": {
        "selectors": [
            placement_pb2.LabelSelector(
                key="kubernetes_version", operator="AT_LEAST", values=["v1.40"], source="FIELD"
            )
        ]
    },
    "capacity": {"cpu": "5"},
    "fact": {
        "selectors": [
            placement_pb2.LabelSelector(
                key="free_cpu_millis", operator="AT_LEAST", values=["3000"], source="FACT"
            )
        ]
    },
}
EXPECTED = {
    "selector": ("SELECTOR", "label east gold=true"),
    "excluded": ("EXCLUDED", "do not exclude east"),
    "capability": ("CAPABILITY", "give east mtls"),
    "tier": ("TIER", "ask for no tiers"),
    "topology": ("TOPOLOGY", "label east rack=east-group"),
    "near": ("NEAR", "do not be near nobody"),
    "too_few": ("", "ask for 2 instead of 5 copies"),
    "regions": ("", f"spread over 1 groups of {REGION} instead of 2"),
    "version": ("SELECTOR", "do not ask for kubernetes_version at least v1.40"),
    "capacity": ("CAPACITY", "free 4000 cpu_millis on east"),
    "fact": ("SELECTOR", "do not ask for free_cpu_millis at least 3000"),
}


@pytest.mark.asyncio
async def test_each_cause_is_named_with_the_smallest_change_that_helps(world: World) -> None:
    """Of each Cell: the rule, the data planes that it removed, and a change that was tried."""
    async with has(await world.agent("east"), cpu=1000), has(await world.agent("west"), cpu=2000):
        both = cell_name("both")
        await settled(world, both, await world.model.put(both, {"web": "1"}, copies=2))
        for cause, asked in CAUSES.items():
            fields = dict(asked)
            cpu, copies = fields.pop("cpu", ""), fields.pop("copies", 1)
            await world.model.put(
                cell_name(cause.replace("_", "-")),
                {"web": "1"},
                copies=copies,
                cpu=cpu,
                placement=placement_pb2.PlacementRequirement(**fields),
            )
        found: dict[str, tuple[str, str]] = {}
        for cause in CAUSES:
            cell = cell_name(cause.replace("_", "-"))
            await world.model.until_condition(cell, "Placed", "FALSE")
            said = await world.client.decisions.ExplainDecision(
                decision_pb2.ExplainDecisionRequest(name=f"{cell}/decision")
            )
            blocker = said.blockers[0] if said.blockers else None
            if blocker is not None:
                assert list(blocker.data_planes) == ["east", "west"]
            found[cause] = (blocker.rule if blocker else "", said.advices[0].message)
        assert found == EXPECTED
