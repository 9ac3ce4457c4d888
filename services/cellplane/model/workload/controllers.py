"""What keeps the pods of a component running, by its kind, and what scales and spares them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, assert_never

from cellplane.cell import addresses, labels
from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.manifest import Manifest, Phase, canonical, manifest
from cellplane.cell.names import short_hash
from cellplane.cell.workload import Autoscaling, ComponentKind, Volume
from cellplane.model.workload.objects import component_object, stable_labels
from cellplane.model.workload.pod import pod_template

_DEFAULT_RETRIES: Final = 3
_DEFAULT_CPU_PERCENT: Final = 80


def compile_controller(cell: ResolvedCell, component: ResolvedComponent) -> Iterator[Manifest]:
    """Compile what runs *component*."""
    match component.kind:
        case (
            ComponentKind.SERVICE
            | ComponentKind.WEB_APPLICATION
            | ComponentKind.API
            | ComponentKind.WORKER
        ):
            yield from _long_running(cell, component, _deployment(cell, component))
        case ComponentKind.STATEFUL_SERVICE:
            yield from _long_running(cell, component, _stateful_set(cell, component))
        case ComponentKind.JOB:
            yield _workload(component, _job(cell, component))
        case ComponentKind.SCHEDULED_TASK:
            yield _workload(component, _cron_job(cell, component))
        case _:
            assert_never(component.kind)


def _workload(component: ResolvedComponent, body: dict[str, Any]) -> Manifest:
    return manifest(component.component, Phase.WORKLOAD, body)


def _long_running(
    cell: ResolvedCell, component: ResolvedComponent, controller: dict[str, Any]
) -> Iterator[Manifest]:
    yield _workload(component, controller)
    scaling, replicas = component.workload.autoscaling, component.workload.replicas
    if scaling is not None:
        yield _workload(component, _autoscaler(cell, component, scaling, controller))
    least = scaling.min_replicas if scaling is not None else replicas or 0
    if least > 1:
        yield _workload(component, _disruption_budget(cell, component))


def _scale(component: ResolvedComponent) -> dict[str, Any]:
    """Replicas, unless an autoscaler owns that field."""
    if component.workload.autoscaling is not None:
        return {}
    replicas = component.workload.replicas
    return {"replicas": 1 if replicas is None else replicas}


def _selector(component: ResolvedComponent) -> dict[str, Any]:
    return {"matchLabels": labels.component_selector(component.component)}


def _deployment(cell: ResolvedCell, component: ResolvedComponent) -> dict[str, Any]:
    spec = {
        **_scale(component),
        "revisionHistoryLimit": 3,
        "selector": _selector(component),
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"},
        },
        "template": pod_template(cell, component),
    }
    name = addresses.service_name(component.component)
    return component_object(
        cell, component, "apps/v1", "Deployment", name, {"spec": spec}, release=True
    )


def _stateful_set(cell: ResolvedCell, component: ResolvedComponent) -> dict[str, Any]:
    spec = {
        **_scale(component),
        "revisionHistoryLimit": 3,
        "serviceName": addresses.headless_service(component.component),
        "selector": _selector(component),
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "template": pod_template(cell, component),
    }
    if component.workload.volumes:
        spec["volumeClaimTemplates"] = [
            _claim(cell, component, volume)
            for volume in sorted(component.workload.volumes, key=lambda v: v.volume)
        ]
    name = addresses.controller_name(component.component)
    return component_object(
        cell, component, "apps/v1", "StatefulSet", name, {"spec": spec}, release=True
    )


def _claim(cell: ResolvedCell, component: ResolvedComponent, volume: Volume) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": volume.size}},
    }
    if volume.storage_class:
        spec["storageClassName"] = volume.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": volume.volume, "labels": stable_labels(cell, component.component)},
        "spec": spec,
    }


def _job_spec(cell: ResolvedCell, component: ResolvedComponent) -> dict[str, Any]:
    retries = component.workload.retries
    return {
        "backoffLimit": _DEFAULT_RETRIES if retries is None else retries,
        "template": pod_template(cell, component, restart="Never"),
    }


def _job(cell: ResolvedCell, component: ResolvedComponent) -> dict[str, Any]:
    """A Job is immutable and runs once for each release: a new one is another object."""
    spec = _job_spec(cell, component)
    run = short_hash(component.release, canonical(spec).decode())
    name = f"{addresses.controller_name(component.component)}-{run}"
    return component_object(cell, component, "batch/v1", "Job", name, {"spec": spec}, release=True)


def _cron_job(cell: ResolvedCell, component: ResolvedComponent) -> dict[str, Any]:
    schedule = component.workload.schedule
    spec = {
        "schedule": schedule.cron if schedule else "",
        "timeZone": (schedule.time_zone if schedule else "") or "Etc/UTC",
        "concurrencyPolicy": "Forbid",
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {
            "metadata": {"labels": stable_labels(cell, component.component)},
            "spec": _job_spec(cell, component),
        },
    }
    name = addresses.controller_name(component.component)
    return component_object(
        cell, component, "batch/v1", "CronJob", name, {"spec": spec}, release=True
    )


def _autoscaler(
    cell: ResolvedCell,
    component: ResolvedComponent,
    scaling: Autoscaling,
    controller: dict[str, Any],
) -> dict[str, Any]:
    percent = scaling.target_cpu_percent or _DEFAULT_CPU_PERCENT
    spec = {
        "scaleTargetRef": {
            "apiVersion": controller["apiVersion"],
            "kind": controller["kind"],
            "name": controller["metadata"]["name"],
        },
        "minReplicas": scaling.min_replicas,
        "maxReplicas": scaling.max_replicas,
        "metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": percent},
                },
            }
        ],
    }
    name = addresses.service_name(component.component)
    return component_object(
        cell, component, "autoscaling/v2", "HorizontalPodAutoscaler", name, {"spec": spec}
    )


def _disruption_budget(cell: ResolvedCell, component: ResolvedComponent) -> dict[str, Any]:
    spec = {
        "maxUnavailable": 1,
        "selector": _selector(component),
        # A pod that never became ready must not keep a node from being drained.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    name = addresses.service_name(component.component)
    return component_object(
        cell, component, "policy/v1", "PodDisruptionBudget", name, {"spec": spec}
    )
