"""A Cell's own egress gateway; eastbound, and the certificate by which it is known there.

One listener for each connection that leaves the Cell; network policies let each component reach
only the ports of its own connections, so no component can borrow another's. Behind a listener, one
route leads to the westbound gateways of the data planes that hold the target, nearest first, over
mutual TLS with the Cell's client certificate. Inside of the Cell the listener speaks plain HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cellplane.cell import addresses, labels
from cellplane.cell.cell import (
    OrganizationTarget,
    OutboundConnection,
    ResolvedCell,
    ResolvedComponent,
)
from cellplane.cell.manifest import Manifest, Phase
from cellplane.cell.names import kube_name
from cellplane.cell.plane import (
    CERT_MANAGER,
    ENVOY_GATEWAY,
    GATEWAY,
    DataPlaneProfile,
    PeerGateway,
    Peers,
)
from cellplane.cell.problem import Problem, Severity
from cellplane.cell.protocol import Protocol
from cellplane.gateway.compiler.ingress import ROUTED
from cellplane.gateway.compiler.objects import (
    BACKEND_TLS_API,
    CERTIFICATE_API,
    ENVOY_API,
    GATEWAY_API,
    component_problem,
    exposure,
)
from cellplane.gateway.compiler.planes import endpoint_of, leads_somewhere
from cellplane.gateway.compiler.southbound import (
    compile_southbound,
    listener,
    southbound,
    southbound_problems,
)

LISTENER_LIMIT: Final = 64
"""Gateway API: listeners of one Gateway."""
CLIENT_SECRET: Final = "egress-client"  # noqa: S105 - the name of a Secret
_NEEDED = (GATEWAY, ENVOY_GATEWAY)
_H2C: Final = "gateway.envoyproxy.io/h2c"


def component_problems(cell: ResolvedCell, component: ResolvedComponent) -> Iterator[Problem]:
    """Refuse connections of one component that no door leads to yet."""
    yield from southbound_problems(cell, component)
    for index, connection in enumerate(component.connections):
        name = f'connection "{component.component}/{connection.connection}"'
        if isinstance(connection.target, OrganizationTarget) and (
            connection.protocol not in ROUTED
        ):
            yield component_problem(
                cell.frame,
                component.component,
                f"connections[{index}].component_endpoint",
                "PROTOCOL_NOT_ROUTED",
                f"{name}: {connection.protocol.value} does not cross Cells yet: let the target "
                "offer HTTP or gRPC",
                connection.protocol.value,
            )


def frame_problems(cell: ResolvedCell, plane: DataPlaneProfile, peers: Peers) -> Iterator[Problem]:
    """Refuse what this data plane can't do for the Cell, and tell what is not there yet."""
    outbound = _eastbound(cell)
    count = len(outbound) + len(southbound(cell))
    if not count:
        return
    needed = (*_NEEDED, CERT_MANAGER) if outbound else _NEEDED
    missing = [capability for capability in needed if not plane.can(capability)]
    if missing:
        yield Problem(
            reason="CAPABILITY_MISSING",
            message=f"the egress gateway of {cell.cell} needs {', '.join(missing)}, which data "
            f"plane {plane.data_plane} does not have: install it there, or place the Cell "
            "elsewhere",
            value=", ".join(missing),
        )
    if count > LISTENER_LIMIT:
        yield Problem(
            reason="TOO_MANY_CONNECTIONS",
            message=f"{cell.cell} has {count} connections that leave it; its egress gateway holds "
            f"{LISTENER_LIMIT}: split the project",
            value=str(count),
        )
    for connection, target in outbound:
        if not _gateways(plane, peers, target.project):
            yield Problem(
                reason="TARGET_NOT_PLACED",
                message=f'connection "{connection.component}/{connection.connection.connection}": '
                f"project {target.project} is on no data plane of this environment yet",
                resource=cell.cell,
                value=target.project,
                severity=Severity.WARNING,
            )


def compile_egress(cell: ResolvedCell, plane: DataPlaneProfile, peers: Peers) -> Iterator[Manifest]:
    """Compile the egress gateway of a Cell; nothing where no connection leaves it."""
    outbound, outside = _eastbound(cell), southbound(cell)
    if not outbound and not outside:
        return
    ports = addresses.egress_ports(cell.frame)
    if outbound:
        yield from _identity(cell, plane)
    yield _proxy(cell)
    listeners: list[dict[str, Any]] = [
        {
            "name": f"p{ports[o.component, o.connection.connection]}",
            "port": ports[o.component, o.connection.connection],
            "protocol": "HTTP",
            "allowedRoutes": {"namespaces": {"from": "Same"}},
        }
        for o, _ in outbound
    ]
    listeners.extend(listener(connection) for connection in outside)
    yield exposure(
        cell,
        "",
        GATEWAY_API,
        "Gateway",
        addresses.EGRESS_GATEWAY,
        {
            "gatewayClassName": addresses.GATEWAY_CLASS_EGRESS,
            "infrastructure": {
                "parametersRef": {
                    "group": "gateway.envoyproxy.io",
                    "kind": "EnvoyProxy",
                    "name": addresses.EGRESS_GATEWAY,
                }
            },
            "listeners": sorted(listeners, key=lambda listener: str(listener["name"])),
        },
    )
    for each in outside:
        yield from compile_southbound(cell, each)
    for connection, target in outbound:
        gateways = _gateways(plane, peers, target.project)
        if gateways:
            port = ports[connection.component, connection.connection.connection]
            yield from _door(cell, plane, connection, target, gateways, port)


def _eastbound(cell: ResolvedCell) -> list[tuple[OutboundConnection, OrganizationTarget]]:
    return [
        (outbound, outbound.connection.target)
        for outbound in cell.frame.outbound
        if isinstance(outbound.connection.target, OrganizationTarget)
        and outbound.connection.protocol in ROUTED
    ]


def _gateways(plane: DataPlaneProfile, peers: Peers, project: str) -> tuple[PeerGateway, ...]:
    """Nearest first; what cannot be another plane's is left out, as network policies leave it."""
    found = next((peer.gateways for peer in peers.cells if peer.project == project), ())
    return tuple(gateway for gateway in found if leads_somewhere(gateway, plane))


def _identity(cell: ResolvedCell, plane: DataPlaneProfile) -> Iterator[Manifest]:
    """The Cell's client certificate; its key never leaves the cluster."""
    frame = cell.frame
    path = addresses.cell_spiffe_path(
        frame.organization, plane.uid, frame.project, frame.environment
    )
    yield exposure(
        cell,
        "",
        CERTIFICATE_API,
        "Certificate",
        CLIENT_SECRET,
        {
            "secretName": CLIENT_SECRET,
            "uris": [f"spiffe://{plane.trust_domain}{path}"],
            "duration": "24h0m0s",
            "renewBefore": "8h0m0s",
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "usages": ["digital signature", "client auth"],
            "issuerRef": {
                "group": "cert-manager.io",
                "kind": "ClusterIssuer",
                "name": addresses.CLUSTER_ISSUER,
            },
        },
        phase=Phase.CONFIGURATION,
    )


def _proxy(cell: ResolvedCell) -> Manifest:
    """How Envoy Gateway runs the proxies of this Gateway: closed, small, and known by a label."""
    return exposure(
        cell,
        "",
        ENVOY_API,
        "EnvoyProxy",
        addresses.EGRESS_GATEWAY,
        {
            "provider": {
                "type": "Kubernetes",
                "kubernetes": {
                    "envoyDeployment": {
                        "replicas": 2,
                        "name": addresses.EGRESS_GATEWAY,
                        "pod": {
                            "labels": {
                                labels.CELL: cell.frame.namespace,
                                labels.EGRESS_GATEWAY: "true",
                            },
                            "securityContext": {
                                "runAsNonRoot": True,
                                "seccompProfile": {"type": "RuntimeDefault"},
                            },
                        },
                        "container": {
                            "resources": {
                                "requests": {"cpu": "50m", "memory": "64Mi"},
                                "limits": {"memory": "256Mi"},
                            },
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "capabilities": {"drop": ["ALL"]},
                                "readOnlyRootFilesystem": True,
                            },
                        },
                    },
                    "envoyService": {"type": "ClusterIP", "name": addresses.EGRESS_GATEWAY},
                    "envoyServiceAccount": {"name": addresses.EGRESS_GATEWAY},
                },
            },
        },
    )


def _door(
    cell: ResolvedCell,
    plane: DataPlaneProfile,
    outbound: OutboundConnection,
    target: OrganizationTarget,
    gateways: tuple[PeerGateway, ...],
    port: int,
) -> Iterator[Manifest]:
    host = addresses.organization_host(
        target.project, target.component, target.endpoint, cell.frame.organization_domain
    )
    name = kube_name(outbound.component, outbound.connection.connection, "east")
    backends: list[dict[str, Any]] = []
    for rank, gateway in enumerate(gateways):
        backend = kube_name(f"{name[:50].rstrip('-')}-{rank}")
        backends.append({"group": "gateway.envoyproxy.io", "kind": "Backend", "name": backend})
        yield _backend(cell, backend, gateway, plane, rank, grpc=_is_grpc(outbound))
        yield _verification(cell, plane, backend, host)
    yield exposure(
        cell,
        "",
        GATEWAY_API,
        "HTTPRoute",
        name,
        {
            "parentRefs": [{"name": addresses.EGRESS_GATEWAY, "sectionName": f"p{port}"}],
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": target.path}}],
                    # The westbound gateway routes by host; gRPC is HTTP/2 and needs no route kind
                    # of its own here, where only the authority is rewritten.
                    "filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": host}}],
                    "backendRefs": backends,
                    "timeouts": {"request": "0s"},
                }
            ],
        },
    )
    yield exposure(
        cell,
        "",
        ENVOY_API,
        "BackendTrafficPolicy",
        name,
        {
            "targetRefs": [
                {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name}
            ],
            # A gateway that fails is left for a while, which is what makes the next one take over.
            "healthCheck": {
                # Only whether the gateway is there; how its Cell fares, answers tell.
                "active": {
                    "type": "TCP",
                    "tcp": {},
                    "interval": "3s",
                    "timeout": "1s",
                    "healthyThreshold": 1,
                    "unhealthyThreshold": 2,
                },
                "passive": {
                    "baseEjectionTime": "10s",
                    "interval": "2s",
                    "consecutiveGatewayErrors": 3,
                    "maxEjectionPercent": 100,
                },
            },
            # Only what the component never saw is sent again, and to the next data plane at once.
            "retry": {
                "numRetries": 2,
                "numAttemptsPerPriority": 1,
                "retryOn": {
                    "triggers": ["connect-failure", "refused-stream", "reset-before-request"]
                },
            },
            "timeout": {"tcp": {"connectTimeout": "1s"}},
        },
    )


def _is_grpc(outbound: OutboundConnection) -> bool:
    return outbound.connection.protocol is Protocol.GRPC


def _backend(
    cell: ResolvedCell,
    name: str,
    gateway: PeerGateway,
    plane: DataPlaneProfile,
    rank: int,
    *,
    grpc: bool,
) -> Manifest:
    spec: dict[str, Any] = {"endpoints": [endpoint_of(gateway, plane)]}
    # For this backend alone: nobody outside of the organization is shown who the Cell is.
    spec["tls"] = {
        "clientCertificateRef": {"kind": "Secret", "name": CLIENT_SECRET},
        "minVersion": "1.3",
    }
    if rank:
        spec["fallback"] = True
    if grpc:
        spec["appProtocols"] = [_H2C]
    return exposure(cell, "", ENVOY_API, "Backend", name, spec)


def _verification(cell: ResolvedCell, plane: DataPlaneProfile, backend: str, host: str) -> Manifest:
    """Verify the westbound gateway: its name, by the authority that signed our own certificate.

    Every westbound gateway has the one name; the target's host only tells it what is asked for.
    """
    return exposure(
        cell,
        "",
        BACKEND_TLS_API,
        "BackendTLSPolicy",
        backend,
        {
            "targetRefs": [{"group": "gateway.envoyproxy.io", "kind": "Backend", "name": backend}],
            "validation": {
                "hostname": host,
                "subjectAltNames": [
                    {
                        "type": "Hostname",
                        "hostname": addresses.westbound_name(
                            cell.frame.organization, plane.trust_domain
                        ),
                    }
                ],
                "caCertificateRefs": [{"group": "", "kind": "Secret", "name": CLIENT_SECRET}],
            },
        },
    )
