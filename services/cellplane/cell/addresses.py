"""The names, hosts and ports by which things are reached, so that no compiler asks another.

Every name that two compilers must agree on is made here, from the waist alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cellplane.cell.cell import (
    CellFrame,
    CellTarget,
    ExternalTarget,
    OrganizationTarget,
    ResolvedConnection,
    ResolvedEndpoint,
)
from cellplane.cell.names import kube_name, last_segment, short_hash
from cellplane.cell.protocol import TRAITS, Protocol

GATEWAYS_PLATFORM: Final = "gateways"
GATEWAY_NAMESPACE: Final = "cellplane-gateways"
"""Holds the shared gateways of a data plane; only the platform owns it."""
NORTHBOUND_GATEWAY: Final = "northbound"
WESTBOUND_GATEWAY: Final = "westbound"
NORTHBOUND_PORTS: Final = (80, 443)
WESTBOUND_PORT: Final = 443
PLAIN_LISTENER: Final = "plain"
TLS_LISTENER: Final = "tls"
"""Listeners of the shared gateways; routes of Cells attach to the one that carries TLS."""
OBSERVABILITY_NAMESPACE: Final = "cellplane-observability"
COLLECTOR: Final = "collector"
"""Service and service account of the telemetry collector."""
COLLECTOR_PORT: Final = 4317
SCRAPER: Final = "scraper"
"""Service account of the metrics scraper."""
DNS_NAMESPACE: Final = "kube-system"
DNS_LABEL: Final = ("k8s-app", "kube-dns")
DNS_PORT: Final = 53
EGRESS_GATEWAY: Final = "egress"
"""Gateway, Service and service account of a Cell's own egress gateway, in the Cell's namespace."""
CLUSTER_ISSUER: Final = "cellplane"
"""cert-manager's ClusterIssuer of a data plane's own intermediate authority."""
GATEWAY_CLASS_INGRESS: Final = "cellplane.ingress"
GATEWAY_CLASS_EGRESS: Final = "cellplane.egress"

_TLS_PORT: Final = 443
_CONTROLLER_LIMIT: Final = 52
"""Their pods carry the controller's name and a suffix of eleven in a label, or in their name."""
_EGRESS_PORT_BASE: Final = 20000
_EGRESS_PORT_COUNT: Final = 10000


def target_port(listener: int) -> int:
    """Port of a gateway's process: its rootless pods move privileged listeners up by 10,000."""
    return listener + 10000 if listener < 1024 else listener


def service_name(component: str) -> str:
    """Service, Deployment and the like of a component: its id."""
    return kube_name(component)


def headless_service(component: str) -> str:
    """Service by which each replica of a stateful component has a name of its own."""
    return kube_name(component, "headless")


def controller_name(component: str) -> str:
    """What runs a component and gives its pods names: short enough for what is appended."""
    return kube_name(component, limit=_CONTROLLER_LIMIT)


def service_account(component: str) -> str:
    """Service account of a component: its identity."""
    return kube_name(component)


def telemetry_config(component: str) -> str:
    """ConfigMap with the OpenTelemetry settings of a component; its workload reads all of it."""
    return kube_name(f"{component}-telemetry")


def secret_name(component: str, secret_reference: str) -> str:
    """Secret, and the ExternalSecret that makes it, of a component: of its own, with its keys."""
    return kube_name(component, last_segment(secret_reference))


def outputs_secret(component: str) -> str:
    """Secret with the outputs of a managed resource: made on the data plane, and read there."""
    return kube_name(component, "outputs")


def public_hosts(frame: CellFrame, endpoint: ResolvedEndpoint) -> tuple[str, ...]:
    """Hosts under which the northbound gateway serves an endpoint; each once."""
    own = endpoint.hostname or f"{kube_name(frame.project)}.{frame.public_domain}"
    return tuple(dict.fromkeys((own, *endpoint.additional_hostnames)))


def organization_host(project: str, component: str, endpoint: str, domain: str) -> str:
    """Host under which westbound gateways serve an endpoint: one host for each endpoint."""
    return f"{kube_name(component, endpoint)}.{kube_name(project)}.{domain}"


def is_tls_outside(protocol: Protocol, target: ExternalTarget) -> bool:
    """Whether an external host speaks TLS: by its protocol, or by its well-known port."""
    return TRAITS[protocol].tls or target.port == _TLS_PORT


def westbound_name(organization: str, trust_domain: str) -> str:
    """Name in the certificate of every westbound gateway of an organization, on any data plane."""
    return f"{WESTBOUND_GATEWAY}.{organization}.{trust_domain}"


def egress_ports(frame: CellFrame) -> dict[tuple[str, str], int]:
    """Give each outbound connection its listener port on the Cell's egress gateway.

    A port follows from the connection's own name, so that adding one connection moves no other;
    of two that meet, the later by name takes the next free one.
    """
    ports: dict[tuple[str, str], int] = {}
    taken: set[int] = set()
    for outbound in sorted(frame.outbound, key=lambda o: (o.component, o.connection.connection)):
        key = (outbound.component, outbound.connection.connection)
        offset = sum(ord(c) * 31**i for i, c in enumerate(short_hash(*key)))
        while (port := _EGRESS_PORT_BASE + offset % _EGRESS_PORT_COUNT) in taken:
            offset += 1
        taken.add(port)
        ports[key] = port
    return ports


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a component finds what it is connected to."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def url(self) -> str:
        """The address as a URL."""
        return f"{self.scheme}://{self.host}:{self.port}{self.path}"

    @property
    def authority(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"


def connection_address(frame: CellFrame, component: str, connection: ResolvedConnection) -> Address:
    """Where *component* finds the target of its *connection*.

    In-cell, the target's Service; else the listener of the Cell's own egress gateway, which speaks
    plain HTTP or gRPC inside of the Cell and mutual TLS outside.
    """
    traits = TRAITS[connection.protocol]
    match connection.target:
        case CellTarget() as target:
            return Address(
                scheme=traits.scheme,
                host=f"{service_name(target.component)}.{frame.namespace}.svc.cluster.local",
                port=target.port,
            )
        case OrganizationTarget() as target:
            port = egress_ports(frame)[component, connection.connection]
            path = "" if target.path == "/" else target.path
            return Address(
                scheme=traits.scheme,
                host=f"{EGRESS_GATEWAY}.{frame.namespace}.svc.cluster.local",
                port=port,
                path=path,
            )
        case ExternalTarget():
            port = egress_ports(frame)[component, connection.connection]
            return Address(
                # The gateway opens TLS where the host wants it; inside, it would have no name.
                scheme="http" if connection.protocol is Protocol.HTTPS else traits.scheme,
                host=f"{EGRESS_GATEWAY}.{frame.namespace}.svc.cluster.local",
                port=port,
            )


def cell_spiffe_path(organization: str, data_plane_uid: str, project: str, environment: str) -> str:
    """Path of a Cell's SPIFFE id on one data plane."""
    return (
        f"/organizations/{organization}/dataPlanes/{data_plane_uid}/cells/{project}/{environment}"
    )


def gateway_spiffe_path(organization: str, data_plane_uid: str, gateway: str) -> str:
    """Path of a shared gateway's SPIFFE id on one data plane."""
    return f"/organizations/{organization}/dataPlanes/{data_plane_uid}/gateways/{gateway}"
