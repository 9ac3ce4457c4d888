"""One town of real pods for all tests of this folder; it takes minutes, so it is for full runs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from cellplane.network_policy.compiler.flows import Flow
from cellplane.sandbox import machine
from tests.cluster.packets.town import Town, town
from tests.golden.network_policy import world
from tests.golden.network_policy.test_table import TABLE

SCENES = [scene for scene in world.scenes() if "ipv4" in scene.facts]


def flows_of(scene: world.Scene) -> list[Flow]:
    """Every flow of the table in this scene, each once; few kernels speak SCTP."""
    flows = {repr(check.flow): check.flow for check in world.checks(scene, TABLE)}
    return [flow for flow in flows.values() if flow.transport != "SCTP"]


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def people(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """Everyone of the table, at home; no policies."""
    if not os.environ.get("CELLPLANE_FULL"):
        pytest.skip("real packets need Cilium compiled: CELLPLANE_FULL=1 (make test-full)")
    try:
        machine.inspect()
    except machine.Unfit as unfit:
        pytest.skip(str(unfit))
    flows = [flow for scene in SCENES for flow in flows_of(scene)]
    state = tmp_path_factory.mktemp("packets") / "state"
    async with town(state, flows, SCENES[0].namespace) as made:
        yield made
