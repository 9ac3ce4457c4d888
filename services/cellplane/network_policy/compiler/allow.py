"""Who may reach whom, before any engine's words: peers × ports × direction.

Everything is denied by the guard; a ``Grant`` opens for one subject what the table of the Cell says
and nothing else. Ports are those of the process, never of a Service. Platform peers carry both ways
to be known: a service account, and a namespace that only the platform owns with its pods' labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from cellplane.cell import addresses, labels
from cellplane.cell.cell import CellFrame, CellTarget, ResolvedCell, ResolvedComponent
from cellplane.cell.protocol import TRAITS, Transport
from cellplane.cell.visibility import Isolation, Visibility
from cellplane.cell.workload import ComponentKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """Pods of one identity. Without an account, the labels are what every engine matches."""

    namespace: str
    account: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPods:
    """Every component of one Cell, and no other pod of its namespace."""

    namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNode:
    """The node that the subject runs on: its kubelet, and what shares its network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostName:
    """A host outside of the cluster, by its whole name."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAddress:
    """Hosts outside of the cluster, by their one address or range."""

    cidr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyCellPods:
    """Pods of whatever Cells there are: all components, or what the account and labels name."""

    account: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherNodes:
    """Every node but the subject's own; load balancers may send by way of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything outside of the cluster."""


Peer: TypeAlias = (
    Pods | CellPods | AnyCellPods | OwnNode | OtherNodes | HostName | HostAddress | World
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Port:
    """A port of a process."""

    number: int
    transport: str = Transport.TCP.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Peers that may be met on ports; no ports are all ports."""

    peers: tuple[Peer, ...]
    ports: tuple[Port, ...] = ()
    names: tuple[str, ...] = ()
    """Where the ports are DNS: what may be asked for; ``*`` is one label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """All that one subject may do."""

    part: str
    """Id of the component; empty for what belongs to the Cell as a whole."""
    subject: Pods
    ingress: tuple[Rule, ...]
    egress: tuple[Rule, ...]


NORTHBOUND = Pods(
    namespace=addresses.GATEWAY_NAMESPACE,
    account=addresses.NORTHBOUND_GATEWAY,
    labels={"gateway.envoyproxy.io/owning-gateway-name": addresses.NORTHBOUND_GATEWAY},
)
WESTBOUND = Pods(
    namespace=addresses.GATEWAY_NAMESPACE,
    account=addresses.WESTBOUND_GATEWAY,
    labels={"gateway.envoyproxy.io/owning-gateway-name": addresses.WESTBOUND_GATEWAY},
)
COLLECTOR = Pods(
    namespace=addresses.OBSERVABILITY_NAMESPACE,
    account=addresses.COLLECTOR,
    labels={"app.kubernetes.io/name": addresses.COLLECTOR},
)
DNS = Pods(namespace=addresses.DNS_NAMESPACE, labels=dict([addresses.DNS_LABEL]))
DNS_PORTS = (
    Port(number=addresses.DNS_PORT, transport=Transport.TCP.value),
    Port(number=addresses.DNS_PORT, transport=Transport.UDP.value),
)
COLLECTOR_NAME = f"{addresses.COLLECTOR}.{addresses.OBSERVABILITY_NAMESPACE}.svc.cluster.local"


def egress_gateway(frame: CellFrame) -> Pods:
    """The proxies of the Cell's own egress gateway."""
    return Pods(
        namespace=frame.namespace,
        account=addresses.EGRESS_GATEWAY,
        labels={"gateway.envoyproxy.io/owning-gateway-name": addresses.EGRESS_GATEWAY},
    )


def component_pods(frame: CellFrame, component: str) -> Pods:
    """The pods of a component of this Cell."""
    return Pods(
        namespace=frame.namespace,
        account=addresses.service_account(component),
        labels=labels.component_selector(component),
    )


def component_grant(cell: ResolvedCell, component: ResolvedComponent) -> Grant:
    """What a component may do, from itself and the frame alone."""
    return Grant(
        part=component.component,
        subject=component_pods(cell.frame, component.component),
        ingress=tuple(_ingress(cell.frame, component)),
        egress=tuple(_egress(cell.frame, component)),
    )


def dns(names: set[str]) -> Rule:
    """The cluster's resolver, for these names."""
    return Rule(peers=(DNS,), ports=DNS_PORTS, names=tuple(sorted(names)))


def _ingress(frame: CellFrame, component: ResolvedComponent) -> list[Rule]:
    rules = _from_cell(frame, component)
    public = _ports(component, Visibility.PUBLIC)
    if public:
        rules.append(Rule(peers=(NORTHBOUND,), ports=public))
    organization = _ports(component, Visibility.ORGANIZATION)
    if organization:
        rules.append(Rule(peers=(WESTBOUND,), ports=organization))
    probed = _probe_ports(component)
    if probed:
        rules.append(Rule(peers=(OwnNode(),), ports=probed))
    return rules


def _from_cell(frame: CellFrame, component: ResolvedComponent) -> list[Rule]:
    callers: dict[Port, set[str]] = {}
    for endpoint in component.endpoints:
        port = Port(
            number=endpoint.target_port, transport=TRAITS[endpoint.protocol].transport.value
        )
        callers.setdefault(port, {component.component}).update(endpoint.cell_callers)
    if not callers:
        return []
    if frame.isolation is not Isolation.STRICT:
        return [Rule(peers=(CellPods(namespace=frame.namespace),), ports=tuple(sorted(callers)))]
    return [
        Rule(peers=tuple(component_pods(frame, c) for c in sorted(callers[port])), ports=(port,))
        for port in sorted(callers)
    ]


def _egress(frame: CellFrame, component: ResolvedComponent) -> list[Rule]:
    rules = [dns(_names(frame, component)), *_to_cell(frame, component)]
    listeners = tuple(
        Port(number=number)
        for (owner, _), number in sorted(addresses.egress_ports(frame).items(), key=lambda i: i[1])
        if owner == component.component
    )
    if listeners:
        rules.append(Rule(peers=(egress_gateway(frame),), ports=listeners))
    collector = Port(number=addresses.COLLECTOR_PORT)
    rules.append(Rule(peers=(COLLECTOR,), ports=(collector,)))
    return rules


def _to_cell(frame: CellFrame, component: ResolvedComponent) -> list[Rule]:
    """Both sides must allow a flow: in an OPEN Cell the callee's side names the ports."""
    if frame.isolation is not Isolation.STRICT:
        return [Rule(peers=(CellPods(namespace=frame.namespace),))]
    reached: dict[str, set[Port]] = {}
    for endpoint in component.endpoints:
        transport = TRAITS[endpoint.protocol].transport.value
        own = Port(number=endpoint.target_port, transport=transport)
        reached.setdefault(component.component, set()).add(own)
    for connection in component.connections:
        if isinstance(target := connection.cell, CellTarget):
            transport = TRAITS[connection.protocol].transport.value
            port = Port(number=target.target_port, transport=transport)
            reached.setdefault(target.component, set()).add(port)
    return [
        Rule(peers=(component_pods(frame, name),), ports=tuple(sorted(ports)))
        for name, ports in sorted(reached.items())
    ]


def _names(frame: CellFrame, component: ResolvedComponent) -> set[str]:
    inside = f"{frame.namespace}.svc.cluster.local"
    names = {COLLECTOR_NAME}
    if frame.isolation is not Isolation.STRICT:
        # A Service, and a replica by name behind a headless one.
        return names | {f"*.{inside}", f"*.*.{inside}"}
    reached = {component.component} if component.endpoints else set[str]()
    reached.update(c.cell.component for c in component.connections if c.cell is not None)
    names.update(f"{addresses.service_name(name)}.{inside}" for name in reached)
    if component.kind is ComponentKind.STATEFUL_SERVICE:
        headless = f"{addresses.headless_service(component.component)}.{inside}"
        names.update({headless, f"*.{headless}"})
    if any(owner == component.component for owner, _ in addresses.egress_ports(frame)):
        names.add(f"{addresses.EGRESS_GATEWAY}.{inside}")
    return names


def _ports(component: ResolvedComponent, visibility: Visibility) -> tuple[Port, ...]:
    found = {
        Port(number=e.target_port, transport=TRAITS[e.protocol].transport.value)
        for e in component.endpoints
        if visibility in e.visibilities
        # Westbound callers are known by their certificates, so what can't carry one stays closed.
        and (visibility is not Visibility.ORGANIZATION or TRAITS[e.protocol].carries_identity)
    }
    return tuple(sorted(found))


def _probe_ports(component: ResolvedComponent) -> tuple[Port, ...]:
    probes = (component.workload.readiness_probe, component.workload.liveness_probe)
    asked = {probe.endpoint for probe in probes if probe is not None}
    found = {Port(number=e.target_port) for e in component.endpoints if e.endpoint in asked}
    return tuple(sorted(found))
