"""The programs of one cluster, and their arguments.

Everything listens on loopback or on a socket in the state folder, and works for one user of one
machine: no leader is elected, and nothing is written to disk with more care than a test needs.
"""

import os
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from cellplane.sandbox.build import Tool
from cellplane.sandbox.credentials import Authority

_DATA = Path(__file__).parent

ETCD_SOCKET = "etcd:1"
"""Relative to the state folder, whose path may be too long for a socket; etcd insists on a port."""

_PEER_SOCKET = "etcd:2"

POD_CIDR = "10.244.0.1/16"
SERVICE_CIDR = "10.96.0.0/16"


class Component(StrEnum):
    """One process of a cluster, in the order of starting."""

    ETCD = "etcd"
    API_SERVER = "kube-apiserver"
    CONTROLLER_MANAGER = "kube-controller-manager"
    SCHEDULER = "kube-scheduler"
    KWOK = "kwok"


def environment(state: Path) -> Mapping[str, str]:
    """What the programs see: nothing of the user's settings, proxies or home."""
    return {
        "PATH": os.defpath,
        "HOME": str(state),
        # Memory for time: with many schemas, a start is mostly the API server's work.
        "GOGC": "400",
    }


def client(component: Component) -> Path:
    """The component's kubeconfig, relative to the state folder."""
    return Path("pki", f"{component}.kubeconfig")


def command(
    component: Component, programs: Mapping[Tool, Path], authority: Authority, *, port: int
) -> Sequence[str | Path]:
    """The program and its arguments; it is started in the state folder.

    ``KUBEBUILDER_ASSETS`` names a folder whose etcd and kube-apiserver are used instead of ours.
    """
    match component:
        case Component.KWOK:
            return [programs[Tool.KWOK], *_kwok()]
        case Component.ETCD:
            arguments = _etcd()
        case Component.API_SERVER:
            arguments = _api_server(authority, port)
        case Component.CONTROLLER_MANAGER:
            arguments = _controller_manager(authority)
        case Component.SCHEDULER:
            arguments = [
                f"--kubeconfig={client(component)}",
                "--leader-elect=false",
                "--secure-port=0",
                *_GENEROUS,
            ]
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets and component in (Component.ETCD, Component.API_SERVER):
        return [Path(assets, component), *arguments]
    return [programs[Tool.CLUSTER], component, *arguments]


_GENEROUS = ("--kube-api-qps=500", "--kube-api-burst=1000")
"""The defaults protect large clusters, and would delay small ones."""


def _etcd() -> Sequence[str]:
    return [
        "--name=sandbox",
        "--data-dir=etcd",
        "--unsafe-no-fsync",
        f"--listen-client-urls=unix://{ETCD_SOCKET}",
        f"--advertise-client-urls=unix://{ETCD_SOCKET}",
        f"--listen-peer-urls=unix://{_PEER_SOCKET}",
        f"--initial-advertise-peer-urls=unix://{_PEER_SOCKET}",
        f"--initial-cluster=sandbox=unix://{_PEER_SOCKET}",
        "--quota-backend-bytes=8589934592",
        "--log-level=warn",
    ]


def _api_server(authority: Authority, port: int) -> Sequence[str]:
    certificate, key = authority.server()
    return [
        f"--etcd-servers=unix://{ETCD_SOCKET}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        # Nothing reaches the API server through its Service, and loopback is no valid endpoint.
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        f"--client-ca-file={authority.certificate}",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        "--allow-privileged=true",
        # Fake nodes are born Ready; this would taint them until a controller has looked at them.
        "--disable-admission-plugins=TaintNodesByCondition",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={authority.service_account_key}",
        f"--service-account-signing-key-file={authority.service_account_key}",
        f"--audit-policy-file={_DATA / 'audit.yaml'}",
        "--audit-log-path=audit.log",
        "--audit-log-mode=blocking",
        "--profiling=false",
    ]


def _controller_manager(authority: Authority) -> Sequence[str]:
    return [
        f"--kubeconfig={client(Component.CONTROLLER_MANAGER)}",
        "--leader-elect=false",
        "--secure-port=0",
        f"--root-ca-file={authority.certificate}",
        f"--cluster-signing-cert-file={authority.certificate}",
        f"--cluster-signing-key-file={authority.key}",
        f"--service-account-private-key-file={authority.service_account_key}",
        # One identity for all controllers: an account and a token for each would cost a second.
        "--use-service-account-credentials=false",
        # Binds claims of the default StorageClass to empty folders; no pod ever opens them.
        "--enable-hostpath-provisioner=true",
        *_GENEROUS,
    ]


def _kwok() -> Sequence[str]:
    return [
        f"--kubeconfig={client(Component.KWOK)}",
        f"--config={_DATA / 'stages.yaml'}",
        # The fake ones: a real node has a kubelet.
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        f"--cidr={POD_CIDR}",
        "--node-lease-duration-seconds=40",
        "--node-port=0",
    ]
