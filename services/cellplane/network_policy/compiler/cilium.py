"""Grants in Cilium's words (CiliumNetworkPolicy v2, Cilium 1.16 and later).

Cilium refuses in its agent what its schema lets pass, and refused means open. So: never an empty
list of rules, never two kinds of peer in a rule, never a named port, and L7 rules only for DNS.
A pod's own node always gets in unless it is denied: each subject denies it all but its probe ports.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, assert_never

from cellplane.cell import labels
from cellplane.cell.manifest import Manifest, Phase
from cellplane.cell.protocol import Transport
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

KIND: Final = ("cilium.io/v2", "CiliumNetworkPolicy")
_NAMESPACE: Final = "k8s:io.kubernetes.pod.namespace"
_ACCOUNT: Final = "k8s:io.cilium.k8s.policy.serviceaccount"
_NAMESPACE_LABELS: Final = "k8s:io.cilium.k8s.namespace.labels."
_BOTH: Final = {"ingress": True, "egress": True}
_PORTS_LIMIT: Final = 40
"""Ports of one ``toPorts`` entry."""
_LAST_PORT: Final = 65535
CELLS_GUARD: Final = "cellplane.cells"


def guard(ground: Ground) -> Manifest:
    """Deny everything, both ways, to every pod of the namespace."""
    spec = {
        "endpointSelector": {},
        "enableDefaultDeny": _BOTH,
        # In Cilium a rule that names nobody selects nobody: it closes without opening.
        "ingress": [{}],
        "egress": [{}],
    }
    return policy(ground, "", Phase.GUARD, KIND, GUARD_NAME, spec)


def cells_guard(ground: Ground) -> Manifest:
    """Deny everything to every pod of every Cell, also while a Cell's own guard is missing."""
    return policy(
        ground,
        "",
        Phase.GUARD,
        ("cilium.io/v2", "CiliumClusterwideNetworkPolicy"),
        CELLS_GUARD,
        {
            "endpointSelector": {
                "matchExpressions": [
                    {"key": f"{_NAMESPACE_LABELS}{labels.PROJECT}", "operator": "Exists"}
                ]
            },
            "enableDefaultDeny": _BOTH,
            "ingress": [{}],
            "egress": [{}],
        },
        cluster_wide=True,
    )


def grant_policy(ground: Ground, grant: Grant, name: str = "") -> Manifest:
    """Open what *grant* says; *name* where it is for neither a component nor the egress."""
    spec: dict[str, Any] = {
        "endpointSelector": {"matchLabels": _subject(grant)},
        "enableDefaultDeny": _BOTH,
        "ingressDeny": [_deny_own_node(grant)],
        "egress": [rule for r in grant.egress for rule in _rules(ground, r, "to")],
    }
    ingress = [rule for r in grant.ingress for rule in _rules(ground, r, "from")]
    if ingress:
        spec["ingress"] = ingress
    return policy(ground, grant.part, Phase.POLICY, KIND, name or policy_name(grant.part), spec)


def _subject(grant: Grant) -> dict[str, str]:
    if grant.part:
        return {f"k8s:{labels.COMPONENT}": grant.part}
    return {_ACCOUNT: grant.subject.account}


def _rules(ground: Ground, rule: Rule, way: str) -> Iterable[dict[str, Any]]:
    """One rule for each kind of peer: Cilium refuses two kinds in one."""
    # With anyone but pods of its own, authentication would drop every packet for ever.
    proven = ground.authenticated and all(
        isinstance(peer, Pods | CellPods) and peer.namespace == ground.namespace
        for peer in rule.peers
    )
    kinds: dict[str, list[Any]] = {}
    for peer in rule.peers:
        kind, value = _peer(peer, way)
        kinds.setdefault(kind, []).append(value)
    for kind, peers in kinds.items():
        made: dict[str, Any] = {kind: peers}
        if rule.ports:
            made["toPorts"] = _to_ports(rule)
        if proven:
            made["authentication"] = {"mode": "required"}
        yield made


def _peer(peer: Peer, way: str) -> tuple[str, Any]:
    match peer:
        case Pods():
            return f"{way}Endpoints", {"matchLabels": _pods(peer)}
        case CellPods():
            selector = {
                "matchLabels": {_NAMESPACE: peer.namespace},
                "matchExpressions": [{"key": f"k8s:{labels.COMPONENT}", "operator": "Exists"}],
            }
            return f"{way}Endpoints", selector
        case AnyCellPods():
            within = {"key": f"{_NAMESPACE_LABELS}{labels.PROJECT}", "operator": "Exists"}
            if peer.account:
                selector = {"matchLabels": {_ACCOUNT: peer.account}, "matchExpressions": [within]}
            else:
                component = {"key": f"k8s:{labels.COMPONENT}", "operator": "Exists"}
                selector = {"matchExpressions": [within, component]}
            return f"{way}Endpoints", selector
        case OwnNode():
            return f"{way}Entities", "host"
        case OtherNodes():
            return f"{way}Entities", "remote-node"
        case World():
            return f"{way}Entities", "world"
        case HostName():
            return f"{way}FQDNs", {"matchName": peer.host}
        case HostAddress():
            return f"{way}CIDR", peer.cidr
        case _:
            assert_never(peer)


def _pods(peer: Pods) -> dict[str, str]:
    if peer.account:
        return {_NAMESPACE: peer.namespace, _ACCOUNT: peer.account}
    return {_NAMESPACE: peer.namespace} | {f"k8s:{key}": peer.labels[key] for key in peer.labels}


def _to_ports(rule: Rule) -> list[dict[str, Any]]:
    entries = _chunks([{"port": str(p.number), "protocol": p.transport} for p in rule.ports])
    if rule.names:
        allowed = [{"matchPattern" if "*" in n else "matchName": n} for n in rule.names]
        for entry in entries:
            entry["rules"] = {"dns": allowed}
    return entries


def _deny_own_node(grant: Grant) -> dict[str, Any]:
    from_node = [r for r in grant.ingress if any(isinstance(p, OwnNode) for p in r.peers)]
    probed = sorted(port for rule in from_node for port in rule.ports)
    denied: dict[str, Any] = {"fromEntities": ["host"]}
    if probed:
        denied["toPorts"] = _chunks(
            [
                *_all_but([p.number for p in probed if p.transport == Transport.TCP.value]),
                *(
                    {"port": "1", "endPort": _LAST_PORT, "protocol": transport}
                    for transport in (Transport.UDP.value, "SCTP")
                ),
            ]
        )
    return denied


def _all_but(open_ports: Sequence[int]) -> Iterable[dict[str, Any]]:
    """Ranges of TCP ports around those that stay open; sorted, as *open_ports* is."""
    first = 1
    for number in (*open_ports, _LAST_PORT + 1):
        if first < number - 1:
            yield {"port": str(first), "endPort": number - 1, "protocol": Transport.TCP.value}
        elif first == number - 1:
            yield {"port": str(first), "protocol": Transport.TCP.value}
        first = number + 1


def _chunks(ports: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"ports": list(ports[at : at + _PORTS_LIMIT])} for at in range(0, len(ports), _PORTS_LIMIT)
    ]
