"""What a data plane needs beside its Cells: the two shared gateways, and how they are run.

The northbound gateway opens TLS for the public domains and turns plain HTTP away to it. The
westbound one demands a certificate of the data planes' own authority before it reads a request, and
replaces what a client says about its certificate by what Envoy has verified (decision 7). Routes
attach from the namespaces of Cells alone, and to the listeners that carry TLS alone. Everything
that is Envoy Gateway's own is in EnvoyProxy and ClientTrafficPolicy; the rest is Gateway API.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from cellplane.cell import addresses, labels
from cellplane.cell.manifest import Manifest, Phase, in_order, manifest
from cellplane.cell.plane import DataPlaneProfile
from cellplane.gateway.compiler.objects import CERTIFICATE_API, ENVOY_API, GATEWAY_API

CONTROLLER: Final = "gateway.envoyproxy.io/gatewayclass-controller"
PUBLIC_ISSUER: Final = "cellplane-public"
"""cert-manager's ClusterIssuer of certificates that browsers trust, such as one for ACME."""
NORTHBOUND_SECRET: Final = "northbound-tls"  # noqa: S105 - the name of a Secret
WESTBOUND_SECRET: Final = "westbound-tls"  # noqa: S105 - the name of a Secret
NAMES_OF_CERTIFICATE: Final = 50
"""ACME issuers take about a hundred names in one certificate."""
_CLASSES = (addresses.GATEWAY_CLASS_INGRESS, addresses.GATEWAY_CLASS_EGRESS)


def compile_platform(
    plane: DataPlaneProfile,
    *,
    public_domains: Sequence[str],
    organization_domains: Sequence[str],
) -> tuple[Manifest, ...]:
    """Compile the shared gateways of a data plane, for the domains of its environments."""
    return in_order(_objects(plane, sorted(set(public_domains)), sorted(set(organization_domains))))


def _objects(
    plane: DataPlaneProfile, public: Sequence[str], organization: Sequence[str]
) -> Iterator[Manifest]:
    for name in _CLASSES:
        yield _object(GATEWAY_API, "GatewayClass", name, {"controllerName": CONTROLLER}, shared="")
    for gateway in (addresses.NORTHBOUND_GATEWAY, addresses.WESTBOUND_GATEWAY):
        yield _object(ENVOY_API, "EnvoyProxy", gateway, _proxy(gateway))
    yield from _northbound(public)
    yield from _westbound(plane, organization)


def _northbound(domains: Sequence[str]) -> Iterator[Manifest]:
    name = addresses.NORTHBOUND_GATEWAY
    secrets: list[str] = []
    for index in range(0, len(domains), NAMES_OF_CERTIFICATE):
        secrets.append(f"{NORTHBOUND_SECRET}-{index}" if index else NORTHBOUND_SECRET)
        names = [f"*.{domain}" for domain in domains[index : index + NAMES_OF_CERTIFICATE]]
        yield _certificate(secrets[-1], PUBLIC_ISSUER, {"dnsNames": names})
    plain = {
        "name": addresses.PLAIN_LISTENER,
        "port": 80,
        "protocol": "HTTP",
        # Nothing of a Cell is served in the clear: only the redirect below may attach.
        "allowedRoutes": {"namespaces": {"from": "Same"}},
    }
    yield _gateway(name, [plain, _tls(443, secrets)] if secrets else [plain])
    yield _object(
        GATEWAY_API,
        "HTTPRoute",
        "to-https",
        {
            "parentRefs": [{"name": name, "sectionName": addresses.PLAIN_LISTENER}],
            "rules": [
                {
                    "filters": [
                        {
                            "type": "RequestRedirect",
                            "requestRedirect": {"scheme": "https", "statusCode": 301},
                        }
                    ]
                }
            ],
        },
    )
    yield _client_policy(name, {"tls": {"minVersion": "1.2"}})


def _tls(port: int, secrets: Sequence[str]) -> dict[str, Any]:
    """One listener for every host: routes tell hosts apart, so 64 listeners are never needed."""
    return {
        "name": addresses.TLS_LISTENER,
        "port": port,
        "protocol": "HTTPS",
        "tls": {"mode": "Terminate", "certificateRefs": [{"name": each} for each in secrets]},
        "allowedRoutes": _FROM_CELLS,
    }


def _westbound(plane: DataPlaneProfile, domains: Sequence[str]) -> Iterator[Manifest]:
    name = addresses.WESTBOUND_GATEWAY
    names = [addresses.westbound_name(domain) for domain in domains]
    path = addresses.gateway_spiffe_path(plane.organization, plane.uid, name)
    yield _certificate(
        WESTBOUND_SECRET,
        addresses.CLUSTER_ISSUER,
        {"dnsNames": names, "uris": [f"spiffe://{plane.trust_domain}{path}"]},
    )
    yield _gateway(name, [_tls(addresses.WESTBOUND_PORT, [WESTBOUND_SECRET])])
    yield _client_policy(
        name,
        {
            "tls": {
                "minVersion": "1.3",
                "clientValidation": {
                    "caCertificateRefs": [{"group": "", "kind": "Secret", "name": WESTBOUND_SECRET}]
                },
            },
            "headers": {
                "xForwardedClientCert": {"mode": "SanitizeSet", "certDetailsToAdd": ["URI"]}
            },
        },
    )


_FROM_CELLS: Final[Mapping[str, Any]] = {
    "namespaces": {
        "from": "Selector",
        "selector": {"matchExpressions": [{"key": labels.CELL, "operator": "Exists"}]},
    }
}


def _gateway(name: str, listeners: Sequence[Mapping[str, Any]]) -> Manifest:
    return _object(
        GATEWAY_API,
        "Gateway",
        name,
        {
            "gatewayClassName": addresses.GATEWAY_CLASS_INGRESS,
            "infrastructure": {
                "parametersRef": {
                    "group": "gateway.envoyproxy.io",
                    "kind": "EnvoyProxy",
                    "name": name,
                }
            },
            "listeners": list(listeners),
        },
    )


def _client_policy(name: str, spec: Mapping[str, Any]) -> Manifest:
    """What holds for every client of a gateway, whatever an endpoint asks for."""
    return _object(
        ENVOY_API,
        "ClientTrafficPolicy",
        name,
        {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}],
            # A path that reads differently to the gateway and to the component is an open door.
            "path": {"escapedSlashesAction": "RejectRequest", "disableMergeSlashes": False},
            "timeout": {"http": {"requestReceivedTimeout": "60s", "idleTimeout": "300s"}},
            "http2": {"maxConcurrentStreams": 128},
            **spec,
        },
    )


def _proxy(name: str) -> dict[str, Any]:
    return {
        "provider": {
            "type": "Kubernetes",
            "kubernetes": {
                "envoyDeployment": {
                    "replicas": 2,
                    "name": name,
                    "pod": {"securityContext": POD_SECURITY},
                    "container": {"securityContext": CONTAINER_SECURITY},
                },
                "envoyService": {
                    "type": "LoadBalancer",
                    "name": name,
                    # Keeps the client's address, which limits per client are about.
                    "externalTrafficPolicy": "Local",
                },
                "envoyServiceAccount": {"name": name},
            },
        }
    }


POD_SECURITY: Final[Mapping[str, Any]] = {
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Final[Mapping[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def _certificate(secret: str, issuer: str, names: Mapping[str, Any]) -> Manifest:
    return _object(
        CERTIFICATE_API,
        "Certificate",
        secret,
        {
            "secretName": secret,
            **names,
            "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
            "usages": ["digital signature", "server auth"],
            "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": issuer},
        },
        phase=Phase.CONFIGURATION,
    )


def _object(
    api_version: str,
    kind: str,
    name: str,
    spec: Mapping[str, Any],
    *,
    shared: str = addresses.GATEWAY_NAMESPACE,
    phase: Phase = Phase.EXPOSURE,
) -> Manifest:
    metadata: dict[str, Any] = {"name": name, "labels": {labels.MANAGED_BY: labels.MANAGER}}
    if shared:
        metadata["namespace"] = shared
    body = {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": dict(spec)}
    return manifest("", phase, body)
