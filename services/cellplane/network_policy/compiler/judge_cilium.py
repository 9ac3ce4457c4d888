"""How CiliumNetworkPolicy judges (cilium.io/v2, read in and tried against Cilium 1.18).

Denial beats allowance. A direction is closed by any policy with rules for it, unless its
``enableDefaultDeny`` says otherwise. What the agent would refuse is not enforced, so it counts as
not there: ``refusals`` says why.
"""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from cellplane.network_policy.compiler.flows import Address, Flow, Node, Place, Pod
from cellplane.network_policy.compiler.selectors import selects

Side = tuple[bool, list[str], list[str]]
"""Whether any policy closes the direction, the rules that allow the flow, and that deny it."""

KINDS: Final = frozenset({"CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"})
_NAMESPACE: Final = "io.kubernetes.pod.namespace"
_ACCOUNT: Final = "io.cilium.k8s.policy.serviceaccount"
_NAMESPACE_LABELS: Final = "io.cilium.k8s.namespace.labels."
_NOT_IDENTITY: Final = ("kubernetes.io", "k8s.io", "pod-template-hash")
_PEERS: Final = ("Endpoints", "Entities", "CIDR", "CIDRSet", "FQDNs")
_PORTS_LIMIT: Final = 40
_SECTIONS: Final = (
    ("ingress", "from"),
    ("ingressDeny", "from"),
    ("egress", "to"),
    ("egressDeny", "to"),
)


def refusals(policy: Mapping[str, Any]) -> list[str]:
    """Say why a policy that the schema lets pass is refused, or read otherwise than it looks.

    Stricter than the parser of any one version of Cilium: what this takes, that takes.
    """
    found: list[str] = []
    spec = policy["spec"]
    for section, way in _SECTIONS:
        if section not in spec:
            continue
        if not spec[section]:
            found.append(f"{section} is an empty list")
        for index, rule in enumerate(spec[section]):
            at = f"{section}[{index}]"
            kinds = [kind for kind in _PEERS if f"{way}{kind}" in rule]
            if len(kinds) > 1:
                found.append(f"{at} has two kinds of peer")
            if section.endswith("Deny") and "FQDNs" in kinds:
                found.append(f"{at} denies by name")
            found.extend(f"{at} {why}" for why in _bad_ports(rule, section))
            found.extend(f"{at} {why}" for why in _bad_blocks(rule.get(f"{way}CIDRSet") or ()))
    return found


def _bad_ports(rule: Mapping[str, Any], section: str) -> Iterable[str]:
    for entry in rule.get("toPorts") or ():
        ports, l7 = entry.get("ports") or (), entry.get("rules") or {}
        if len(ports) > _PORTS_LIMIT:
            yield f"has more than {_PORTS_LIMIT} ports in one entry"
        if l7 and section.endswith("Deny"):
            yield "denies by L7 rules"
        if len(l7) > 1:
            yield "has two L7 parsers"
        if set(l7) - {"dns"} and any(p.get("protocol", "ANY") != "TCP" for p in ports):
            yield "has L7 rules on another transport than TCP"
        if "dns" in l7 and section == "ingress":
            yield "has DNS rules on ingress"
        if "dns" in l7 and any(port.get("endPort") for port in ports):
            yield "has DNS rules on a range of ports"
        for port in ports:
            number, last = int(port["port"]), int(port.get("endPort", 0))
            if not 0 <= number <= 65535 or (last and not number <= last <= 65535):
                yield f"has the port range {number}-{last}"


def _bad_blocks(blocks: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    for block in blocks:
        whole = ipaddress.ip_network(block["cidr"])
        for text in block.get("except") or ():
            hole = ipaddress.ip_network(text)
            inside = int(whole.network_address) <= int(hole.network_address) and int(
                hole.broadcast_address
            ) <= int(whole.broadcast_address)
            if hole.version != whole.version or not inside:
                yield f"excepts {text} from {block['cidr']}"


class Policies:
    """Those of a cluster that its agents take, by the pods that they select."""

    __slots__ = ("_by_pod", "_known")

    def __init__(self, policies: Iterable[Mapping[str, Any]]) -> None:
        self._known = tuple(policy for policy in policies if not refusals(policy))
        self._by_pod: dict[str, tuple[Mapping[str, Any], ...]] = {}

    def judge(self, subject: Pod, flow: Flow, direction: str) -> Side:
        """Judge one direction, ``ingress`` or ``egress``, by all policies that select its pod."""
        other = flow.source if direction == "ingress" else flow.destination
        closed, allowing, denying = False, list[str](), list[str]()
        mine = self._of(subject)
        learnt = _learnt(mine, flow) if direction == "egress" else True
        for policy in mine:
            spec = policy["spec"]
            closed = closed or _closes(spec, direction)
            for section, found in ((direction, allowing), (f"{direction}Deny", denying)):
                for index, rule in enumerate(spec.get(section) or ()):
                    if _covers(rule, _namespace(policy), other, flow, direction, learnt=learnt):
                        found.append(f"{_told(policy)} {section}[{index}]")
        return closed, allowing, denying

    def _of(self, pod: Pod) -> tuple[Mapping[str, Any], ...]:
        if (key := repr(pod)) not in self._by_pod:
            self._by_pod[key] = tuple(p for p in self._known if _is_subject(p, pod))
        return self._by_pod[key]


def _namespace(policy: Mapping[str, Any]) -> str:
    """Of a policy; a cluster-wide one has none."""
    return str(policy["metadata"].get("namespace", ""))


def _told(policy: Mapping[str, Any]) -> str:
    where = f"{_namespace(policy)}/" if _namespace(policy) else ""
    return f"{policy['kind']} {where}{policy['metadata']['name']}"


def _closes(spec: Mapping[str, Any], direction: str) -> bool:
    stated = (spec.get("enableDefaultDeny") or {}).get(direction)
    if stated is not None:
        return bool(stated)
    return direction in spec or f"{direction}Deny" in spec


def _identity(pod: Pod) -> dict[str, str]:
    own = {k: v for k, v in pod.labels.items() if not k.startswith(_NOT_IDENTITY)}
    return own | {
        **{f"{_NAMESPACE_LABELS}{key}": value for key, value in pod.namespace_labels.items()},
        _NAMESPACE: pod.namespace,
        _ACCOUNT: pod.account,
        f"{_NAMESPACE_LABELS}kubernetes.io/metadata.name": pod.namespace,
    }


def _bare(key: str) -> str:
    return key.removeprefix("k8s:").removeprefix("any:")


def _is_subject(policy: Mapping[str, Any], pod: Pod) -> bool:
    if _namespace(policy) not in {"", pod.namespace}:
        return False
    return selects(policy["spec"].get("endpointSelector") or {}, _identity(pod), _bare)


def _covers(
    rule: Mapping[str, Any],
    namespace: str,
    other: Place,
    flow: Flow,
    direction: str,
    *,
    learnt: bool,
) -> bool:
    way = "from" if direction == "ingress" else "to"
    # An empty list of any kind selects nobody, but one of names counts as absent: everyone.
    kinds = [k for k in _PEERS if rule.get(f"{way}{k}") or (k != "FQDNs" and f"{way}{k}" in rule)]
    ports = rule.get("toPorts")
    if not kinds and not ports:
        return False
    if kinds and not any(
        _is(kind, peer, other, namespace, learnt=learnt)
        for kind in kinds
        for peer in rule[f"{way}{kind}"]
    ):
        return False
    return not ports or any(_opens(entry, flow) for entry in ports)


def _is(kind: str, peer: Any, other: Place, namespace: str, *, learnt: bool) -> bool:
    match kind:
        case "Endpoints":
            return isinstance(other, Pod) and _is_endpoint(peer, other, namespace)
        case "Entities":
            return _is_entity(peer, other)
        case "CIDR":
            return isinstance(other, Address) and _in_block({"cidr": peer}, other.ip)
        case "CIDRSet":
            return isinstance(other, Address) and _in_block(peer, other.ip)
        case "FQDNs":
            return learnt and isinstance(other, Address) and any(
                _is_name(peer, name) for name in other.names
            )  # fmt: skip
        case _:
            return False


def _is_endpoint(selector: Mapping[str, Any], pod: Pod, namespace: str) -> bool:
    keys = [_bare(key) for key in selector.get("matchLabels") or ()]
    keys += [_bare(e["key"]) for e in selector.get("matchExpressions") or ()]
    across = any(key == _NAMESPACE or key.startswith(_NAMESPACE_LABELS) for key in keys)
    # A cluster-wide policy is in no namespace: its selectors are those of every pod.
    if namespace and not across and pod.namespace != namespace:
        return False
    return selects(selector, _identity(pod), _bare)


def _is_entity(entity: str, other: Place) -> bool:
    match other:
        case Pod():
            return entity in {"all", "cluster"}
        case Node(own=True):
            return entity in {"all", "cluster", "host"}
        case Node():
            return entity in {"all", "cluster", "remote-node"}
        case Address():
            return entity in {"all", "world"}


def _in_block(block: Mapping[str, Any], ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    if address not in ipaddress.ip_network(block["cidr"]):
        return False
    return all(address not in ipaddress.ip_network(hole) for hole in block.get("except") or ())


def _is_name(matcher: Mapping[str, str], name: str) -> bool:
    asked = name.lower().rstrip(".")
    if "matchName" in matcher:
        return matcher["matchName"].lower().rstrip(".") == asked
    pattern = matcher["matchPattern"].lower().rstrip(".")
    if pattern == "*":
        return True
    # A star stands for characters of one label: it never crosses a dot.
    wanted, given = pattern.split("."), asked.split(".")
    return len(wanted) == len(given) and all(
        fnmatch.fnmatchcase(label, part) for label, part in zip(given, wanted, strict=True)
    )


def _opens(entry: Mapping[str, Any], flow: Flow) -> bool:
    if not any(_is_port(port, flow) for port in entry.get("ports") or ()):
        return False
    names = (entry.get("rules") or {}).get("dns")
    return not names or not flow.query or any(_is_name(name, flow.query) for name in names)


def _is_port(port: Mapping[str, Any], flow: Flow) -> bool:
    if port.get("protocol", "ANY") not in {"ANY", flow.transport}:
        return False
    first = int(port["port"])
    return first == 0 or first <= flow.port <= int(port.get("endPort", 0) or first)


def _learnt(policies: Sequence[Mapping[str, Any]], flow: Flow) -> bool:
    """``toFQDNs`` knows an address only of a name that a DNS rule let the pod ask for."""
    names = flow.destination.names if isinstance(flow.destination, Address) else ()
    rules = [
        matcher
        for policy in policies
        for rule in policy["spec"].get("egress") or ()
        for entry in rule.get("toPorts") or ()
        for matcher in (entry.get("rules") or {}).get("dns") or ()
    ]
    return any(_is_name(matcher, name) for matcher in rules for name in names)
