"""Envoy Gateway itself, with the account and the files that its pod would have.

It reads fixed paths, so it runs in a root of its own: a folder with its binary and nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellplane.sandbox import processes
from cellplane.sandbox.api import Api
from cellplane.sandbox.cluster import ClusterInfo
from cellplane.sandbox.waiting import until

NAMESPACE = "envoy-gateway-system"
PROGRAM = "envoy-gateway"
_ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"
_CONFIGURATION = {
    "apiVersion": "gateway.envoyproxy.io/v1alpha1",
    "kind": "EnvoyGateway",
    "gateway": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
    # Proxies live in the namespace of their Gateway: a Cell's egress gateway in the Cell's own.
    "provider": {
        "type": "Kubernetes",
        "kubernetes": {
            "deploy": {"type": "GatewayNamespace"},
            "leaderElection": {"disable": True},
        },
    },
    "extensionApis": {"enableBackend": True},
    "logging": {"level": {"default": "warn"}},
}


async def start(info: ClusterInfo, api: Api, program: Path, *, roots: bytes, hosts: Path) -> None:
    """Start it, and wait until it listens. ``roots`` are the authorities that it trusts."""
    state = info.state / "controller"
    root = state / "root"
    for folder in (_ACCOUNT, "certs", "tmp", "etc/ssl/certs"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(program, root / PROGRAM)
    # The same file: names that are added later are known here too.
    os.link(hosts, root / "etc/hosts")
    (root / "etc/ssl/certs/ca-certificates.crt").write_bytes(roots)
    (root / "config.yaml").write_text(json.dumps(_CONFIGURATION))
    await _account(api, info, root)
    environment = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(info.port),
        "ENVOY_GATEWAY_NAMESPACE": NAMESPACE,
        "ENVOY_POD_NAME": PROGRAM,
        "HOME": "/tmp",
    }
    await _certificates(root, environment)
    secret = await api.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/envoy-gateway")
    for name, value in secret["data"].items():
        (root / "certs" / name).write_bytes(base64.b64decode(value))
    processes.spawn(
        PROGRAM,
        ["chroot", root, f"/{PROGRAM}", "server", "--config-path", "/config.yaml"],
        info.state,
        environment=_with_path(environment),
        detached=False,
    )
    await until(info.state, PROGRAM, "it serves xDS", functools.partial(_open, 18000))


async def _account(api: Api, info: ClusterInfo, root: Path) -> None:
    await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    accounts = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
    await api.create(accounts, {"metadata": {"name": PROGRAM}})
    await api.create(
        "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
        {
            "metadata": {"name": PROGRAM},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{"kind": "ServiceAccount", "name": PROGRAM, "namespace": NAMESPACE}],
        },
    )
    answer = await api.call("POST", f"{accounts}/{PROGRAM}/token", {"spec": {}})
    assert answer.ok, answer.body
    kubeconfig = json.loads(info.kubeconfig.read_text())
    authority = kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]
    account = root / _ACCOUNT
    (account / "token").write_text(answer.body["status"]["token"])
    (account / "ca.crt").write_bytes(base64.b64decode(authority))
    (account / "namespace").write_text(NAMESPACE)


async def _certificates(root: Path, environment: Mapping[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *("chroot", root, f"/{PROGRAM}", "certgen", "--disable-topology-injector"),
        env=_with_path(environment),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


def _with_path(environment: Mapping[str, str]) -> dict[str, Any]:
    return {"PATH": os.environ["PATH"], **environment}


async def _open(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return False
    writer.close()
    return True
