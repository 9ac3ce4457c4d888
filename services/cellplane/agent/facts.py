"""PURE: what a cluster is and has, from its nodes and APIs.

Requested amounts are rounded to twentieths of what there is, so that one more pod is no news: up,
and down where it is what Cells have more than they were decided to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cellplane.agent import quantity
from cellplane.agent.target import Facts, ResourceFacts
from cellplane.cell.manifest import canonical, digest
from cellplane.cell.plane import (
    CERT_MANAGER,
    CILIUM_POLICY,
    ENVOY_GATEWAY,
    EXTERNAL_SECRETS,
    GATEWAY,
    KEDA,
    KUBERNETES_POLICY,
    Enforcement,
)

FOLDER_CAPABILITIES: Final = (CERT_MANAGER, GATEWAY, ENVOY_GATEWAY, KUBERNETES_POLICY)
"""What a folder can do if nobody says otherwise."""

_DIGEST: Final = 32
"""Digits of a digest of facts."""
_BY_GROUP: Final = {
    "networking.k8s.io": KUBERNETES_POLICY,
    "gateway.networking.k8s.io": GATEWAY,
    "gateway.envoyproxy.io": ENVOY_GATEWAY,
    "cert-manager.io": CERT_MANAGER,
}
_BY_API: Final = {
    "cilium.io/v2": CILIUM_POLICY,
    "external-secrets.io/v1": EXTERNAL_SECRETS,
    "keda.sh/v1alpha1": KEDA,
}
_SUGGESTED: Final = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")
_STEPS: Final = 20
_NATIVE: Final = {
    "cpu": ("cpu_millis", quantity.millis),
    "memory": ("memory_bytes", quantity.whole),
}
_UNCOUNTED: Final = ("pods", "ephemeral-storage", "hugepages-")
"""Of what nodes offer, what Cells do not ask for."""

Amounts = Mapping[str, int]
"""Amounts by resource; see the contract's ``ResourceFacts``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What the agent keeps of a node."""

    ready: bool
    fake: bool
    amounts: Amounts
    labels: Mapping[str, str]
    provider: str = ""


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
        amounts={"cpu_millis": 0, "memory_bytes": 0} | _amounts(offered),
        labels={name: own[name] for name in _SUGGESTED if name in own},
        provider=str(body.get("spec", {}).get("providerID", "")).partition("://")[0],
    )


def requested(body: Mapping[str, Any]) -> dict[str, int]:
    """What a pod is counted for, by resource; nothing once it is done.

    The sum of its containers, or its largest init container with the sidecars that started before
    it, whichever is more, and its overhead. Source: Kubernetes, "Pod overhead" and KEP-753.
    """
    spec: Mapping[str, Any] = body.get("spec", {})
    if body.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return {}
    running: dict[str, int] = {}
    starting: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        asked = _asked(container)
        if container.get("restartPolicy") == "Always":
            running = total([running, asked])
        most = running if container.get("restartPolicy") == "Always" else total([running, asked])
        starting = {n: max(starting.get(n, 0), most.get(n, 0)) for n in {*starting, *most}}
    running = total([running, *(_asked(c) for c in spec.get("containers") or ())])
    peak = {n: max(running.get(n, 0), starting.get(n, 0)) for n in {*running, *starting}}
    return total([peak, _amounts(spec.get("overhead") or {})])


def total(amounts: Iterable[Amounts]) -> dict[str, int]:
    """The sum by resource."""
    found: dict[str, int] = {}
    for one in amounts:
        for name, amount in one.items():
            found[name] = found.get(name, 0) + amount
    return found


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
    cells: Amounts,
    others: Amounts,
) -> Facts:
    """Add up what there is. Without *enforcement*, fake nodes alone say that it is simulated.

    *cells* is what the pods of Cells request, *others* what all other pods do.
    """
    every = list(nodes)
    ready = [node for node in every if node.ready]
    if enforcement is Enforcement.UNSPECIFIED and every and all(node.fake for node in every):
        enforcement = Enforcement.SIMULATED
    most = total(node.amounts for node in ready)
    for name in ("cpu_millis", "memory_bytes"):
        most.setdefault(name, 0)
    asked = {n: _stepped(cells.get(n, 0) + others.get(n, 0), most[n]) for n in most}
    return Facts(
        kubernetes_version=version,
        enforcement=enforcement,
        capabilities=tuple(sorted(set(capabilities))),
        labels={**_shared_labels(every), **labels},
        node_count=len(ready),
        allocatable_cpu_millis=most["cpu_millis"],
        allocatable_memory_bytes=most["memory_bytes"],
        requested_cpu_millis=asked["cpu_millis"],
        requested_memory_bytes=asked["memory_bytes"],
        provider=_shared_provider(every),
        resources=tuple(
            ResourceFacts(
                resource=name,
                allocatable=amount,
                cells_requested=_stepped_down(cells.get(name, 0), amount),
                others_requested=_stepped(others.get(name, 0), amount),
            )
            for name, amount in sorted(most.items())
        ),
    )


def digest_of(facts: Facts) -> str:
    """Digest facts, so that both sides know whether they mean the same.

    Half a digest does for that, and goes over the wire at each connection, both ways.
    """
    whole = digest(
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
                "provider": facts.provider,
                "resources": [
                    [r.resource, r.allocatable, r.cells_requested, r.others_requested]
                    for r in facts.resources
                ],
            }
        )
    )
    return whole[:_DIGEST]


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


def _shared_provider(nodes: list[Node]) -> str:
    """Who provides every node, if it is the same one."""
    found = {node.provider for node in nodes}
    return found.pop() if len(found) == 1 else ""


def _asked(container: Mapping[str, Any]) -> dict[str, int]:
    return _amounts((container.get("resources") or {}).get("requests") or {})


def _amounts(quantities: Mapping[str, Any]) -> dict[str, int]:
    """Amounts by resource of the contract."""
    found: dict[str, int] = {}
    for name, text in quantities.items():
        if name in _NATIVE:
            own, read = _NATIVE[name]
            found[own] = read(text)
        elif not name.startswith(_UNCOUNTED):
            found[name] = quantity.whole(text)
    return found


def _stepped_down(amount: int, whole: int) -> int:
    """Rounded down: what Cells were decided to have is counted for them anyway."""
    step = max(1, whole // _STEPS)
    return amount // step * step


def _stepped(amount: int, whole: int) -> int:
    step = max(1, whole // _STEPS)
    return -(-amount // step) * step
