"""What the sandbox promises about one running cluster."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cellplane.sandbox import cluster, processes
from cellplane.sandbox.api import Api
from cellplane.sandbox.cluster import ClusterInfo
from cellplane.sandbox.components import Component
from cellplane.sandbox.crds import ALL

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900)]

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
STATEFUL_SETS = "/apis/apps/v1/namespaces/default/statefulsets"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
PODS = "/api/v1/namespaces/default/pods"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def info(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ClusterInfo]:
    state = tmp_path_factory.mktemp("cluster") / "east"
    async with cluster.running("east", state, nodes=4, region="eu", zones=("a", "b")) as ready:
        yield ready


@pytest_asyncio.fixture(loop_scope="module")
async def api(info: ClusterInfo) -> AsyncIterator[Api]:
    async with Api(info.kubeconfig.read_text()) as opened:
        yield opened


async def test_every_component_runs(info: ClusterInfo) -> None:
    """A started cluster's components run, under the process ids that it was started with."""
    assert cluster.status(info.state) == info.pids
    assert set(info.pids) == set(Component)


async def test_nothing_listens_beyond_loopback(info: ClusterInfo) -> None:
    """The only TCP port of a cluster is the API server's, on 127.0.0.1."""
    sockets = {link for pid in info.pids.values() for link in _sockets(pid)}
    listening = [address for address, inode in _listening() if f"socket:[{inode}]" in sockets]
    assert listening == [f"0100007F:{info.port:04X}"]


async def test_secrets_are_the_owners_alone(info: ClusterInfo) -> None:
    """Nobody else on the machine can read a cluster's keys, nor enter its folder."""
    assert info.state.stat().st_mode & 0o077 == 0
    secrets = [info.kubeconfig, *(info.state / "pki").iterdir()]
    assert all(secret.stat().st_mode & 0o077 == 0 for secret in secrets)


async def test_nodes_carry_their_topology(api: Api) -> None:
    """Nodes are Ready, untainted, and dealt to the zones of their region in turn."""
    nodes = (await api.get("/api/v1/nodes"))["items"]
    labels = [node["metadata"]["labels"] for node in nodes]
    assert [each["topology.kubernetes.io/zone"] for each in labels] == ["a", "b", "a", "b"]
    assert {each["topology.kubernetes.io/region"] for each in labels} == {"eu"}
    assert not any(node["spec"].get("taints") for node in nodes)


async def test_pods_of_a_deployment_become_ready(api: Api) -> None:
    """A Deployment's pods are scheduled to fake nodes and become Ready, with addresses."""
    await api.create(DEPLOYMENTS, _workload("Deployment", "web", "shop/web:1", replicas=5))
    await _until(lambda: _has(api, f"{DEPLOYMENTS}/web", "readyReplicas", 5))
    pods = (await api.get(f"{PODS}?labelSelector=app%3Dweb"))["items"]
    assert len({pod["status"]["podIP"] for pod in pods}) == 5
    assert len({pod["spec"]["nodeName"] for pod in pods}) > 1


async def test_claims_of_a_stateful_set_are_bound(api: Api) -> None:
    """A StatefulSet's claims of the default class get volumes, and its pods become Ready."""
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    workload = _workload("StatefulSet", "db", "shop/db:1", replicas=2)
    workload["spec"] |= {"serviceName": "db", "volumeClaimTemplates": [claim]}
    await api.create(STATEFUL_SETS, workload)
    await _until(lambda: _has(api, f"{STATEFUL_SETS}/db", "readyReplicas", 2))
    claims = (await api.get("/api/v1/namespaces/default/persistentvolumeclaims"))["items"]
    assert {each["status"]["phase"] for each in claims} == {"Bound"}
    assert {each["spec"]["storageClassName"] for each in claims} == {"standard"}


async def test_jobs_complete(api: Api) -> None:
    """A Job's fake pod ends with success."""
    job = _workload("Job", "once", "shop/once:1", replicas=1)
    del job["spec"]["selector"], job["spec"]["replicas"]
    job["spec"]["template"]["spec"]["restartPolicy"] = "Never"
    await api.create(JOBS, job)
    await _until(lambda: _has(api, f"{JOBS}/once", "succeeded", 1))


@pytest.mark.parametrize(
    ("tag", "state"),
    [
        ("sandbox-missing", "ImagePullBackOff"),
        ("sandbox-crashing", "CrashLoopBackOff"),
        ("sandbox-unready", None),
    ],
)
async def test_an_images_tag_says_how_its_pods_fail(api: Api, tag: str, state: str | None) -> None:
    """Pods of an image with one of the sandbox's tags fail as the tag says, and stay unready."""
    await api.create(DEPLOYMENTS, _workload("Deployment", tag, f"shop/web:{tag}", replicas=1))
    selector = f"{PODS}?labelSelector=app%3D{tag}"

    async def reported() -> bool:
        pods = (await api.get(selector))["items"]
        return bool(pods) and "containerStatuses" in pods[0]["status"]

    await _until(reported)
    status = (await api.get(selector))["items"][0]["status"]
    container = status["containerStatuses"][0]
    assert container["state"].get("waiting", {}).get("reason") == state
    assert not container["ready"]
    assert {"Ready": "False"}.items() <= {
        each["type"]: each["status"] for each in status["conditions"]
    }.items()


@pytest.mark.parametrize(
    ("path", "kind", "spec", "complaint"),
    [
        (
            "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes",
            "HTTPRoute",
            {"rules": [{"matches": [{"path": {"type": "Nonsense", "value": "/"}}]}]},
            "Unsupported value",
        ),
        (
            "/apis/gateway.envoyproxy.io/v1alpha1/namespaces/default/securitypolicies",
            "SecurityPolicy",
            {"cors": {"allowOrigins": "everywhere"}},
            "must be of type array",
        ),
        (
            "/apis/cilium.io/v2/namespaces/default/ciliumnetworkpolicies",
            "CiliumNetworkPolicy",
            {
                "endpointSelector": {},
                "ingress": [{"toPorts": [{"ports": [{"port": "80", "protocol": "QUIC"}]}]}],
            },
            "Unsupported value",
        ),
        (
            "/apis/cert-manager.io/v1/namespaces/default/certificates",
            "Certificate",
            {"dnsNames": ["a.example"]},
            "Required value",
        ),
    ],
)
async def test_schemas_refuse_wrong_shapes(
    api: Api, path: str, kind: str, spec: dict[str, Any], complaint: str
) -> None:
    """An object that its project's schema forbids is refused, with the reason."""
    group, version = path.split("/")[2:4]
    answer = await api.call(
        "POST",
        path,
        {
            "apiVersion": f"{group}/{version}",
            "kind": kind,
            "metadata": {"name": "wrong"},
            "spec": spec,
        },
    )
    assert answer.status == 422, answer.body
    assert complaint in answer.body["message"]


async def test_audit_log_tells_who_wrote(info: ClusterInfo) -> None:
    """Each write of another user is in the audit log once, and none of its reads."""
    maps = "/api/v1/namespaces/default/configmaps"
    async with Api(cluster.user_kubeconfig(info, "auditor", ["system:masters"])) as api:
        await api.create(
            maps, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "audited"}}
        )
        await api.get(f"{maps}/audited")
    events = [json.loads(line) for line in info.audit_log.read_text().splitlines()]
    written = [
        (event["verb"], event["objectRef"]["name"])
        for event in events
        if event["user"]["username"] == "auditor"
    ]
    assert written == [("create", "audited")]


async def test_other_users_may_do_nothing(info: ClusterInfo) -> None:
    """A user without a role is known, and refused."""
    async with Api(cluster.user_kubeconfig(info, "nobody")) as api:
        answer = await api.call("GET", PODS)
    assert answer.status == 403


async def test_a_start_takes_over_and_keeps_objects(
    info: ClusterInfo, api: Api, tmp_path: Path
) -> None:
    """Starting in the folder of a crashed run replaces its processes and keeps its objects."""
    state = tmp_path / "stale"
    first = await cluster.start("stale", state, crds=frozenset())
    async with Api(first.kubeconfig.read_text()) as opened:
        await opened.create(
            "/api/v1/namespaces",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kept"}},
        )
    # As after a crash: some components are gone, the others never heard of it.
    await processes.end(state, [Component.API_SERVER, Component.KWOK])
    second = await cluster.start("stale", state, crds=ALL)
    try:
        assert not set(first.pids.values()) & set(second.pids.values())
        assert not any(_runs(pid) for pid in first.pids.values())
        async with Api(second.kubeconfig.read_text()) as opened:
            assert (await opened.call("GET", "/api/v1/namespaces/kept")).ok
    finally:
        await cluster.stop(state)
    assert not any(_runs(pid) for pid in second.pids.values())
    assert not state.exists()
    assert (await api.call("GET", "/readyz")).ok, "the other cluster went with it"


async def test_stop_leaves_no_volume_folder(tmp_path: Path) -> None:
    """The folders that the provisioner makes outside of the state folder go with the cluster."""
    async with cluster.running("volumes", tmp_path / "volumes", crds=frozenset()) as info:
        async with Api(info.kubeconfig.read_text()) as api:
            claims = "/api/v1/namespaces/default/persistentvolumeclaims"
            await api.create(
                claims,
                {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "metadata": {"name": "data"},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "resources": {"requests": {"storage": "1Gi"}},
                    },
                },
            )
            await _until(lambda: _has(api, f"{claims}/data", "phase", "Bound"))
            volumes = (await api.get("/api/v1/persistentvolumes"))["items"]
        folders = [Path(volume["spec"]["hostPath"]["path"]) for volume in volumes]
        assert all(folder.is_dir() for folder in folders)
        assert folders
    assert not any(folder.exists() for folder in folders)


def _workload(kind: str, name: str, image: str, *, replicas: int) -> dict[str, Any]:
    group = "batch/v1" if kind == "Job" else "apps/v1"
    return {
        "apiVersion": group,
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    }


async def _has(api: Api, path: str, field: str, value: object) -> bool:
    return bool((await api.get(path)).get("status", {}).get(field) == value)


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    began = time.monotonic()
    while not await holds():
        assert time.monotonic() - began < 60
        await asyncio.sleep(0.1)


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _listening() -> Iterator[tuple[str, str]]:
    """Address and inode of each TCP socket that listens, as the kernel prints them."""
    for table in ("tcp", "tcp6"):
        for fields in map(str.split, Path("/proc/net", table).read_text().splitlines()[1:]):
            if fields[3] == "0A":
                yield fields[1], fields[9]


def _sockets(pid: int) -> set[str]:
    links = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.add(str(descriptor.readlink()))
        except FileNotFoundError:  # closed in between
            continue
    return links
