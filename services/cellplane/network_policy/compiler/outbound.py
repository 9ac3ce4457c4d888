"""What a Cell's own egress gateway may do: it is the only pod of a Cell that others may meet.

Each component reaches the listeners of its own connections only, so none can borrow another's. The
proxies reach the westbound gateways of their targets and their controller, and nothing else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from cellplane.cell import addresses
from cellplane.cell.cell import CellFrame, ExternalTarget, OrganizationTarget, ResolvedCell
from cellplane.cell.plane import DataPlaneProfile, PeerGateway, Peers
from cellplane.cell.problem import Problem, Severity
from cellplane.network_policy.compiler.allow import (
    WESTBOUND,
    Grant,
    HostAddress,
    HostName,
    OwnNode,
    Peer,
    Pods,
    Port,
    Rule,
    component_pods,
    dns,
    egress_gateway,
)

CONTROLLER: Final = Pods(
    namespace="envoy-gateway-system",
    account="envoy-gateway",
    labels={"control-plane": "envoy-gateway"},
)
"""Envoy Gateway's controller, as its chart installs it."""
CONTROLLER_NAME: Final = "envoy-gateway.envoy-gateway-system.svc.cluster.local"
CONTROLLER_PORT: Final = Port(number=18000)
"""xDS."""
PROBE_PORTS: Final = (Port(number=19002), Port(number=19003))
"""Envoy Gateway's shutdown manager, and Envoy's own readiness."""
WESTBOUND_TARGET: Final = Port(number=addresses.target_port(addresses.WESTBOUND_PORT))
_LAST_PORT: Final = 65535


def gateway_grant(
    cell: ResolvedCell, plane: DataPlaneProfile, peers: Peers, *, by_name: bool
) -> tuple[Grant | None, list[Problem]]:
    """What the egress gateway may do; no grant where no connection leaves the Cell.

    Unless hosts can be allowed *by_name*, one is a problem: an error where its target has no other
    gateway that can be reached, else a warning.
    """
    frame = cell.frame
    if not frame.outbound:
        return None, []
    problems: list[Problem] = []
    reached = _reached(cell, plane, peers, problems, by_name=by_name)
    names = {CONTROLLER_NAME} | {peer.host for peer, _ in reached if isinstance(peer, HostName)}
    if any(peer == WESTBOUND for peer, _ in reached):
        names.add(_WESTBOUND_NAME)
    egress = [
        dns({spelled for name in names for spelled in searched(frame.namespace, name)}),
        Rule(peers=(CONTROLLER,), ports=(CONTROLLER_PORT,)),
        *(Rule(peers=(peer,), ports=(port,)) for peer, port in reached),
    ]
    grant = Grant(
        part="", subject=egress_gateway(frame), ingress=tuple(_ingress(frame)), egress=tuple(egress)
    )
    return grant, problems


_WESTBOUND_NAME = f"{addresses.WESTBOUND_GATEWAY}.{addresses.GATEWAY_NAMESPACE}.svc.cluster.local"


def _ingress(frame: CellFrame) -> Iterable[Rule]:
    owned: dict[str, list[Port]] = {}
    for (component, _), number in addresses.egress_ports(frame).items():
        owned.setdefault(component, []).append(Port(number=number))
    for component, ports in sorted(owned.items()):
        yield Rule(peers=(component_pods(frame, component),), ports=tuple(sorted(ports)))
    yield Rule(peers=(OwnNode(),), ports=PROBE_PORTS)


def searched(namespace: str, name: str) -> Iterable[str]:
    """The name, and as a proxy's resolver asks for it first, with the cluster's search domains."""
    yield name
    for domain in (f"{namespace}.svc.cluster.local", "svc.cluster.local", "cluster.local"):
        yield f"{name}.{domain}"


def _reached(
    cell: ResolvedCell,
    plane: DataPlaneProfile,
    peers: Peers,
    problems: list[Problem],
    *,
    by_name: bool,
) -> list[tuple[Peer, Port]]:
    found: dict[tuple[str, int], tuple[Peer, Port]] = {}
    gateways = {peer.project: peer.gateways for peer in peers.cells}
    for outbound in cell.frame.outbound:
        wrong: list[Problem] = []
        met: list[tuple[Peer, Port]] = []
        match outbound.connection.organization or outbound.connection.external:
            case OrganizationTarget() as target:
                ways = [
                    _gateway(cell, plane, gateway, wrong, by_name=by_name)
                    for gateway in gateways.get(target.project, ())
                ]
                met.extend(way for way in ways if way is not None)
            case ExternalTarget() as target:
                way = _host(cell, target.host, target.port, wrong, by_name=by_name)
                met.extend([way] if way is not None else ())
            case None:
                pass
        found |= {(str(peer), port.number): (peer, port) for peer, port in met}
        severity = Severity.WARNING if met else Severity.ERROR
        told = [replace(problem, severity=severity) for problem in wrong]
        problems.extend(problem for problem in told if problem not in problems)
    return [found[key] for key in sorted(found)]


def _gateway(
    cell: ResolvedCell,
    plane: DataPlaneProfile,
    gateway: PeerGateway,
    problems: list[Problem],
    *,
    by_name: bool,
) -> tuple[Peer, Port] | None:
    if gateway.data_plane == plane.data_plane:
        return WESTBOUND, WESTBOUND_TARGET
    if gateway.host and 0 < gateway.port <= _LAST_PORT and not _is_local(gateway.host):
        return _host(cell, gateway.host, gateway.port, problems, by_name=by_name)
    problems.append(
        Problem(
            reason="PEER_ADDRESS_INVALID",
            message=f'westbound gateway "{gateway.host}:{gateway.port}" of data plane '
            f"{gateway.data_plane} is no address that others can reach: set its westbound host",
            resource=cell.cell,
            value=f"{gateway.host}:{gateway.port}",
        )
    )
    return None


def _host(
    cell: ResolvedCell, host: str, port: int, problems: list[Problem], *, by_name: bool
) -> tuple[Peer, Port] | None:
    address = _address(host)
    if address is not None:
        return HostAddress(cidr=f"{address}/{address.max_prefixlen}"), Port(number=port)
    if by_name:
        return HostName(host=host.lower().rstrip(".")), Port(number=port)
    problems.append(
        Problem(
            reason="EGRESS_HOST_NOT_SUPPORTED",
            message=f'host "{host}" cannot be allowed by name in a NetworkPolicy, and everything '
            "else must stay closed: use a data plane with networkpolicy.cilium, give the gateway "
            "an address, or place the target on the same data plane",
            resource=cell.cell,
            value=host,
        )
    )
    return None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    """Tell whether an address leads to the pod itself, its node or the cloud's metadata."""
    address = _address(host)
    return address is not None and (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
    )
