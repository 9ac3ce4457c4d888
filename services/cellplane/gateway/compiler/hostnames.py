"""Hosts of an endpoint's own: listeners that a Cell brings to the shared northbound gateway.

What the platform's certificate covers is served by the gateway's own listener. Any other host has a
listener and a certificate in the Cell's namespace, as a ListenerSet (Gateway API 1.5), and its
routes attach to that listener alone: whoever asks for it under another name in SNI finds nothing,
so a client certificate that is demanded there cannot be gone around.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cellplane.cell import addresses
from cellplane.cell.cell import CellFrame, ResolvedCell, ResolvedComponent, ResolvedEndpoint
from cellplane.cell.manifest import Manifest, Phase
from cellplane.cell.names import kube_name
from cellplane.cell.traffic import MutualTlsAuthentication
from cellplane.cell.visibility import Visibility
from cellplane.gateway.compiler.objects import CERTIFICATE_API, ENVOY_API, GATEWAY_API, exposure
from cellplane.gateway.compiler.platform import (
    FOR_EVERY_CLIENT,
    NORTHBOUND_TLS,
    PUBLIC_ISSUER,
    certificate,
)
from cellplane.gateway.compiler.secrets import fetched

CLIENTS_KEY: Final = "ca.crt"
"""Where Envoy Gateway looks for the authorities of clients, in a Secret."""


def own_hosts(frame: CellFrame, endpoint: ResolvedEndpoint) -> tuple[str, ...]:
    """Public hosts of an endpoint that the platform's certificate does not cover."""
    return tuple(h for h in addresses.public_hosts(frame, endpoint) if not _covered(frame, h))


def platform_hosts(frame: CellFrame, endpoint: ResolvedEndpoint) -> tuple[str, ...]:
    """Public hosts of an endpoint that it does."""
    return tuple(h for h in addresses.public_hosts(frame, endpoint) if _covered(frame, h))


def listener_set(component: str, host: str) -> str:
    """ListenerSet, Certificate and Secret of a host."""
    return kube_name(component, host, "host")


def mutual_tls(endpoint: ResolvedEndpoint) -> MutualTlsAuthentication | None:
    """What an endpoint demands of clients' certificates."""
    policy = endpoint.traffic_policy
    asked = policy.authentication if policy is not None else None
    return asked.mutual_tls if asked is not None else None


def mutual_tls_refused(
    frame: CellFrame, component: ResolvedComponent, endpoint: ResolvedEndpoint
) -> str:
    """Why a demand for client certificates would not hold; empty where it does, or is none."""
    if mutual_tls(endpoint) is None:
        return ""
    if Visibility.ORGANIZATION in endpoint.visibilities:
        return "other Cells show their own certificates, not those of its clients"
    if platform_hosts(frame, endpoint):
        return "the platform's host serves clients without certificates: give it a hostname"
    shared = [
        other.endpoint
        for other in component.endpoints
        if other.endpoint != endpoint.endpoint
        and Visibility.PUBLIC in other.visibilities
        and set(own_hosts(frame, other)) & set(own_hosts(frame, endpoint))
    ]
    return (
        f"its host is also that of endpoint {shared[0]}: give it one of its own" if shared else ""
    )


def compile_hosts(
    cell: ResolvedCell, component: ResolvedComponent, endpoints: list[ResolvedEndpoint]
) -> Iterator[Manifest]:
    """Compile the listeners of the hosts that these public endpoints bring along."""
    served: dict[str, ResolvedEndpoint] = {}
    for endpoint in endpoints:
        for host in own_hosts(cell.frame, endpoint):
            served.setdefault(host, endpoint)
    for host, endpoint in sorted(served.items()):
        yield from _listener(cell, component, host, endpoint)


def _listener(
    cell: ResolvedCell, component: ResolvedComponent, host: str, endpoint: ResolvedEndpoint
) -> Iterator[Manifest]:
    part, name = component.component, listener_set(component.component, host)
    yield exposure(
        cell,
        part,
        CERTIFICATE_API,
        "Certificate",
        name,
        certificate(name, PUBLIC_ISSUER, {"dnsNames": [host]}),
        phase=Phase.CONFIGURATION,
    )
    client: dict[str, Any] = {**FOR_EVERY_CLIENT, "tls": dict(NORTHBOUND_TLS)}
    demanded = mutual_tls(endpoint)
    if demanded is not None:
        clients = kube_name(part, endpoint.endpoint, "clients")
        yield from fetched(cell, component, clients, {CLIENTS_KEY: demanded.authorities})
        client["tls"]["clientValidation"] = _validation(demanded, clients)
    target = {"group": "gateway.networking.k8s.io", "kind": "ListenerSet", "name": name}
    yield exposure(
        cell,
        part,
        ENVOY_API,
        "ClientTrafficPolicy",
        name,
        {"targetRefs": [target], **client},
        phase=Phase.CONFIGURATION,
    )
    yield exposure(
        cell,
        part,
        GATEWAY_API,
        "ListenerSet",
        name,
        {
            "parentRef": {
                "group": "gateway.networking.k8s.io",
                "kind": "Gateway",
                "name": addresses.NORTHBOUND_GATEWAY,
                "namespace": addresses.GATEWAY_NAMESPACE,
            },
            "listeners": [
                {
                    "name": addresses.TLS_LISTENER,
                    "hostname": host,
                    "port": 443,
                    "protocol": "HTTPS",
                    "tls": {"mode": "Terminate", "certificateRefs": [{"name": name}]},
                    "allowedRoutes": {"namespaces": {"from": "Same"}},
                }
            ],
        },
    )


def _validation(demanded: MutualTlsAuthentication, secret: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"caCertificateRefs": [{"group": "", "kind": "Secret", "name": secret}]}
    names: dict[str, list[dict[str, str]]] = {}
    for name in demanded.subject_alt_names:
        kind = "uris" if "://" in name else "emailAddresses" if "@" in name else "dnsNames"
        names.setdefault(kind, []).append({"type": "Exact", "value": name})
    if names:
        spec["subjectAltNames"] = names
    return spec


def _covered(frame: CellFrame, host: str) -> bool:
    """Whether the wildcard of the environment's domain has the host: one label before it."""
    label, _, domain = host.partition(".")
    return bool(label) and domain == frame.public_domain
