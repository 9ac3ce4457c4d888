"""Helm for all tests of this folder."""

from __future__ import annotations

import asyncio

import pytest

from cellplane.sandbox.build import Tool, build
from tests.cluster.deploy.charts import Helm


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    programs = asyncio.run(build([Tool.HELM]))
    return Helm(program=programs[Tool.HELM], home=tmp_path_factory.mktemp("helm"))
