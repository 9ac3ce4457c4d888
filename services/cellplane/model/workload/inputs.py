"""What expressions of types and traits see of a component: the same for every type, shipped or not.

Texts of the workload are as Kubernetes needs them (``env.literal``), lists are sorted, and what is
not set is not there. Adding a name here adds to the language; taking one away breaks types.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final

from cellplane.cell import addresses, labels
from cellplane.cell.cell import ResolvedCell, ResolvedComponent, ResolvedEndpoint, ResolvedSecret
from cellplane.cell.names import kube_name, short_hash
from cellplane.cell.plane import DataPlaneProfile
from cellplane.cell.protocol import TRAITS
from cellplane.cell.workload import Probe, Resources, SecretMount, Volume, Workload
from cellplane.model.template.kinds import (
    ANY,
    BOOL,
    INT,
    MAP,
    STRING,
    Type,
    list_of,
    map_of,
    record,
)
from cellplane.model.workload.env import environment, literal
from cellplane.model.workload.objects import stable_labels

DEFAULT_USER: Final = 10001
DEFAULT_RESOURCES: Final = Resources(cpu_request="50m", memory_request="64Mi", memory_limit="256Mi")
_RETRIES: Final = 3
_CPU_PERCENT: Final = 80


def _optional(fields: Mapping[str, Type], *optional: str) -> Type:
    return record(fields, frozenset(optional))


_SCALING: Final = {"minReplicas": INT, "maxReplicas": INT, "targetCpuPercent": INT}
_ENDPOINT: Final = _optional(
    {
        "name": STRING,
        "protocol": STRING,
        "port": INT,
        "targetPort": INT,
        "transport": STRING,
        "appProtocol": STRING,
        "visibilities": list_of(STRING),
        "path": STRING,
    },
    "appProtocol",
)
SCOPE: Final[Mapping[str, Type]] = MappingProxyType(
    {
        "component": record(
            {
                "id": STRING,
                "project": STRING,
                "environment": STRING,
                "organization": STRING,
                "kind": STRING,
                "release": STRING,
            }
        ),
        "environment": record({"id": STRING, "production": BOOL, "namespace": STRING}),
        "plane": record({"id": STRING, "capabilities": list_of(STRING), "labels": map_of(STRING)}),
        "names": record(
            dict.fromkeys(
                (
                    "service",
                    "headless",
                    "controller",
                    "serviceAccount",
                    "telemetry",
                    "container",
                    "outputs",
                ),
                STRING,
            )
        ),
        "labels": record({"stable": map_of(STRING), "selector": map_of(STRING)}),
        "workload": _optional(
            {
                "image": STRING,
                "command": list_of(STRING),
                "args": list_of(STRING),
                "env": list_of(MAP),
                "resources": MAP,
                "replicas": INT,
                "autoscaling": record(_SCALING),
                "readinessProbe": MAP,
                "livenessProbe": MAP,
                "volumes": list_of(
                    _optional(
                        dict.fromkeys(("name", "mountPath", "size", "storageClass"), STRING),
                        "storageClass",
                    )
                ),
                "writable": list_of(record({"name": STRING, "path": STRING})),
                "secrets": list_of(
                    record({"name": STRING, "secret": STRING, "keys": list_of(STRING)})
                ),
                "mounts": list_of(MAP),
                "schedule": record({"cron": STRING, "timeZone": STRING}),
                "runAsUser": INT,
                "retries": INT,
            },
            "command",
            "args",
            "autoscaling",
            "readinessProbe",
            "livenessProbe",
            "schedule",
        ),
        "endpoints": list_of(_ENDPOINT),
        "connections": list_of(record({"name": STRING, "address": STRING, "url": STRING})),
        "secrets": list_of(
            record(
                {
                    "name": STRING,
                    "store": STRING,
                    "remoteKey": STRING,
                    "refreshInterval": STRING,
                    "keys": list_of(record({"key": STRING, "property": STRING})),
                }
            )
        ),
        "standard": map_of(ANY),
        "instance": STRING,
    }
)
"""The types of all that expressions see, beside parameters."""


def inputs_of(
    cell: ResolvedCell, component: ResolvedComponent, plane: DataPlaneProfile
) -> dict[str, Any]:
    """The values of all that expressions see; ``standard`` is filled when it is rendered."""
    part, frame = component.component, cell.frame
    return {
        "component": {
            "id": part,
            "project": frame.project,
            "environment": frame.environment,
            "organization": frame.organization,
            "kind": component.kind.value,
            "release": component.release,
        },
        "environment": {
            "id": frame.environment,
            "production": frame.production,
            "namespace": frame.namespace,
        },
        "plane": {
            "id": plane.data_plane,
            "capabilities": sorted(plane.capabilities),
            "labels": dict(plane.labels),
        },
        "names": {
            "service": addresses.service_name(part),
            "headless": addresses.headless_service(part),
            "controller": addresses.controller_name(part),
            "serviceAccount": addresses.service_account(part),
            "telemetry": addresses.telemetry_config(part),
            "container": kube_name(part),
            "outputs": addresses.outputs_secret(part),
        },
        "labels": {
            "stable": stable_labels(cell, part),
            "selector": labels.component_selector(part),
        },
        # Of a trait: the id that its component gave it.
        "instance": "",
        "workload": _workload(cell, component),
        "endpoints": [_endpoint(e) for e in sorted(component.endpoints, key=lambda e: e.endpoint)],
        "connections": [
            {"name": c.connection, "address": address.authority, "url": address.url}
            for c in component.connections
            for address in (addresses.connection_address(frame, part, c),)
        ],
        "secrets": [_secret(part, secret) for secret in component.secrets],
    }


def _workload(cell: ResolvedCell, component: ResolvedComponent) -> dict[str, Any]:
    workload = component.workload
    writable = sorted(set(workload.writable_paths))
    found: dict[str, Any] = {
        "image": workload.image,
        "env": environment(cell, component),
        "resources": _resources(workload.resources or DEFAULT_RESOURCES),
        "replicas": 1 if workload.replicas is None else workload.replicas,
        "volumes": [_volume(v) for v in sorted(workload.volumes, key=lambda v: v.volume)],
        "writable": [{"name": _writable(path), "path": path} for path in writable],
        "secrets": [_mounted(component, mount) for mount in workload.secret_mounts],
        "mounts": [
            *({"name": v.volume, "mountPath": v.mount_path} for v in workload.volumes),
            *({"name": _writable(path), "mountPath": path} for path in writable),
            *(
                {"name": _mount_name(m), "mountPath": m.mount_path, "readOnly": True}
                for m in workload.secret_mounts
            ),
        ],
        "runAsUser": workload.run_as_user or DEFAULT_USER,
        "retries": _RETRIES if workload.retries is None else workload.retries,
    }
    return found | _optional_fields(component, workload)


def _optional_fields(component: ResolvedComponent, workload: Workload) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, texts in (("command", workload.command), ("args", workload.args)):
        if texts:
            found[name] = [literal(text) for text in texts]
    scaling = workload.autoscaling
    if scaling is not None:
        found["autoscaling"] = {
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "targetCpuPercent": scaling.target_cpu_percent or _CPU_PERCENT,
        }
    for name, probe in (
        ("readinessProbe", workload.readiness_probe),
        ("livenessProbe", workload.liveness_probe),
    ):
        if probe is not None:
            found[name] = _probe(component, probe)
    if workload.schedule is not None:
        found["schedule"] = {
            "cron": workload.schedule.cron,
            "timeZone": workload.schedule.time_zone or "Etc/UTC",
        }
    return found


def _volume(volume: Volume) -> dict[str, Any]:
    own = {"name": volume.volume, "mountPath": volume.mount_path, "size": volume.size}
    return own | ({"storageClass": volume.storage_class} if volume.storage_class else {})


def _resources(asked: Resources) -> dict[str, Any]:
    limits = {"memory": asked.memory_limit or DEFAULT_RESOURCES.memory_limit}
    if asked.cpu_limit:
        limits["cpu"] = asked.cpu_limit
    requests = {
        "cpu": asked.cpu_request or DEFAULT_RESOURCES.cpu_request,
        "memory": asked.memory_request or DEFAULT_RESOURCES.memory_request,
    }
    return {"requests": requests, "limits": limits}


def _probe(component: ResolvedComponent, probe: Probe) -> dict[str, Any]:
    endpoint = next(e for e in component.endpoints if e.endpoint == probe.endpoint)
    how: dict[str, Any]
    if probe.http_path:
        get: dict[str, Any] = {"path": probe.http_path, "port": endpoint.target_port}
        if TRAITS[endpoint.protocol].tls:
            get["scheme"] = "HTTPS"
        how = {"httpGet": get}
    elif probe.grpc:
        how = {"grpc": {"port": endpoint.target_port}}
    else:
        how = {"tcpSocket": {"port": endpoint.target_port}}
    if probe.initial_delay is not None:
        how["initialDelaySeconds"] = _seconds(probe.initial_delay, least=0)
    if probe.period is not None:
        how["periodSeconds"] = _seconds(probe.period, least=1)
    return how


def _seconds(duration: timedelta, *, least: int) -> int:
    return max(least, math.ceil(duration.total_seconds()))


def _endpoint(endpoint: ResolvedEndpoint) -> dict[str, Any]:
    traits = TRAITS[endpoint.protocol]
    found: dict[str, Any] = {
        "name": endpoint.endpoint,
        "protocol": endpoint.protocol.value,
        "port": endpoint.port,
        "targetPort": endpoint.target_port,
        "transport": traits.transport.value,
        "visibilities": [v.value for v in endpoint.visibilities],
        "path": endpoint.path,
    }
    if traits.app_protocol is not None:
        found["appProtocol"] = traits.app_protocol
    return found


def _secret(part: str, secret: ResolvedSecret) -> dict[str, Any]:
    return {
        "name": addresses.secret_name(part, secret.secret_reference),
        "store": secret.secret_store,
        "remoteKey": secret.remote_key,
        "refreshInterval": f"{int(secret.refresh_interval.total_seconds())}s",
        "keys": [{"key": key.key, "property": key.property} for key in secret.keys],
    }


def _mounted(component: ResolvedComponent, mount: SecretMount) -> dict[str, Any]:
    """A mounted secret: the keys of the mount, and no others."""
    secret = next(s for s in component.secrets if s.secret_reference == mount.secret_reference)
    return {
        "name": _mount_name(mount),
        "secret": addresses.secret_name(component.component, mount.secret_reference),
        "keys": sorted(mount.keys or tuple(key.key for key in secret.keys)),
    }


def _mount_name(mount: SecretMount) -> str:
    return f"secret-{short_hash(mount.mount_path)}"


def _writable(path: str) -> str:
    return f"writable-{short_hash(path)}"
