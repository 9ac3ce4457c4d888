"""Every object that the compiler emits, taken by a real API server with the projects' schemas."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from cellplane.sandbox import cluster
from cellplane.sandbox.api import Api
from cellplane.sandbox.cluster import ClusterInfo
from cellplane.sandbox.crds import CrdSet
from tests.golden import cases
from tests.golden.network_policy import world
from tests.golden.network_policy.test_network_policy import CASES, compile_case

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

PLURALS: Mapping[str, str] = {
    "AuthorizationPolicy": "authorizationpolicies",
    "CiliumNetworkPolicy": "ciliumnetworkpolicies",
    "NetworkPolicy": "networkpolicies",
    "PeerAuthentication": "peerauthentications",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def info(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClusterInfo]:
    """A cluster that knows the schemas of Cilium and Istio."""
    state = tmp_path_factory.mktemp("cluster") / "east"
    crds = frozenset({CrdSet.CILIUM, CrdSet.ISTIO})
    async with cluster.running("east", state, crds=crds, nodes=1) as ready:
        yield ready


async def test_the_api_server_takes_every_policy(info: ClusterInfo) -> None:
    """No field is unknown, of another type or against a rule of its schema."""
    bodies: dict[str, Mapping[str, Any]] = {}
    for scene in (*world.scenes(), *world.scenes(meshed=True)):
        bodies |= {repr(body): body for body in scene.objects}
    for folder in CASES:
        for provider in world.PROVIDERS:
            _, compiled = compile_case(folder, provider)
            bodies |= {repr(body): body for body in cases.bodies(compiled.manifests)}
    refused: list[str] = []
    kinds: set[str] = set()
    async with Api(info.kubeconfig.read_text()) as api:
        for body in bodies.values():
            kinds.add(body["kind"])
            plural = PLURALS[body["kind"]]
            path = f"/apis/{body['apiVersion']}/namespaces/default/{plural}"
            asked = dict(body) | {"metadata": {**body["metadata"], "namespace": "default"}}
            query = "?dryRun=All&fieldValidation=Strict"
            answer = await api.call("POST", path + query, asked)
            if answer.status != 201:
                refused.append(f"{body['kind']} {body['metadata']['name']}: {answer.body}")

    assert refused == []
    assert kinds == set(PLURALS)
