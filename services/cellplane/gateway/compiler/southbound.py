"""Southbound: a Cell's declared external hosts, each behind a listener of its own egress gateway.

A policy says more: given authorities, a certificate of the connection's own, a credential in a
header, limits. Their secrets lie beside the gateway; no pod of the component sees one.

The component speaks plainly to the listener, and the gateway opens TLS to the host: it verifies the
host's name by the authorities of the system, and shows nobody the Cell's own certificate. A
connection that speaks TLS itself passes unopened, and only to the host that its SNI names. Nothing
else can be reached: a listener has one route, and a route one host and port.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from cellplane.cell import addresses, hosts
from cellplane.cell.cell import (
    ExternalTarget,
    OutboundConnection,
    ResolvedCell,
    ResolvedComponent,
)
from cellplane.cell.external import ExternalPolicy
from cellplane.cell.manifest import Manifest, Phase
from cellplane.cell.names import kube_name
from cellplane.cell.problem import Problem
from cellplane.cell.protocol import TRAITS, Protocol, RouteKind
from cellplane.gateway.compiler.objects import (
    BACKEND_TLS_API,
    ENVOY_API,
    GATEWAY_API,
    STREAM_API,
    component_problem,
    exposure,
)
from cellplane.gateway.compiler.policies import duration, traffic, uncountable
from cellplane.gateway.compiler.secrets import fetched

OUTWARD: Final = frozenset({RouteKind.HTTP, RouteKind.GRPC, RouteKind.TLS, RouteKind.TCP})
"""What leaves a Cell; datagrams do not."""
_LISTENERS: Final[Mapping[RouteKind, str]] = {
    RouteKind.HTTP: "HTTP",
    RouteKind.GRPC: "HTTP",
    RouteKind.TLS: "TLS",
    RouteKind.TCP: "TCP",
}
_WEB: Final = frozenset({RouteKind.HTTP, RouteKind.GRPC})
AUTHORITIES: Final = "authorities"
CERTIFICATE: Final = "certificate"
CREDENTIAL: Final = "credential"
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
    def own(self) -> tuple[str, str]:
        """Ids of its component and of itself."""
        return self.outbound.component, self.outbound.connection.connection

    @property
    def name(self) -> str:
        """Of its objects."""
        return kube_name(*self.own, "south")

    @property
    def policy(self) -> ExternalPolicy:
        """What is asked of the gateway."""
        return self.target.policy or ExternalPolicy()

    @property
    def originates(self) -> bool:
        """Whether the gateway opens TLS to the host."""
        return self.kind in _WEB and (
            addresses.is_tls_outside(self.outbound.connection.protocol, self.target)
            or self.policy.tls is not None
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
        and not hosts.refused(outbound.connection.target.host)
    ]


def southbound_problems(cell: ResolvedCell, component: ResolvedComponent) -> Iterator[Problem]:
    """Refuse connections of one component that cannot leave."""
    for index, connection in enumerate(component.connections):
        protocol = connection.protocol
        external = connection.external
        if external is not None and (why := hosts.refused(external.host)):
            yield component_problem(
                cell.frame,
                component.component,
                f"connections[{index}].external_host.host",
                "HOST_REFUSED",
                f'host "{external.host}" {why}',
                external.host,
            )
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
        elif external is not None and external.policy is not None:
            name = f'connection "{component.component}/{connection.connection}"'
            for step, why in _refused(protocol, external.policy):
                yield component_problem(
                    cell.frame,
                    component.component,
                    f"connections[{index}].external_host.policy.{step}",
                    "EXTERNAL_POLICY_NOT_SUPPORTED",
                    f"{name}: {why}, and what is asked for is never left out: remove it",
                    step,
                )


def _refused(protocol: Protocol, policy: ExternalPolicy) -> Iterator[tuple[str, str]]:
    yield from uncountable(policy)
    if TRAITS[protocol].route in _WEB:
        return
    for step in ("tls", "credential", "rate_limits", "retries"):
        if getattr(policy, step):
            yield step, f"a gateway does not look into {protocol.value}, so it cannot do {step}"
    for step in ("request", "idle"):
        if policy.timeouts is not None and getattr(policy.timeouts, step) is not None:
            yield (
                f"timeouts.{step}",
                f"a gateway does not look into {protocol.value}, so it cannot time its requests",
            )


def compile_southbound_secrets(
    cell: ResolvedCell, component: ResolvedComponent
) -> Iterator[Manifest]:
    """Compile what fetches the secrets that the gateway needs for one component's connections."""
    for connection in component.connections:
        policy = connection.external.policy if connection.external is not None else None
        if policy is None:
            continue
        own = (component.component, connection.connection)
        if policy.tls is not None and policy.tls.authorities is not None:
            wanted = {"ca.crt": policy.tls.authorities}
            yield from fetched(cell, component, secret_of(*own, AUTHORITIES), wanted)
        if policy.tls is not None and policy.tls.client_certificate is not None:
            pair = policy.tls.client_certificate
            wanted = {"tls.crt": pair.certificate, "tls.key": pair.private_key}
            yield from fetched(cell, component, secret_of(*own, CERTIFICATE), wanted)
        if policy.credential is not None:
            wanted = {"credential": policy.credential.value}
            yield from fetched(cell, component, secret_of(*own, CREDENTIAL), wanted)


def secret_of(component: str, connection: str, use: str) -> str:
    """Secret that the gateway reads for one connection."""
    return kube_name(component, connection, use)


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
    tls, own = connection.policy.tls, connection.own
    if tls is not None and tls.client_certificate is not None:
        shown = {"kind": "Secret", "name": secret_of(*own, CERTIFICATE)}
        backend["tls"] = {"clientCertificateRef": shown}
    yield exposure(cell, "", ENVOY_API, "Backend", name, backend)
    if connection.originates:
        yield exposure(cell, "", BACKEND_TLS_API, "BackendTLSPolicy", name, _verified(connection))
    credential = connection.policy.credential
    if credential is not None:
        held = {"group": "", "kind": "Secret", "name": secret_of(*own, CREDENTIAL)}
        injected = {
            "header": credential.header or "authorization",
            "overwrite": True,
            "credential": {"valueRef": held},
        }
        yield exposure(
            cell,
            "",
            ENVOY_API,
            "HTTPRouteFilter",
            name,
            {"credentialInjection": injected},
            phase=Phase.CONFIGURATION,
        )
    yield _policy(cell, connection)
    yield _route(cell, connection)


def _verified(connection: Southbound) -> dict[str, Any]:
    tls = connection.policy.tls
    validation: dict[str, Any] = {"hostname": connection.target.host}
    if tls is not None and tls.authorities is not None:
        given = {"group": "", "kind": "Secret", "name": secret_of(*connection.own, AUTHORITIES)}
        validation["caCertificateRefs"] = [given]
    else:
        validation["wellKnownCACertificates"] = "System"
    target = {"group": "gateway.envoyproxy.io", "kind": "Backend", "name": connection.name}
    return {"targetRefs": [target], "validation": validation}


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
        "dns": {"dnsRefreshRate": "30s", "respectDnsTtl": True},
    }
    asked = traffic(connection.policy, request_timeout_here=False)
    most = {"maxConnections": 256, "maxPendingRequests": 256}
    if connection.kind in _WEB:
        most["maxParallelRequests"] = 256
    timeout = {"tcp": {"connectTimeout": "5s"}} | asked.pop("timeout", {})
    spec |= {
        **asked,
        "timeout": timeout,
        "circuitBreaker": most | asked.get("circuitBreaker", {}),
    }
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


def _route(cell: ResolvedCell, connection: Southbound) -> Manifest:
    name, target = connection.name, connection.target
    backends = [{"group": "gateway.envoyproxy.io", "kind": "Backend", "name": name}]
    parents = [{"name": addresses.EGRESS_GATEWAY, "sectionName": f"p{connection.port}"}]
    if connection.kind in _WEB:
        filters: list[dict[str, Any]] = [
            {"type": "URLRewrite", "urlRewrite": {"hostname": target.host}}
        ]
        if connection.policy.credential is not None:
            own = {"group": "gateway.envoyproxy.io", "kind": "HTTPRouteFilter", "name": name}
            filters.append({"type": "ExtensionRef", "extensionRef": own})
        timeouts = connection.policy.timeouts
        request = timeouts.request if timeouts and timeouts.request else timedelta()
        rule: dict[str, Any] = {
            "filters": filters,
            "backendRefs": backends,
            "timeouts": {"request": duration(request)},
        }
        web = {"parentRefs": parents, "rules": [rule]}
        return exposure(cell, "", GATEWAY_API, "HTTPRoute", name, web)
    spec: dict[str, Any] = {"parentRefs": parents, "rules": [{"backendRefs": backends}]}
    if connection.kind is RouteKind.TLS:
        spec["hostnames"] = [target.host]
    return exposure(cell, "", STREAM_API[connection.kind], connection.kind.value, name, spec)
