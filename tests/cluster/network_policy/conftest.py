"""The engines' processes, and one town of real pods, which takes minutes: it is for full runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from cellplane.network_policy.compiler.flows import Flow
from cellplane.sandbox import machine
from cellplane.sandbox.build import Tool, build
from tests.cluster.network_policy.engines import Engine
from tests.cluster.network_policy.town import Town, town
from tests.golden.network_policy import world
from tests.golden.network_policy.test_table import TABLE

SCENES = [scene for scene in world.scenes() if "cilium" in scene.facts]


def flows_of(scene: world.Scene) -> list[Flow]:
    """Every flow of the table in this scene, each once."""
    return list({repr(c.flow): c.flow for c in world.checks(scene, TABLE)}.values())


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


@pytest.fixture(scope="session")
def cilium() -> Iterator[Engine]:
    """Cilium's own policy engine."""
    programs = asyncio.run(build([Tool.CILIUM_POLICY]))
    with Engine(programs[Tool.CILIUM_POLICY]) as engine:
        yield engine


@pytest.fixture(scope="session")
def cyclonus() -> Iterator[Engine]:
    """Cyclonus' evaluation of NetworkPolicy."""
    programs = asyncio.run(build([Tool.CYCLONUS]))
    with Engine(programs[Tool.CYCLONUS]) as engine:
        yield engine
