"""PURE: what a cluster is and has, from its nodes and APIs.

Requested amounts are rounded up to twentieths of what there is, so that one more pod is no news.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cellplane.agent import quantity
from cellplane.agent.target import Facts
from cellplane.cell.manifest import canonical, digest
from cellplane.cell.plane import (
    CERT_MANAGER,
    CILIUM_POLICY,
    ENVOY_GATEWAY,
    EXTERNAL_SECRETS,
    GATEWAY,
    KUBERNETES_POLICY,
    Enforcement,
)

FOLDER_CAPABILITIES: Final = (CERT_MANAGER, GATEWAY, ENVOY_GATEWAY, KUBERNETES_POLICY)
"""What a folder can do if nobody says otherwise."""

_BY_GROUP: Final = {
    "networking.k8s.io": KUBERNETES_POLICY,
    "gateway.networking.k8s.io": GATEWAY,
    "gateway.envoyproxy.io": ENVOY_GATEWAY,
    "cert-manager.io": CERT_MANAGER,
}
_BY_API: Final = {"cilium.io/v2": CILIUM_POLICY, "external-secrets.io/v1": EXTERNAL_SECRETS}
_SUGGESTED: Final = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")
_STEPS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What the agent keeps of a node."""

    ready: bool
    fake: bool
    cpu_millis: int
    memory_bytes: int
    labels: Mapping[str, str]


def read_node(body: Mapping[str, Any]) -> Node:
    """Take out of a node what matters."""
    metadata, status = body.get("metadata", {}), body.get("status", {})
    offered = status.get("allocatable") or {}
    own = metadata.get("labels") or {}
    conditions = status.get("conditions") or ()
    usable = not body.get("spec", {}).get("unschedulable", False)
    return Node(
        ready=usable and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions),
        fake=(metadata.get("annotations") or {}).get("kwok.x-k8s.io/node") == "fake",
        cpu_millis=quantity.millis(offered.get("cpu")),
        memory_bytes=quantity.whole(offered.get("memory")),
        labels={name: own[name] for name in _SUGGESTED if name in own},
    )


def capabilities_of(apis: Iterable[str]) -> tuple[str, ...]:
    """Say what a cluster can do that serves these APIs, sorted."""
    found: set[str] = set()
    for api in apis:
        group = api.rpartition("/")[0]
        if not group:
            continue
        found.add(f"api/{api}")
        if group in _BY_GROUP:
            found.add(_BY_GROUP[group])
        if api in _BY_API:
            found.add(_BY_API[api])
    return tuple(sorted(found))


def facts_of(
    nodes: Iterable[Node],
    *,
    version: str,
    capabilities: Iterable[str],
    enforcement: Enforcement,
    labels: Mapping[str, str],
    requested_cpu_millis: int,
    requested_memory_bytes: int,
) -> Facts:
    """Add up what there is. Without *enforcement*, fake nodes alone say that it is simulated."""
    every = list(nodes)
    ready = [node for node in every if node.ready]
    if enforcement is Enforcement.UNSPECIFIED and every and all(node.fake for node in every):
        enforcement = Enforcement.SIMULATED
    cpu = sum(node.cpu_millis for node in ready)
    memory = sum(node.memory_bytes for node in ready)
    return Facts(
        kubernetes_version=version,
        enforcement=enforcement,
        capabilities=tuple(sorted(set(capabilities))),
        labels={**_shared_labels(every), **labels},
        node_count=len(ready),
        allocatable_cpu_millis=cpu,
        allocatable_memory_bytes=memory,
        requested_cpu_millis=_stepped(requested_cpu_millis, cpu),
        requested_memory_bytes=_stepped(requested_memory_bytes, memory),
    )


def digest_of(facts: Facts) -> str:
    """Digest facts, so that both sides know whether they mean the same."""
    return digest(
        canonical(
            {
                "kubernetesVersion": facts.kubernetes_version,
                "enforcement": facts.enforcement.value,
                "capabilities": list(facts.capabilities),
                "labels": dict(facts.labels),
                "numbers": [
                    facts.node_count,
                    facts.allocatable_cpu_millis,
                    facts.allocatable_memory_bytes,
                    facts.requested_cpu_millis,
                    facts.requested_memory_bytes,
                ],
            }
        )
    )


def _shared_labels(nodes: list[Node]) -> dict[str, str]:
    """Labels that say the same on every node, such as the region."""
    if not nodes:
        return {}
    first = nodes[0].labels
    return {
        name: value
        for name, value in first.items()
        if all(node.labels.get(name) == value for node in nodes)
    }


def _stepped(amount: int, whole: int) -> int:
    step = max(1, whole // _STEPS)
    return -(-amount // step) * step
