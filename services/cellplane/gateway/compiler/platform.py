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
from cellplane.cell.manifest import Compiled, Manifest, Phase, in_order, manifest
from cellplane.cell.names import PlatformName
from cellplane.cell.plane import (
    CERT_MANAGER,
    CILIUM_POLICY,
    ENVOY_GATEWAY,
    GATEWAY,
    KUBERNETES_POLICY,
    DataPlaneProfile,
)
from cellplane.gateway.compiler.objects import CERTIFICATE_API, ENVOY_API, GATEWAY_API

CONTROLLER: Final = "gateway.envoyproxy.io/gatewayclass-controller"
PUBLIC_ISSUER: Final = "cellplane-public"
"""cert-manager's ClusterIssuer of certificates that browsers trust, such as one for ACME."""
NORTHBOUND_SECRET: Final = "northbound-tls"  # noqa: S105 - the name of a Secret
WESTBOUND_SECRET: Final = "westbound-tls"  # noqa: S105 - the name of a Secret
NAMES_OF_CERTIFICATE: Final = 50
"""ACME issuers take about a hundred names in one certificate."""
NORTHBOUND_TLS: Final[Mapping[str, Any]] = {"minVersion": "1.2"}
FOR_EVERY_CLIENT: Final[Mapping[str, Any]] = {
    # A path that reads differently to the gateway and to the component is an open door.
    "path": {"escapedSlashesAction": "RejectRequest", "disableMergeSlashes": False},
    "timeout": {"http": {"requestReceivedTimeout": "60s", "idleTimeout": "300s"}},
    "http2": {"maxConcurrentStreams": 128},
}
"""Of a ClientTrafficPolicy; each one must say all of it, as no other holds beside it."""
_CLASSES = (addresses.GATEWAY_CLASS_INGRESS, addresses.GATEWAY_CLASS_EGRESS)


def compile_platform(plane: DataPlaneProfile, public_domains: Sequence[str] = ()) -> Compiled:
    """Compile the shared gateways of a data plane; nothing where nobody would run or close them.

    Certificates are asked for where domains are given; else whoever runs the data plane puts one
    into the Secret that the northbound gateway names.
    """
    needed = (GATEWAY, ENVOY_GATEWAY, CERT_MANAGER)
    closed = plane.can(CILIUM_POLICY) or plane.can(KUBERNETES_POLICY)
    if not closed or not all(plane.can(each) for each in needed):
        return Compiled()
    return Compiled(manifests=in_order(_objects(_Ground(plane), sorted(set(public_domains)))))


class _Ground:
    """Whose objects these are, and where they lie."""

    def __init__(self, plane: DataPlaneProfile) -> None:
        self.plane = plane
        self.name = PlatformName(
            organization=plane.organization,
            data_plane=plane.data_plane,
            platform=addresses.GATEWAYS_PLATFORM,
        )

    def made(
        self,
        api_version: str,
        kind: str,
        name: str,
        spec: Mapping[str, Any],
        *,
        phase: Phase = Phase.EXPOSURE,
    ) -> Manifest:
        """Make one object; a class is the cluster's, all else lies in the gateways' namespace."""
        own, namespace = self.name, self.name.namespace
        metadata: dict[str, Any] = {
            "name": name,
            "labels": labels.platform_labels(own.organization, own.platform, namespace),
            "annotations": {labels.OWNER: str(own)},
        }
        if kind != "GatewayClass":
            metadata["namespace"] = namespace
        body = {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": dict(spec)}
        return manifest("", phase, body)


def _objects(ground: _Ground, public: Sequence[str]) -> Iterator[Manifest]:
    for name in _CLASSES:
        yield ground.made(GATEWAY_API, "GatewayClass", name, {"controllerName": CONTROLLER})
    for gateway in (addresses.NORTHBOUND_GATEWAY, addresses.WESTBOUND_GATEWAY):
        yield ground.made(ENVOY_API, "EnvoyProxy", gateway, _proxy(gateway))
    yield from _northbound(ground, public)
    yield from _westbound(ground)


def _northbound(ground: _Ground, domains: Sequence[str]) -> Iterator[Manifest]:
    name = addresses.NORTHBOUND_GATEWAY
    secrets: list[str] = [] if domains else [NORTHBOUND_SECRET]
    for index in range(0, len(domains), NAMES_OF_CERTIFICATE):
        secrets.append(f"{NORTHBOUND_SECRET}-{index}" if index else NORTHBOUND_SECRET)
        names = [f"*.{domain}" for domain in domains[index : index + NAMES_OF_CERTIFICATE]]
        yield _certificate(ground, secrets[-1], PUBLIC_ISSUER, {"dnsNames": names})
    plain = {
        "name": addresses.PLAIN_LISTENER,
        "port": 80,
        "protocol": "HTTP",
        # Nothing of a Cell is served in the clear: only the redirect below may attach.
        "allowedRoutes": {"namespaces": {"from": "Same"}},
    }
    yield _gateway(ground, name, [plain, _tls(443, secrets)])
    yield ground.made(
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
    yield _client_policy(ground, name, {"tls": NORTHBOUND_TLS})


def _tls(port: int, secrets: Sequence[str]) -> dict[str, Any]:
    """One listener for every host: routes tell hosts apart, so 64 listeners are never needed."""
    return {
        "name": addresses.TLS_LISTENER,
        "port": port,
        "protocol": "HTTPS",
        "tls": {"mode": "Terminate", "certificateRefs": [{"name": each} for each in secrets]},
        "allowedRoutes": _FROM_CELLS,
    }


def _westbound(ground: _Ground) -> Iterator[Manifest]:
    name, plane = addresses.WESTBOUND_GATEWAY, ground.plane
    path = addresses.gateway_spiffe_path(plane.organization, plane.uid, name)
    yield _certificate(
        ground,
        WESTBOUND_SECRET,
        addresses.CLUSTER_ISSUER,
        {
            "dnsNames": [addresses.westbound_name(plane.organization, plane.trust_domain)],
            "uris": [f"spiffe://{plane.trust_domain}{path}"],
        },
    )
    yield _gateway(ground, name, [_tls(addresses.WESTBOUND_PORT, [WESTBOUND_SECRET])])
    yield _client_policy(
        ground,
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
        "selector": {"matchExpressions": [{"key": labels.ENVIRONMENT, "operator": "Exists"}]},
    }
}


def _gateway(ground: _Ground, name: str, listeners: Sequence[Mapping[str, Any]]) -> Manifest:
    return ground.made(
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
            # Hosts of their own are brought along by Cells.
            **({"allowedListeners": _FROM_CELLS} if name == addresses.NORTHBOUND_GATEWAY else {}),
        },
    )


def _client_policy(ground: _Ground, name: str, spec: Mapping[str, Any]) -> Manifest:
    """What holds for every client of a gateway, whatever an endpoint asks for."""
    return ground.made(
        ENVOY_API,
        "ClientTrafficPolicy",
        name,
        {
            "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}],
            **FOR_EVERY_CLIENT,
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


def _certificate(ground: _Ground, secret: str, issuer: str, names: Mapping[str, Any]) -> Manifest:
    return ground.made(
        CERTIFICATE_API,
        "Certificate",
        secret,
        certificate(secret, issuer, names),
        phase=Phase.CONFIGURATION,
    )


def certificate(secret: str, issuer: str, names: Mapping[str, Any]) -> dict[str, Any]:
    """What a server's Certificate asks for; its key is born on the data plane, anew each time."""
    return {
        "secretName": secret,
        **names,
        "privateKey": {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"},
        "usages": ["digital signature", "server auth"],
        "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": issuer},
    }
