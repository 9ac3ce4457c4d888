"""Southbound: a Cell's declared external hosts, each behind a listener of its own egress gateway.

The component speaks plainly to the listener, and the gateway opens TLS to the host: it verifies the
host's name by the authorities of the system, and shows nobody the Cell's own certificate. A
connection that speaks TLS itself passes unopened, and only to the host that its SNI names. Nothing
else can be reached: a listener has one route, and a route one host and port.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cellplane.cell import addresses
from cellplane.cell.cell import (
    ExternalTarget,
    OutboundConnection,
    ResolvedCell,
    ResolvedComponent,
)
from cellplane.cell.manifest import Manifest, Phase
from cellplane.cell.names import kube_name
from cellplane.cell.problem import Problem
from cellplane.cell.protocol import TRAITS, RouteKind
from cellplane.gateway.compiler.objects import (
    BACKEND_TLS_API,
    ENVOY_API,
    GATEWAY_API,
    STREAM_API,
    component_problem,
    exposure,
)

OUTWARD: Final = frozenset({RouteKind.HTTP, RouteKind.GRPC, RouteKind.TLS, RouteKind.TCP})
"""What leaves a Cell; datagrams do not."""
_LISTENERS: Final[Mapping[RouteKind, str]] = {
    RouteKind.HTTP: "HTTP",
    RouteKind.GRPC: "HTTP",
    RouteKind.TLS: "TLS",
    RouteKind.TCP: "TCP",
}
_H2C: Final = "gateway.envoyproxy.io/h2c"


@dataclass(frozen=True, slots=True, kw_only=True)
class Southbound:
    """A connection to an external host, and the port of its listener."""

    outbound: OutboundConnection
    target: ExternalTarget
    port: int

    @property
    def kind(self) -> RouteKind:
        """Which route it takes."""
        return TRAITS[self.outbound.connection.protocol].route

    @property
    def name(self) -> str:
        """Of its objects."""
        return kube_name(self.outbound.component, self.outbound.connection.connection, "south")

    @property
    def originates(self) -> bool:
        """Whether the gateway opens TLS to the host."""
        return self.kind in {RouteKind.HTTP, RouteKind.GRPC} and addresses.is_tls_outside(
            self.outbound.connection.protocol, self.target
        )


def southbound(cell: ResolvedCell) -> list[Southbound]:
    """Every connection of the Cell that leads to an external host, as far as it can."""
    ports = addresses.egress_ports(cell.frame)
    return [
        Southbound(
            outbound=outbound,
            target=outbound.connection.target,
            port=ports[outbound.component, outbound.connection.connection],
        )
        for outbound in cell.frame.outbound
        if isinstance(outbound.connection.target, ExternalTarget)
        and TRAITS[outbound.connection.protocol].route in OUTWARD
    ]


def southbound_problems(cell: ResolvedCell, component: ResolvedComponent) -> Iterator[Problem]:
    """Refuse connections of one component that cannot leave."""
    for index, connection in enumerate(component.connections):
        protocol = connection.protocol
        if isinstance(connection.target, ExternalTarget) and TRAITS[protocol].route not in OUTWARD:
            yield component_problem(
                cell.frame,
                component.component,
                f"connections[{index}].external_host.protocol",
                "PROTOCOL_NOT_ROUTED",
                f'connection "{component.component}/{connection.connection}": {protocol.value} '
                "does not leave a Cell: use a protocol over TCP",
                protocol.value,
            )


def listener(connection: Southbound) -> dict[str, Any]:
    """The listener of a connection; only routes of the Cell itself attach."""
    spec: dict[str, Any] = {
        "name": f"p{connection.port}",
        "port": connection.port,
        "protocol": _LISTENERS[connection.kind],
        "allowedRoutes": {"namespaces": {"from": "Same"}},
    }
    if connection.kind is RouteKind.TLS:
        spec["hostname"] = connection.target.host
        spec["tls"] = {"mode": "Passthrough"}
    return spec


def compile_southbound(cell: ResolvedCell, connection: Southbound) -> Iterator[Manifest]:
    """Compile the way from a listener to its host."""
    name, target = connection.name, connection.target
    backend: dict[str, Any] = {
        "endpoints": [{"fqdn": {"hostname": target.host, "port": target.port}}]
    }
    if connection.kind is RouteKind.GRPC and not connection.originates:
        backend["appProtocols"] = [_H2C]
    yield exposure(cell, "", ENVOY_API, "Backend", name, backend)
    if connection.originates:
        yield exposure(cell, "", BACKEND_TLS_API, "BackendTLSPolicy", name, _verified(name, target))
    yield _policy(cell, connection)
    yield _route(cell, connection)


def _verified(backend: str, target: ExternalTarget) -> dict[str, Any]:
    return {
        "targetRefs": [{"group": "gateway.envoyproxy.io", "kind": "Backend", "name": backend}],
        "validation": {"hostname": target.host, "wellKnownCACertificates": "System"},
    }


def _policy(cell: ResolvedCell, connection: Southbound) -> Manifest:
    """What holds for every external host: nothing waits for ever, and a flood stays here."""
    spec: dict[str, Any] = {
        "targetRefs": [
            {
                "group": "gateway.networking.k8s.io",
                "kind": connection.kind.value if connection.kind not in _WEB else "HTTPRoute",
                "name": connection.name,
            }
        ],
        "timeout": {"tcp": {"connectTimeout": "5s"}},
        "circuitBreaker": {"maxConnections": 256, "maxPendingRequests": 256},
        "dns": {"dnsRefreshRate": "30s", "respectDnsTtl": True},
    }
    if connection.kind in _WEB:
        spec["circuitBreaker"]["maxParallelRequests"] = 256
        if connection.kind is RouteKind.GRPC:
            # The component speaks HTTP/2 without TLS; so does the gateway to the host, with it.
            spec["useClientProtocol"] = True
    return exposure(
        cell,
        "",
        ENVOY_API,
        "BackendTrafficPolicy",
        connection.name,
        spec,
        phase=Phase.CONFIGURATION,
    )


_WEB: Final = frozenset({RouteKind.HTTP, RouteKind.GRPC})


def _route(cell: ResolvedCell, connection: Southbound) -> Manifest:
    name, target = connection.name, connection.target
    backends = [{"group": "gateway.envoyproxy.io", "kind": "Backend", "name": name}]
    parents = [{"name": addresses.EGRESS_GATEWAY, "sectionName": f"p{connection.port}"}]
    if connection.kind in _WEB:
        rule: dict[str, Any] = {
            "filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": target.host}}],
            "backendRefs": backends,
            "timeouts": {"request": "0s"},
        }
        web = {"parentRefs": parents, "rules": [rule]}
        return exposure(cell, "", GATEWAY_API, "HTTPRoute", name, web)
    spec: dict[str, Any] = {"parentRefs": parents, "rules": [{"backendRefs": backends}]}
    if connection.kind is RouteKind.TLS:
        spec["hostnames"] = [target.host]
    return exposure(cell, "", STREAM_API[connection.kind], connection.kind.value, name, spec)
