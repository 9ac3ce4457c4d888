"""The engines' processes, compiled once for each user of the machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from cellplane.sandbox.build import Tool, build
from tests.cluster.network_policy.engines import Engine


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
