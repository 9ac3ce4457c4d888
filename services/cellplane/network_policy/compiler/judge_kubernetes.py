"""How NetworkPolicy judges (networking.k8s.io/v1, as its API reference says).

A pod that no policy selects for a direction is open in it; else a flow needs one rule that allows
it. A rule without peers means everyone, one without ports every port. Nothing denies.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cellplane.network_policy.compiler.flows import Address, Flow, Node, Place, Pod
from cellplane.network_policy.compiler.selectors import selects

Side = tuple[bool, list[str]]
"""Whether any policy closes the direction, and the rules that allow the flow."""


class Policies:
    """Those of a cluster, by the pods that they select."""

    __slots__ = ("_by_pod", "_known")

    def __init__(self, policies: Iterable[Mapping[str, Any]]) -> None:
        self._known = tuple(policies)
        self._by_pod: dict[str, tuple[Mapping[str, Any], ...]] = {}

    def judge(self, subject: Pod, flow: Flow, direction: str) -> Side:
        """Judge one direction, ``ingress`` or ``egress``, by all policies that select its pod."""
        other = flow.source if direction == "ingress" else flow.destination
        closed, allowing = False, list[str]()
        for policy in self._of(subject):
            namespace, spec = policy["metadata"]["namespace"], policy["spec"]
            if direction.capitalize() not in _types(spec):
                continue
            closed = True
            key = "from" if direction == "ingress" else "to"
            for index, rule in enumerate(spec.get(direction) or ()):
                if _meets(rule.get(key), other, namespace) and _opens(rule.get("ports"), flow):
                    name = policy["metadata"]["name"]
                    allowing.append(f"NetworkPolicy {namespace}/{name} {direction}[{index}]")
        return closed, allowing

    def _of(self, pod: Pod) -> tuple[Mapping[str, Any], ...]:
        if (key := repr(pod)) not in self._by_pod:
            self._by_pod[key] = tuple(
                policy
                for policy in self._known
                if policy["metadata"]["namespace"] == pod.namespace
                and selects(policy["spec"]["podSelector"], pod.labels)
            )
        return self._by_pod[key]


def _types(spec: Mapping[str, Any]) -> Sequence[str]:
    given = spec.get("policyTypes")
    if given:
        return list(given)
    return ["Ingress", "Egress"] if "egress" in spec else ["Ingress"]


def _meets(peers: Sequence[Mapping[str, Any]] | None, other: Place, namespace: str) -> bool:
    if not peers:
        return True
    return any(_is(peer, other, namespace) for peer in peers)


def _is(peer: Mapping[str, Any], other: Place, namespace: str) -> bool:
    match other:
        case Address():
            return "ipBlock" in peer and _in_block(peer["ipBlock"], other.ip)
        case Node():
            return False
        case Pod():
            # The API leaves it open whether a block holds pods; whatever may pass, passes here.
            if "ipBlock" in peer:
                return _in_block(peer["ipBlock"], other.ip)
            if "namespaceSelector" in peer:
                of_namespace = {
                    **other.namespace_labels,
                    "kubernetes.io/metadata.name": other.namespace,
                }
                if not selects(peer["namespaceSelector"], of_namespace):
                    return False
            elif other.namespace != namespace:
                return False
            return selects(peer.get("podSelector") or {}, other.labels)


def _in_block(block: Mapping[str, Any], ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    if address not in ipaddress.ip_network(block["cidr"]):
        return False
    return all(address not in ipaddress.ip_network(hole) for hole in block.get("except") or ())


def _opens(ports: Sequence[Mapping[str, Any]] | None, flow: Flow) -> bool:
    if not ports:
        return True
    return any(_is_port(port, flow) for port in ports)


def _is_port(port: Mapping[str, Any], flow: Flow) -> bool:
    if port.get("protocol", "TCP") != flow.transport:
        return False
    number = port.get("port")
    if number is None:
        return True
    # A name is another pod's business: what can't be told from the objects is not allowed.
    if not isinstance(number, int):
        return False
    return number <= flow.port <= int(port.get("endPort", number))
