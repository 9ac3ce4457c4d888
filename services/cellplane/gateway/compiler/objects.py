"""What every object of this compiler has in common, and the words of the APIs that it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cellplane.cell import labels
from cellplane.cell.cell import CellFrame, ResolvedCell
from cellplane.cell.manifest import Manifest, Phase, manifest
from cellplane.cell.problem import Problem
from cellplane.cell.protocol import RouteKind

GATEWAY_API: Final = "gateway.networking.k8s.io/v1"
BACKEND_TLS_API: Final = "gateway.networking.k8s.io/v1"
"""Since Gateway API 1.4."""
ENVOY_API: Final = "gateway.envoyproxy.io/v1alpha1"
STREAM_API: Final[Mapping[RouteKind, str]] = {
    RouteKind.TLS: "gateway.networking.k8s.io/v1alpha3",
    RouteKind.TCP: "gateway.networking.k8s.io/v1alpha2",
    RouteKind.UDP: "gateway.networking.k8s.io/v1alpha2",
}
"""Routes of what is no HTTP, in the versions that Gateway API 1.4 and later serve."""
CERTIFICATE_API: Final = "cert-manager.io/v1"


def exposure(
    cell: ResolvedCell,
    part: str,
    api_version: str,
    kind: str,
    name: str,
    spec: Mapping[str, Any],
    *,
    phase: Phase = Phase.EXPOSURE,
) -> Manifest:
    """Make one object of the Cell's namespace."""
    frame = cell.frame
    own = labels.cell_labels(frame.organization, frame.project, frame.environment, frame.namespace)
    if part:
        own[labels.COMPONENT] = part
    body: dict[str, Any] = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": frame.namespace,
            "labels": own,
            "annotations": {labels.OWNER: cell.cell},
        },
    }
    if spec:
        body["spec"] = dict(spec)
    return manifest(part, phase, body)


def component_problem(
    frame: CellFrame, component: str, field: str, reason: str, message: str, value: str = ""
) -> Problem:
    """Blame a field of a component as it is written."""
    return Problem(
        reason=reason,
        message=message,
        field=field,
        resource=f"organizations/{frame.organization}/projects/{frame.project}"
        f"/components/{component}",
        value=value,
    )
