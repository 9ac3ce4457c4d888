"""The real Cilium agent on a real node: its arguments, its files, and whether it works.

Its programs for the kernel are compiled from the sources in its own Go module. It routes pods by
their node's address and translates nothing, so that what is tried is policies and identities.
"""

import asyncio
import http.client
import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellplane.sandbox import fabric
from cellplane.sandbox.rooms import Room

PROGRAM = "cilium-agent"
PLUGIN = "cilium-cni"
NAMESPACE = "kube-system"
_SOCKET = "/run/cilium/cilium.sock"
_TIMEOUT = 10.0


def command(*, agent: Path, kubeconfig: Path, library: Path) -> Sequence[str | Path]:
    """The agent and its arguments. ``library`` holds the module's ``bpf`` folder."""
    return [
        agent,
        f"--k8s-kubeconfig-path={kubeconfig}",
        f"--lib-dir={library}",
        "--state-dir=/run/cilium",
        "--ipam=kubernetes",
        "--identity-allocation-mode=crd",
        "--routing-mode=native",
        f"--ipv4-native-routing-cidr={fabric.PODS}",
        "--auto-direct-node-routes=true",
        "--devices=eth0",
        "--enable-ipv6=false",
        "--enable-ipv4-masquerade=false",
        "--kube-proxy-replacement=false",
        # DNS is judged by the agent's own proxy; Envoy would judge what no policy here names.
        "--enable-l7-proxy=true",
        "--external-envoy-proxy=true",
        "--enable-envoy-config=false",
        "--enable-health-checking=false",
        "--enable-endpoint-health-checking=false",
        "--enable-hubble=false",
        # Nobody collects identities here: that is the operator's work.
        "--enable-cilium-endpoint-slice=false",
        "--cni-exclusive=false",
        "--prometheus-serve-addr=",
    ]


def environment(*, node: str, compiler: Path) -> Mapping[str, str]:
    """What the agent reads from its environment; ``compiler`` is a folder with ``clang``."""
    return {
        "K8S_NODE_NAME": node,
        "CILIUM_K8S_NAMESPACE": NAMESPACE,
        "PATH": f"{compiler}:/usr/sbin:/usr/bin:/sbin:/bin",
    }


def network() -> str:
    """The CNI configuration of a node whose agent works."""
    return json.dumps(
        {"cniVersion": "0.3.1", "name": "cilium", "plugins": [{"type": PLUGIN}]}, indent=2
    )


async def works(node: Room) -> bool:
    """Whether the agent says that all of it does."""
    status, body = await ask(node, "/v1/healthz")
    return status == http.client.OK and body["cilium"]["state"] == "Ok"


async def realized(node: Room, *, pods: int = 0) -> int:
    """The revision of policies that every pod of the node lives by; -1 while one does not yet.

    With ``pods``, -1 as long as there are fewer.
    """
    status, endpoints = await ask(node, "/v1/endpoint")
    own = [each for each in endpoints or () if _is_pods(each)]
    if status != http.client.OK or len(own) < pods:
        return -1
    revisions = [_revision(each) for each in own]
    return min(revisions, default=-1)


async def revision(node: Room) -> int:
    """The revision of the policies that the agent knows."""
    status, policy = await ask(node, "/v1/policy")
    return int(policy["revision"]) if status == http.client.OK else -1


async def ask(node: Room, path: str) -> tuple[int, Any]:
    """Ask the agent's own API; status 0 where nobody answers."""
    return await asyncio.to_thread(_ask, node.path(_SOCKET), path)


def _is_pods(endpoint: Mapping[str, Any]) -> bool:
    return bool(endpoint["status"]["external-identifiers"].get("pod-name"))


def _revision(endpoint: Mapping[str, Any]) -> int:
    status = endpoint["status"]
    if status["state"] != "ready":
        return -1
    return int(status["policy"]["realized"].get("policy-revision", -1))


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(str(self._path))


def _ask(socket_path: Path, path: str) -> tuple[int, Any]:
    connection = _Connection(socket_path)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return 0, None
    finally:
        connection.close()
    try:
        return answer.status, json.loads(body)
    except ValueError:
        return answer.status, None
