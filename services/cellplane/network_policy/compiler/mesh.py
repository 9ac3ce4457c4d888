"""Grants in the words of Istio's ambient mesh, beside the network policies of a data plane.

The network then sees the tunnel's port alone, from the same peers; the ports of processes move to
AuthorizationPolicies, by the identity of the caller's service account. The namespaces of the
gateways must be in the mesh; DNS, the collector and what is outside of the cluster are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from cellplane.cell import addresses
from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.manifest import Manifest, Phase
from cellplane.cell.mesh import PROBE_ADDRESSES, TUNNEL_PORT
from cellplane.cell.problem import Findings, Problem
from cellplane.cell.protocol import TRAITS, Transport
from cellplane.network_policy.compiler.allow import (
    CellPods,
    Grant,
    HostAddress,
    OwnNode,
    Pods,
    Port,
    Rule,
)
from cellplane.network_policy.compiler.objects import GUARD_NAME, Ground, policy, policy_name

AUTHORIZATION: Final = ("security.istio.io/v1", "AuthorizationPolicy")
AUTHENTICATION: Final = ("security.istio.io/v1", "PeerAuthentication")
MTLS_NAME: Final = "cell.mtls"
_TUNNEL: Final = Port(number=TUNNEL_PORT)
_ANY_DOMAIN: Final = "cluster.local"
"""Istio reads it as the mesh's own trust domain, whatever that is called."""


def guard(ground: Ground) -> list[Manifest]:
    """Nothing without mutual TLS, and nothing that no other policy allows."""
    return [
        policy(ground, "", Phase.GUARD, AUTHENTICATION, MTLS_NAME, {"mtls": {"mode": "STRICT"}}),
        # A policy that allows and has no rules denies everything.
        policy(ground, "", Phase.GUARD, AUTHORIZATION, GUARD_NAME, {"action": "ALLOW"}),
    ]


def tunnelled(ground: Ground, grant: Grant) -> Grant:
    """The grant as the network sees it: the tunnel's port, where both sides are in the mesh."""
    return replace(
        grant,
        ingress=tuple(made for rule in grant.ingress for made in _tunnelled(ground, rule)),
        egress=tuple(made for rule in grant.egress for made in _tunnelled(ground, rule)),
    )


def authorization(ground: Ground, grant: Grant) -> Manifest:
    """Who may call which ports of the grant's subject."""
    spec: dict[str, Any] = {
        "selector": {"matchLabels": dict(grant.subject.labels)},
        "action": "ALLOW",
    }
    rules = [
        {"from": [{"source": _source(peer)} for peer in peers], "to": [_operation(rule.ports)]}
        for rule in grant.ingress
        if (peers := _meshed(ground, rule))
    ]
    if rules:
        spec["rules"] = rules
    return policy(ground, grant.part, Phase.POLICY, AUTHORIZATION, policy_name(grant.part), spec)


def unencrypted(cell: ResolvedCell, component: ResolvedComponent) -> list[Problem]:
    """Endpoints that the mesh cannot carry: it tunnels TCP alone."""
    findings = Findings(
        resource=f"organizations/{cell.frame.organization}/projects/{cell.frame.project}"
        f"/components/{component.component}"
    )
    for index, endpoint in enumerate(component.endpoints):
        if TRAITS[endpoint.protocol].transport is not Transport.TCP:
            findings.at("endpoints").at(index).at("protocol").add(
                "ENCRYPTION_NOT_SUPPORTED",
                f'endpoint "{endpoint.endpoint}" speaks {endpoint.protocol.value}, and the mesh '
                "encrypts TCP alone: place the Cell where wireguard or ipsec is, or change it",
                value=endpoint.protocol.value,
            )
    return findings.problems


def _tunnelled(ground: Ground, rule: Rule) -> Iterable[Rule]:
    inside = _meshed(ground, rule)
    outside = tuple(peer for peer in rule.peers if peer not in inside)
    if inside:
        yield Rule(peers=inside, ports=(_TUNNEL,))
    if outside:
        yield replace(rule, peers=outside)
    if any(isinstance(peer, OwnNode) for peer in outside):
        # The mesh hands the node's probes on under an address of its own.
        probes = tuple(
            HostAddress(cidr=f"{address}/{128 if ':' in address else 32}")
            for address in PROBE_ADDRESSES
        )
        yield replace(rule, peers=probes)


def _meshed(ground: Ground, rule: Rule) -> tuple[Pods | CellPods, ...]:
    known = {ground.namespace, addresses.GATEWAY_NAMESPACE}
    return tuple(
        peer for peer in rule.peers if isinstance(peer, Pods | CellPods) and peer.namespace in known
    )


def _source(peer: Pods | CellPods) -> dict[str, Any]:
    if isinstance(peer, Pods):
        return {"principals": [_principal(peer.namespace, peer.account)]}
    # Its egress gateway is no component.
    egress = _principal(peer.namespace, addresses.EGRESS_GATEWAY)
    return {"namespaces": [peer.namespace], "notPrincipals": [egress]}


def _principal(namespace: str, account: str) -> str:
    return f"{_ANY_DOMAIN}/ns/{namespace}/sa/{account}"


def _operation(ports: Sequence[Port]) -> dict[str, Any]:
    return {"operation": {"ports": [str(port.number) for port in ports]}}
