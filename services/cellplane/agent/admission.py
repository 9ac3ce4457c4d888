"""PURE: what the agent applies at all, whoever asks for it.

A Cell gets objects of these kinds, in its own namespace, and that namespace; each carries the Cell
as its owner and is the object that it is called. A part of the platform gets the same, and what it
needs of the cluster, by names that no tenant can take. All else is refused, object by object.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from cellplane.agent.objects import Outcome, Result, Want, WantedObject
from cellplane.cell import labels
from cellplane.cell.manifest import ObjectKey, Phase
from cellplane.cell.names import PlatformName, namespace_of

ALLOWED: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset(
        {
            "Namespace",
            "ServiceAccount",
            "Service",
            "ConfigMap",
            "PersistentVolumeClaim",
            "ResourceQuota",
            "LimitRange",
        }
    ),
    "apps": frozenset({"Deployment", "StatefulSet"}),
    "batch": frozenset({"Job", "CronJob"}),
    "autoscaling": frozenset({"HorizontalPodAutoscaler"}),
    "policy": frozenset({"PodDisruptionBudget"}),
    "networking.k8s.io": frozenset({"NetworkPolicy"}),
    "cilium.io": frozenset({"CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"}),
    "gateway.networking.k8s.io": frozenset(
        {
            "Gateway",
            "GatewayClass",
            "HTTPRoute",
            "GRPCRoute",
            "TLSRoute",
            "TCPRoute",
            "UDPRoute",
            "ReferenceGrant",
            "BackendTLSPolicy",
            "XListenerSet",
            "ListenerSet",
        }
    ),
    "gateway.envoyproxy.io": frozenset(
        {
            "Backend",
            "BackendTrafficPolicy",
            "ClientTrafficPolicy",
            "EnvoyProxy",
            "HTTPRouteFilter",
            "SecurityPolicy",
        }
    ),
    "cert-manager.io": frozenset({"Certificate", "Issuer"}),
    "security.istio.io": frozenset({"AuthorizationPolicy", "PeerAuthentication"}),
    "external-secrets.io": frozenset({"ExternalSecret"}),
    "generators.external-secrets.io": frozenset({"Password"}),
    "keda.sh": frozenset({"ScaledObject"}),
}

CLUSTER_KINDS: Final = frozenset({"CiliumClusterwideNetworkPolicy", "GatewayClass"})
"""Kinds without namespace that parts of the platform get, beside their namespace."""
CLUSTER_PREFIX: Final = "cellplane."
"""Begins the names of those."""
STRICT_PHASES: Final = frozenset({Phase.GUARD, Phase.POLICY})
_LOOSE: Final = frozenset({"ServiceAccount", "Namespace"})


def is_strict(phase: Phase, kind: str) -> bool:
    """Whether a field too many in ``spec`` is drift: of policies."""
    return phase in STRICT_PHASES and kind not in _LOOSE


def refusals(want: Want, contents: Mapping[str, bytes]) -> tuple[Result, ...]:
    """Say of each object of a Want why it is refused; nothing if it may be stored.

    Args:
        want: What is asked for.
        contents: What is in the objects, by digest, as far as it was sent.
    """
    namespace = namespace_of(want.cell)
    if namespace is None:
        whole = ObjectKey(api_version="", kind="Cell", namespace="", object=want.cell)
        return (Result(key=whole, outcome=Outcome.FORBIDDEN, message=f"{want.cell!r} is no Cell"),)
    found: list[Result] = []
    of_platform = PlatformName.parse(want.cell) is not None
    for wanted in want.objects:
        why = _refuse_key(wanted.key, namespace, of_platform=of_platform)
        if not why and wanted.digest in contents:
            why = _refuse_content(wanted, want.cell, contents[wanted.digest])
        if why:
            found.append(_forbidden(wanted.key, why, wanted.part))
    found.extend(
        _forbidden(key, why, "")
        for key in want.removals
        if (why := _refuse_key(key, namespace, of_platform=of_platform))
    )
    return tuple(found)


def _refuse_key(key: ObjectKey, namespace: str, *, of_platform: bool) -> str:
    group = key.api_version.rpartition("/")[0]
    if key.kind in CLUSTER_KINDS and not key.namespace:
        named = key.object.startswith(CLUSTER_PREFIX)
        return "" if of_platform and named else f"{key} is not the platform's own"
    if key.kind not in ALLOWED.get(group, frozenset()):
        return f"kind {key.kind} of {key.api_version} is not one that an agent applies"
    if key.kind == "Namespace":
        if key.object != namespace or key.namespace:
            return f"namespace {key.object} is not the Cell's own, {namespace}"
        return ""
    if key.namespace != namespace:
        return f"{key} is not in the Cell's own namespace, {namespace}"
    return ""


def _refuse_content(wanted: WantedObject, cell: str, content: bytes) -> str:
    if hashlib.sha256(content).hexdigest() != wanted.digest:
        return f"content of {wanted.key} has another digest"
    try:
        body: Any = json.loads(content)
        metadata = body["metadata"]
        named = ObjectKey(
            api_version=body["apiVersion"],
            kind=body["kind"],
            namespace=metadata.get("namespace", ""),
            object=metadata["name"],
        )
        owner = (metadata.get("annotations") or {}).get(labels.OWNER, "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"content of {wanted.key} is no Kubernetes object"
    if named != wanted.key:
        return f"content of {wanted.key} is of {named}"
    if owner != cell:
        return f"content of {wanted.key} does not carry this Cell as its owner"
    return ""


def _forbidden(key: ObjectKey, why: str, part: str) -> Result:
    return Result(key=key, outcome=Outcome.FORBIDDEN, message=why, part=part)
