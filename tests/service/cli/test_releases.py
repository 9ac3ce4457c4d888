"""Promotions by the command line: what it shows at each gate, and what is told afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.service.cli.conftest import Answer

Run = Callable[..., Answer]
PLATFORM = """
kind: DeploymentPipeline
name: deploymentPipelines/careful
roles: [{role: managers, members: [users/admin]}]
promotionPaths:
  - sourceEnvironment: environments/development
    targetEnvironments: [environments/staging]
    gates: [{gate: managers, approval: {role: managers, allowRequester: true}}]
---
kind: Project
name: projects/careful
deploymentPipeline: deploymentPipelines/careful
---
kind: Component
name: projects/careful/components/web
componentKind: SERVICE
workload: {image: "web:%d"}
endpoints: [{endpoint: http, protocol: HTTP, port: 80}]
"""
STEP = ("careful", "--from=development", "--to=staging")


@pytest.fixture
def careful(cellplane: Run, samples: object, tmp_path: Path) -> Iterator[Callable[[int], None]]:
    """A project whose way to staging has a gate; called, it has another image."""
    del samples
    file = tmp_path / "careful.yaml"

    def apply(image: int) -> None:
        file.write_text(PLATFORM % image)
        done = cellplane("apply", "-f", file)
        assert done.code == 0, done.err

    apply(1)
    yield apply
    assert cellplane("delete", "project", "careful", "--force").code == 0
    assert cellplane("delete", "pipeline", "careful").code == 0


def test_a_release_goes_through_its_gate_and_back(
    cellplane: Run, careful: Callable[[int], None]
) -> None:
    """Each answer says how the gates stand and who may act; the history says who did what."""
    plan = cellplane("promote", *STEP, "--dry-run")
    name = cellplane("promote", *STEP, "--reason=spring", "-o", "name").out.strip()
    short = name.split("/", 2)[2].replace("projects/", "").replace("promotions/", "")
    slow = cellplane("promote", *STEP, "--wait", "--timeout=1s")
    refused = cellplane("refuse", name, "--reason=too early")
    again = cellplane("refuse", name)
    name = cellplane("promote", *STEP, "--reason=spring", "-o", "name").out.strip()
    approved = cellplane("approve", name, "--reason=tested", "-o", "json")
    ended = cellplane("wait", "promotion", name, "--timeout=60s")
    careful(2)
    differs = cellplane("diff", "careful", "--from=development", "--to=staging")
    releases = cellplane("get", "releases", "careful/web", "-o", "name").out.split()
    between = cellplane("diff", *releases)
    back = cellplane("rollback", "careful", "-e", "staging", "--reason=it burns")
    told = cellplane("history", "component/careful/web", "--releases").out.splitlines()
    there = cellplane("history", "environment/staging", "--releases", "-o", "json").out
    nowhere = cellplane("rollback", "careful", "-e", "staging", "-r", "web/r-0000000000")

    assert "opens   " in plan.out
    assert "manifests" in plan.out
    assert "users/admin" in plan.out
    assert short.startswith("careful/p-")
    assert (slow.code, "0 of 1 approvals" in slow.err) == (6, True)
    assert refused.out.splitlines()[0].endswith("refused")
    assert "users/admin refused: too early" in refused.out
    assert (again.code, "is REFUSED" in again.err) == (1, True)
    assert json.loads(approved.out)["decisions"][0]["reason"] == "tested"
    assert ended.code == 0, ended.err
    assert (differs.code, between.code) == (8, 8)
    assert "-image: web:1" in differs.out.replace("  ", "")
    assert back.out.splitlines()[0].startswith("rollback r-")
    assert back.out.splitlines()[0].endswith("succeeded")
    assert [line.split()[2:4] for line in told[1:]] == [
        ["careful/web", "staging"],
        ["careful/web", "development"],
        ["careful/web", "staging"],
        ["careful/web", "development"],
    ]
    assert "(taken away)" in told[1]
    assert "it burns" in told[1]
    assert "spring" in told[3]
    assert {c["environment"].rsplit("/", 1)[-1] for c in json.loads(there)} == {"staging"}
    assert (nowhere.code, "is not kept" in nowhere.err) == (1, True)
