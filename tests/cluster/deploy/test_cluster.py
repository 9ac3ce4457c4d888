"""A real API server takes what the charts render, and the agent's role is enough and no more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from ruamel.yaml import YAML

from cellplane.agent.admission import ALLOWED
from cellplane.cell import labels
from cellplane.sandbox import cluster
from cellplane.sandbox.api import Answer, Api
from cellplane.sandbox.cluster import ClusterInfo
from cellplane.sandbox.crds import CrdSet
from tests.cluster.deploy.charts import (
    AGENT,
    CHARTS,
    CONTROL_PLANE,
    HERE,
    ROOT,
    Case,
    Helm,
    Object,
    cases,
    of_kind,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

NOT_SERVED = {"monitoring.coreos.com/v1"}
"""Of an operator whose schemas the sandbox does not have."""
WRITES = {"get", "list", "watch", "create", "patch", "delete"}
CELL = "cell-shop-dev-abcdefgh"
JOINED = HERE / "values" / AGENT / "joined.yaml"
DEADLINE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """How a kind is addressed."""

    plural: str
    namespaced: bool


Served = Mapping[tuple[str, str], Resource]
"""By API version and kind."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def info(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClusterInfo]:
    state = tmp_path_factory.mktemp("cluster") / "deploy"
    async with cluster.running("deploy", state, crds=frozenset(CrdSet), nodes=1) as ready:
        yield ready


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(info: ClusterInfo) -> AsyncIterator[Api]:
    async with Api(info.kubeconfig.read_text(encoding="utf-8")) as opened:
        for chart in (CONTROL_PLANE, AGENT):
            await opened.create("/api/v1/namespaces", _named("v1", "Namespace", chart))
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(api: Api) -> Served:
    """What the API server serves, by its own word."""
    groups = (await api.get("/apis"))["groups"]
    versions = ["v1", *(each["groupVersion"] for group in groups for each in group["versions"])]
    found: dict[tuple[str, str], Resource] = {}
    for version in versions:
        for each in (await api.get(_root(version)))["resources"]:
            if "/" not in each["name"]:
                found[version, each["kind"]] = Resource(
                    plural=each["name"], namespaced=each["namespaced"]
                )
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def agent(info: ClusterInfo, api: Api, served: Served, helm: Helm) -> AsyncIterator[Api]:
    """A client with the agent's own identity, role and guard."""
    objects = helm.render(AGENT, JOINED)
    kinds = ("ClusterRole", "ClusterRoleBinding", "ServiceAccount")
    guards = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
    for each in (each for kind in (*kinds, *guards) for each in of_kind(objects, kind)):
        await api.create(_collection(each, served), each)
    (account,) = of_kind(objects, "ServiceAccount")
    user = f"system:serviceaccount:{AGENT}:{account['metadata']['name']}"
    async with Api(cluster.user_kubeconfig(info, user, ("system:authenticated",))) as opened:
        deadline = time.monotonic() + DEADLINE
        # The API server learns of a new policy by a watch of its own.
        while (await _apply(opened, _config("default"), served, dry=True)).ok:
            assert time.monotonic() < deadline, "the admission policy was never enforced"
            await asyncio.sleep(0.1)
        yield opened


@pytest.mark.parametrize("case", cases("values"), ids=str)
async def test_an_api_server_accepts_every_object(
    api: Api, served: Served, helm: Helm, case: Case
) -> None:
    """Each rendered object passes a server-side dry run, with unknown fields refused."""
    refused: list[str] = []
    for each in helm.render(case.chart, case.values):
        if each["apiVersion"] in NOT_SERVED:
            continue
        query = "?dryRun=All&fieldValidation=Strict"
        answer = await api.call("POST", _collection(each, served) + query, each)
        if not answer.ok and answer.status != 409:
            refused.append(f"{each['kind']} {each['metadata']['name']}: {answer.body}")
    assert not refused


async def test_pods_meet_the_restricted_standard(api: Api, served: Served, helm: Helm) -> None:
    """A namespace that enforces the restricted standard admits the pods of both charts."""
    namespace = "restricted"
    await api.create(
        "/api/v1/namespaces",
        _named("v1", "Namespace", namespace, {"pod-security.kubernetes.io/enforce": "restricted"}),
    )
    account = _named("v1", "ServiceAccount", "default")
    await api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    for case in cases("values"):
        for each in of_kind(helm.render(case.chart, case.values), "Deployment"):
            spec = dict(each["spec"]["template"]["spec"])
            spec.pop("serviceAccountName")
            pod = {**_named("v1", "Pod", each["metadata"]["name"]), "spec": spec}
            answer = await api.call("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
            assert answer.ok, answer.body


async def test_the_role_grants_what_compilers_emit(served: Served, helm: Helm) -> None:
    """Each kind that a compiler emits for a Cell may be read, watched, applied and deleted."""
    (role,) = of_kind(helm.render(AGENT, JOINED), "ClusterRole")
    granted = {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    emitted = {(each["apiVersion"], each["kind"]) for each in _golden()}
    assert ("apps/v1", "Deployment") in emitted
    for version, kind in sorted(emitted):
        group = version.rpartition("/")[0]
        resource = served[version, kind].plural
        assert granted.get((group, resource), set()) >= WRITES, f"{version} {kind}"


async def test_the_role_is_no_wider_than_the_agent(served: Served, helm: Helm) -> None:
    """The role lets the agent write no kind that the agent itself would refuse."""
    (role,) = of_kind(helm.render(AGENT, JOINED), "ClusterRole")
    kinds = {
        (version.rpartition("/")[0], each.plural): kind for (version, kind), each in served.items()
    }
    for rule in (each for each in role["rules"] if "patch" in each["verbs"]):
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                assert kinds[group, resource] in ALLOWED[group]


async def test_an_api_server_accepts_what_compilers_emit(api: Api, served: Served) -> None:
    """Each object of the golden cases passes a server-side dry run, unknown fields refused."""
    golden = _golden()
    namespaces = {name for each in golden if (name := each["metadata"].get("namespace"))}
    for name in sorted(namespaces):
        await api.create("/api/v1/namespaces", _named("v1", "Namespace", name))
    refused: list[str] = []
    for each in golden:
        query = "?dryRun=All&fieldValidation=Strict"
        answer = await api.call("POST", _collection(each, served) + query, each)
        if not answer.ok and answer.status != 409:
            refused.append(f"{each['kind']} {each['metadata']['name']}: {answer.body['message']}")
    assert not refused


async def test_every_granted_resource_exists(served: Served, helm: Helm) -> None:
    """The role names no resource that no API serves: a misspelt one would grant nothing."""
    (role,) = of_kind(helm.render(AGENT, JOINED), "ClusterRole")
    known = {(version.rpartition("/")[0], each.plural) for (version, _), each in served.items()}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                assert (group, resource) in known


async def test_the_agent_applies_a_cell(api: Api, agent: Api, served: Served) -> None:
    """With its role alone the agent creates a Cell's namespace and objects, and removes them."""
    namespace = _named("v1", "Namespace", CELL)
    assert (await _apply(agent, namespace, served)).ok
    assert (await _apply(agent, _config(CELL), served)).ok
    path = f"/api/v1/namespaces/{CELL}/configmaps/settings"
    assert (await agent.call("GET", path)).ok
    assert (await agent.call("DELETE", path)).ok
    assert (await agent.call("DELETE", f"/api/v1/namespaces/{CELL}")).ok
    assert (await agent.call("GET", "/api/v1/nodes")).ok
    assert (await agent.call("GET", "/api/v1/pods")).ok
    assert (await agent.call("GET", "/api/v1/namespaces/kube-system")).ok


async def test_the_agent_stays_out_of_other_namespaces(agent: Api, served: Served) -> None:
    """Outside of namespaces of Cells the agent writes nothing, though its role names the kinds."""
    for answer in (
        await _apply(agent, _config("default"), served),
        await _apply(agent, _named("v1", "Namespace", "shop"), served),
        await agent.call("DELETE", "/api/v1/namespaces/cellplane"),
        await agent.call("DELETE", "/api/v1/namespaces/default/services/kubernetes"),
    ):
        assert answer.status == 403, answer.body
        assert "writes in namespaces of Cells only" in answer.body["message"]


async def test_the_agent_reads_no_secret(agent: Api) -> None:
    """Secrets, roles and pods' commands are out of reach, everywhere."""
    pods = f"/api/v1/namespaces/{CELL}/pods"
    for method, path in (
        ("GET", "/api/v1/secrets"),
        ("GET", f"/api/v1/namespaces/{CELL}/secrets/egress-client"),
        ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles"),
        ("DELETE", f"{pods}/some"),
        ("POST", f"{pods}/some/exec"),
        ("DELETE", "/api/v1/nodes/deploy-0"),
    ):
        assert (await agent.call(method, path)).status == 403, path


@pytest.mark.parametrize(
    ("chart", "values", "pods"),
    [(CONTROL_PLANE, "defaults", 5), (AGENT, "joined", 1)],
    ids=[CONTROL_PLANE, AGENT],
)
async def test_helm_installs_and_uninstalls(
    info: ClusterInfo, api: Api, helm: Helm, chart: str, values: str, pods: int
) -> None:
    """A release comes up whole, upgrades, and leaves nothing behind but the volumes' claims."""
    namespace = f"installed-{chart}"
    common = (f"--kubeconfig={info.kubeconfig}", f"--namespace={namespace}")
    file = f"--values={HERE / 'values' / chart / values}.yaml"
    folder = str(CHARTS / chart)
    for verb in ("install", "upgrade"):
        more = ("--create-namespace",) if verb == "install" else ()
        done = await asyncio.to_thread(
            helm.run, verb, "main", folder, file, "--wait", "--timeout=150s", *common, *more
        )
        assert done.returncode == 0, done.stderr
        assert "NOTES:" in done.stdout
    root = f"/api/v1/namespaces/{namespace}"
    async with asyncio.timeout(60):
        # What replaces its pod only once the old one is gone is not ready for a moment.
        while await _ready_pods(api, namespace) != pods:
            pass
    done = await asyncio.to_thread(helm.run, "uninstall", "main", "--wait", *common)
    assert done.returncode == 0, done.stderr
    assert not (await api.get(f"{root}/services"))["items"]
    claims = (await api.get(f"{root}/persistentvolumeclaims"))["items"]
    assert claims
    assert all(each["metadata"]["name"].endswith("-state") for each in claims)


async def _ready_pods(api: Api, namespace: str) -> int:
    found = (await api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments"))["items"]
    return sum(each["status"].get("readyReplicas", 0) for each in found)


def _golden() -> Sequence[Object]:
    """Every object of a Cell in what the compilers' golden cases expect."""
    found: list[Object] = []
    for path in sorted((ROOT / "tests" / "golden").rglob("*.yaml")):
        if path.name != "in.yaml":
            for document in YAML(typ="safe").load_all(path.read_text(encoding="utf-8")):
                _collect(document, found)
    return found


def _collect(value: Any, found: list[Object]) -> None:
    if isinstance(value, Mapping):
        metadata = value.get("metadata")
        if "apiVersion" in value and "kind" in value and isinstance(metadata, Mapping):
            if labels.OWNER in metadata.get("annotations", {}):
                found.append(value)
            return
        for each in value.values():
            _collect(each, found)
    elif isinstance(value, list):
        for each in value:
            _collect(each, found)


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _collection(each: Object, served: Served) -> str:
    resource = served[each["apiVersion"], each["kind"]]
    within = f"/namespaces/{each['metadata']['namespace']}" if resource.namespaced else ""
    return f"{_root(each['apiVersion'])}{within}/{resource.plural}"


async def _apply(api: Api, each: Object, served: Served, *, dry: bool = False) -> Answer:
    """Apply an object as the agent does: server-side, as the owner of its fields."""
    query = "?fieldManager=cellplane" + ("&dryRun=All" if dry else "")
    path = f"{_collection(each, served)}/{each['metadata']['name']}{query}"
    return await api.call("PATCH", path, each, content="application/apply-patch+yaml")


def _named(
    version: str, kind: str, name: str, own: Mapping[str, str] | None = None
) -> dict[str, Any]:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, **({"labels": dict(own)} if own else {})},
    }


def _config(namespace: str) -> dict[str, Any]:
    body = _named("v1", "ConfigMap", "settings")
    body["metadata"]["namespace"] = namespace
    return body
