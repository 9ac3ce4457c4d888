"""The pod of a component: closed by the restricted Pod Security Standard, and no more than asked.

Whatever is in here restarts the component when it changes, so nothing is that changes by itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from cellplane.cell import addresses, labels
from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.names import kube_name, short_hash
from cellplane.cell.protocol import TRAITS
from cellplane.cell.workload import Probe, Resources
from cellplane.model.workload.env import environment, literal
from cellplane.model.workload.objects import stable_labels
from cellplane.model.workload.secrets import secret_volume, secret_volume_mount

DEFAULT_USER: Final = 10001
DEFAULT_RESOURCES: Final = Resources(cpu_request="50m", memory_request="64Mi", memory_limit="256Mi")
_SPREAD_OVER: Final = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")


def pod_template(
    cell: ResolvedCell, component: ResolvedComponent, *, restart: str = ""
) -> dict[str, Any]:
    """Compile the pod template of *component*; *restart* is its restart policy, if not Always."""
    user = component.workload.run_as_user or DEFAULT_USER
    spec: dict[str, Any] = {
        "serviceAccountName": addresses.service_account(component.component),
        "automountServiceAccountToken": False,
        # Service variables would change with every Service of the namespace.
        "enableServiceLinks": False,
        # Full names resolve as they are: searches would ask for names that policies don't allow.
        "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(cell, component)],
    }
    if restart:
        spec["restartPolicy"] = restart
    else:
        spec["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels.component_selector(component.component)},
            }
            for key in _SPREAD_OVER
        ]
    volumes: list[dict[str, Any]] = [
        {"name": _writable(path), "emptyDir": {}} for path in _writable_paths(component)
    ]
    volumes += [secret_volume(component, mount) for mount in component.workload.secret_mounts]
    if volumes:
        spec["volumes"] = volumes
    return {"metadata": {"labels": stable_labels(cell, component.component)}, "spec": spec}


def _container(cell: ResolvedCell, component: ResolvedComponent) -> dict[str, Any]:
    workload = component.workload
    container: dict[str, Any] = {
        "name": kube_name(component.component),
        "image": workload.image,
        "env": environment(cell, component),
        "envFrom": [{"configMapRef": {"name": addresses.telemetry_config(component.component)}}],
        "resources": _resources(workload.resources or DEFAULT_RESOURCES),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if workload.command:
        container["command"] = [literal(text) for text in workload.command]
    if workload.args:
        container["args"] = [literal(text) for text in workload.args]
    ports = {(e.target_port, TRAITS[e.protocol].transport.value) for e in component.endpoints}
    if ports:
        container["ports"] = [
            {"containerPort": number, "protocol": transport} for number, transport in sorted(ports)
        ]
    mounts: list[dict[str, Any]] = [
        {"name": v.volume, "mountPath": v.mount_path} for v in workload.volumes
    ]
    mounts += [{"name": _writable(p), "mountPath": p} for p in _writable_paths(component)]
    mounts += [secret_volume_mount(mount) for mount in workload.secret_mounts]
    if mounts:
        container["volumeMounts"] = sorted(mounts, key=lambda mount: mount["mountPath"])
    if workload.readiness_probe is not None:
        container["readinessProbe"] = _probe(component, workload.readiness_probe)
    if workload.liveness_probe is not None:
        container["livenessProbe"] = _probe(component, workload.liveness_probe)
    return container


def _resources(asked: Resources) -> dict[str, Any]:
    limits = {"memory": asked.memory_limit or DEFAULT_RESOURCES.memory_limit}
    if asked.cpu_limit:
        limits["cpu"] = asked.cpu_limit
    requests = {
        "cpu": asked.cpu_request or DEFAULT_RESOURCES.cpu_request,
        "memory": asked.memory_request or DEFAULT_RESOURCES.memory_request,
    }
    return {"requests": requests, "limits": limits}


def _probe(component: ResolvedComponent, probe: Probe) -> Mapping[str, Any]:
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


def _writable_paths(component: ResolvedComponent) -> list[str]:
    return sorted(set(component.workload.writable_paths))


def _writable(path: str) -> str:
    return f"writable-{short_hash(path)}"
