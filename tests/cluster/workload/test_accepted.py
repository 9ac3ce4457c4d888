"""Every object that types make, taken by a real API server with the projects' schemas."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cellplane.cell.definition import MADE_BY_TYPES
from cellplane.cli.documents.load import load
from cellplane.cli.offline import cells
from cellplane.cli.offline.rendering import PLANE, outcomes
from cellplane.model.workload.compile import compile as compile_workloads
from cellplane.sandbox import cluster
from cellplane.sandbox.api import Api
from cellplane.sandbox.cluster import ClusterInfo
from cellplane.sandbox.crds import CrdSet
from tests.golden import cases

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[3]
CASES = cases.folders(ROOT / "tests/golden/workload")
MADE = sorted({kind for kinds in MADE_BY_TYPES.values() for kind in kinds})
# No component asks for a claim beside those of a StatefulSet; passwords are of managed resources.
UNUSED = {"PersistentVolumeClaim", "Password"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def info(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClusterInfo]:
    """A cluster that knows the schemas of External Secrets and KEDA."""
    state = tmp_path_factory.mktemp("cluster") / "east"
    crds = frozenset({CrdSet.EXTERNAL_SECRETS, CrdSet.KEDA})
    async with cluster.running("east", state, crds=crds, nodes=1) as ready:
        yield ready


def bodies() -> list[Mapping[str, Any]]:
    """What golden cases and samples become, without what belongs to a whole Cell."""
    found: dict[str, Mapping[str, Any]] = {}
    for folder in CASES:
        case = cases.case_of(cases.load(folder / "in.yaml"))
        compiled = compile_workloads(case.cell, PLANE, case.peers, include_frame=False)
        found |= {repr(body): body for body in cases.bodies(compiled.manifests)}
    names = ["web-service.yaml", "traits.yaml", "examples/shop.yaml"]
    world = cells.World(load([str(ROOT / "samples/types" / name) for name in names], "acme"))
    for outcome in outcomes(world, "development", PLANE):
        found |= {str(m.key): json.loads(m.content) for m in outcome.manifests}
    return list(found.values())


async def test_the_api_server_takes_every_object(info: ClusterInfo) -> None:
    """No field is unknown, of another type or against a rule of its schema."""
    refused: list[str] = []
    kinds: set[str] = set()
    async with Api(info.kubeconfig.read_text()) as api:
        for body in bodies():
            kinds.add(body["kind"])
            root = "/api/v1" if body["apiVersion"] == "v1" else f"/apis/{body['apiVersion']}"
            path = f"{root}/namespaces/default/{body['kind'].lower()}s"
            asked = dict(body) | {"metadata": {**body["metadata"], "namespace": "default"}}
            query = "?dryRun=All&fieldValidation=Strict"
            answer = await api.call("POST", path + query, asked)
            if answer.status != 201:
                refused.append(f"{body['kind']} {body['metadata']['name']}: {answer.body}")

    assert refused == []
    assert kinds == set(MADE) - UNUSED
