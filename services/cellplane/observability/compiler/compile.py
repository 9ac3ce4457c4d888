"""The compiler's one door: a Cell, or a part of it, to the telemetry settings of its components.

They are environment variables of OpenTelemetry's specification, in a ConfigMap that the workload
reads whole, so that any SDK works without a word in the component.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from cellplane.cell import addresses, labels
from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.manifest import Compiled, Manifest, Phase, in_order, manifest
from cellplane.cell.plane import DataPlaneProfile, Peers

_ENDPOINT: Final = (
    f"http://{addresses.COLLECTOR}.{addresses.OBSERVABILITY_NAMESPACE}.svc.cluster.local"
    f":{addresses.COLLECTOR_PORT}"
)
_EVERYTHING: Final = {"OTEL_TRACES_SAMPLER": "parentbased_always_on"}
_ONE_IN_TEN: Final = {
    "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": "0.1",
}


def compile(  # noqa: A001 - the word of the field
    cell: ResolvedCell,
    plane: DataPlaneProfile,
    peers: Peers,  # noqa: ARG001 - the signature of every compiler
    *,
    include_frame: bool,  # noqa: ARG001
) -> Compiled:
    """Compile the telemetry settings of *cell*'s components; a frame has none of its own."""
    return Compiled(manifests=in_order(_settings(cell, c, plane) for c in cell.components))


def _settings(
    cell: ResolvedCell, component: ResolvedComponent, plane: DataPlaneProfile
) -> Manifest:
    frame = cell.frame
    own = labels.cell_labels(frame.organization, frame.project, frame.environment, frame.namespace)
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": addresses.telemetry_config(component.component),
            "namespace": frame.namespace,
            "labels": own | {labels.COMPONENT: component.component},
            "annotations": {labels.OWNER: cell.cell},
        },
        "data": {
            "OTEL_SERVICE_NAME": component.component,
            "OTEL_EXPORTER_OTLP_ENDPOINT": _ENDPOINT,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_PROPAGATORS": "tracecontext,baggage",
            "OTEL_RESOURCE_ATTRIBUTES": _attributes(cell, component, plane),
            **(_ONE_IN_TEN if frame.production else _EVERYTHING),
        },
    }
    return manifest(component.component, Phase.CONFIGURATION, body)


def _attributes(cell: ResolvedCell, component: ResolvedComponent, plane: DataPlaneProfile) -> str:
    frame = cell.frame
    known = {
        "cellplane.component": component.component,
        "cellplane.data_plane": plane.data_plane,
        "cellplane.environment": frame.environment,
        "cellplane.organization": frame.organization,
        "cellplane.project": frame.project,
        "deployment.environment.name": frame.environment,
        "service.namespace": frame.project,
    }
    # Commas and equals signs in values must be percent-encoded (W3C Baggage's octets).
    return ",".join(f"{key}={quote(value, safe='')}" for key, value in sorted(known.items()))
