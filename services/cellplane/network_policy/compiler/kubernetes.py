"""Grants in the words of plain NetworkPolicy (networking.k8s.io/v1).

It knows no names, no service accounts and no denial. A pod's own node always gets in, and a DNS
server may be asked for anything: known limits of this provider, told and never shown as enforced.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, assert_never

from cellplane.cell import labels
from cellplane.cell.cell import ResolvedCell
from cellplane.cell.manifest import Manifest, Phase
from cellplane.cell.problem import Problem, Severity
from cellplane.network_policy.compiler.allow import (
    CellPods,
    Grant,
    HostAddress,
    HostName,
    OwnNode,
    Peer,
    Pods,
    Rule,
)
from cellplane.network_policy.compiler.objects import GUARD_NAME, policy, policy_name

KIND: Final = ("networking.k8s.io/v1", "NetworkPolicy")
_TYPES: Final = ["Ingress", "Egress"]


def guard(cell: ResolvedCell) -> Manifest:
    """Deny everything, both ways, to every pod of the namespace."""
    # Here, unlike in Cilium, a rule that names nobody would let everybody in.
    spec = {"podSelector": {}, "policyTypes": _TYPES}
    return policy(cell, "", Phase.GUARD, KIND, GUARD_NAME, spec)


def grant_policy(cell: ResolvedCell, grant: Grant) -> Manifest:
    """Open what *grant* says, as far as this provider has words for it."""
    spec: dict[str, Any] = {
        "podSelector": {"matchLabels": dict(grant.subject.labels)},
        "policyTypes": _TYPES,
    }
    ingress = _rules(cell, grant.ingress, "from")
    egress = _rules(cell, grant.egress, "to")
    if ingress:
        spec["ingress"] = ingress
    if egress:
        spec["egress"] = egress
    return policy(cell, grant.part, Phase.POLICY, KIND, policy_name(grant.part), spec)


def limits(cell: ResolvedCell) -> Problem:
    """What this provider never enforces."""
    return Problem(
        reason="PROVIDER_LIMITED",
        message=f"{cell.cell} is closed by NetworkPolicy, which cannot keep out a pod's own node "
        "nor limit the names that are asked for: use a data plane with networkpolicy.cilium where "
        "that matters",
        resource=cell.cell,
        severity=Severity.WARNING,
    )


def _rules(cell: ResolvedCell, rules: Sequence[Rule], way: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for rule in rules:
        peers = [made for peer in rule.peers if (made := _peer(cell, peer)) is not None]
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


def _peer(cell: ResolvedCell, peer: Peer) -> dict[str, Any] | None:
    match peer:
        case Pods():
            return _in(cell, peer.namespace, {"matchLabels": dict(peer.labels)})
        case CellPods():
            exists = {"key": labels.COMPONENT, "operator": "Exists"}
            return _in(cell, peer.namespace, {"matchExpressions": [exists]})
        case HostAddress():
            return {"ipBlock": {"cidr": peer.cidr}}
        case OwnNode() | HostName():
            return None
        case _:
            assert_never(peer)


def _in(cell: ResolvedCell, namespace: str, pods: dict[str, Any]) -> dict[str, Any]:
    if namespace == cell.frame.namespace:
        return {"podSelector": pods}
    # The API server sets this label itself on every namespace.
    owned = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return {"namespaceSelector": owned, "podSelector": pods}
