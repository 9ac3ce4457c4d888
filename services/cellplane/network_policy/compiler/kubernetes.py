"""Grants in the words of plain NetworkPolicy (networking.k8s.io/v1).

It knows no names, no service accounts and no denial. A pod's own node always gets in, and a DNS
server may be asked for anything: known limits of this provider, told and never shown as enforced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, assert_never

from cellplane.cell import labels
from cellplane.cell.manifest import Manifest, Phase
from cellplane.cell.problem import Problem, Severity
from cellplane.network_policy.compiler.allow import (
    AnyCellPods,
    CellPods,
    Grant,
    HostAddress,
    HostName,
    OtherNodes,
    OwnNode,
    Peer,
    Pods,
    Rule,
    World,
)
from cellplane.network_policy.compiler.objects import GUARD_NAME, Ground, policy, policy_name

KIND: Final = ("networking.k8s.io/v1", "NetworkPolicy")
_TYPES: Final = ["Ingress", "Egress"]
_COMPONENTS: Final = {"matchExpressions": [{"key": labels.COMPONENT, "operator": "Exists"}]}


def guard(ground: Ground) -> Manifest:
    """Deny everything, both ways, to every pod of the namespace."""
    # Here, unlike in Cilium, a rule that names nobody would let everybody in.
    spec = {"podSelector": {}, "policyTypes": _TYPES}
    return policy(ground, "", Phase.GUARD, KIND, GUARD_NAME, spec)


def grant_policy(ground: Ground, grant: Grant, name: str = "") -> Manifest:
    """Open what *grant* says, as far as this provider has words for it."""
    spec: dict[str, Any] = {
        "podSelector": {"matchLabels": dict(grant.subject.labels)},
        "policyTypes": _TYPES,
    }
    ingress = _rules(ground, grant.ingress, "from")
    egress = _rules(ground, grant.egress, "to")
    if ingress:
        spec["ingress"] = ingress
    if egress:
        spec["egress"] = egress
    return policy(ground, grant.part, Phase.POLICY, KIND, name or policy_name(grant.part), spec)


def limits(ground: Ground) -> Problem:
    """What this provider never enforces."""
    return Problem(
        reason="PROVIDER_LIMITED",
        message=f"{ground.owner} is closed by NetworkPolicy, which cannot keep out a pod's own "
        "node nor limit the names that are asked for: use a data plane with networkpolicy.cilium "
        "where that matters",
        resource=ground.owner,
        severity=Severity.WARNING,
    )


def _rules(ground: Ground, rules: Sequence[Rule], way: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for rule in rules:
        peers = [made for peer in rule.peers for made in _peers(ground, peer)]
        # A rule whose list of peers is empty would open it to everyone.
        if not peers:
            continue
        made_rule: dict[str, Any] = {way: peers}
        if rule.ports:
            made_rule["ports"] = [
                {"port": port.number, "protocol": port.transport} for port in rule.ports
            ]
        found.append(made_rule)
    return found


def _peers(ground: Ground, peer: Peer) -> list[dict[str, Any]]:
    match peer:
        case Pods():
            return [_in(ground, peer.namespace, {"matchLabels": dict(peer.labels)})]
        case CellPods():
            return [_in(ground, peer.namespace, _COMPONENTS)]
        case AnyCellPods():
            of_cells = {"matchExpressions": [{"key": labels.PROJECT, "operator": "Exists"}]}
            pods = {"matchLabels": dict(peer.labels)} if peer.labels else _COMPONENTS
            return [{"namespaceSelector": of_cells, "podSelector": pods}]
        case HostAddress():
            return [{"ipBlock": {"cidr": peer.cidr}}]
        case World():
            return [{"ipBlock": {"cidr": cidr}} for cidr in ("0.0.0.0/0", "::/0")]
        # What a load balancer sends by way of a node has the node's address, which World covers.
        case OwnNode() | OtherNodes() | HostName():
            return []
        case _:
            assert_never(peer)


def _in(ground: Ground, namespace: str, pods: dict[str, Any]) -> dict[str, Any]:
    if namespace == ground.namespace:
        return {"podSelector": pods}
    # The API server sets this label itself on every namespace.
    owned = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return {"namespaceSelector": owned, "podSelector": pods}
