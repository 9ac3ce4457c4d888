"""What cellplane puts on every object of a type or a trait, whoever wrote it.

A type makes objects of its component, and nothing else: in the Cell's namespace, with the labels by
which policies know its pods, and under its own service account.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cellplane.cell import addresses, labels
from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.manifest import Manifest, Phase, manifest
from cellplane.cell.problem import Problem
from cellplane.model.template.findings import Fault
from cellplane.model.workload.objects import stable_labels

_PHASES: Final[Mapping[str, Phase]] = {
    "ServiceAccount": Phase.POLICY,
    "ConfigMap": Phase.CONFIGURATION,
    "Secret": Phase.CONFIGURATION,
    "ExternalSecret": Phase.CONFIGURATION,
    "Password": Phase.CONFIGURATION,
    "PersistentVolumeClaim": Phase.CONFIGURATION,
}


def stamped(cell: ResolvedCell, component: ResolvedComponent, body: Mapping[str, Any]) -> Manifest:
    """The object with its identity: namespace, labels, owner, and that of the pods in it."""
    metadata = body["metadata"]
    written = {k: v for k, v in (metadata.get("labels") or {}).items() if _is_free(k)}
    own = written | dict(component.labels) | stable_labels(cell, component.component)
    spec = body.get("spec")
    runs = _with_pods(cell, component, spec) if isinstance(spec, dict) else None
    if runs is not None and component.release:
        own[labels.RELEASE] = component.release
    given = metadata.get("annotations") or {}
    notes = {k: v for k, v in given.items() if _is_free(k) or k == labels.READY_WHEN}
    whole = {
        **body,
        "metadata": {
            "name": metadata["name"],
            "namespace": cell.frame.namespace,
            "labels": own,
            "annotations": notes | {labels.OWNER: cell.cell},
        },
    }
    if runs is not None:
        whole["spec"] = runs
    phase = _PHASES.get(body["kind"], Phase.WORKLOAD)
    return manifest(component.component, phase, whole)


def _is_free(key: str) -> bool:
    """Keys under cellplane's prefixes are written by cellplane alone."""
    return not key.startswith((labels.PREFIX, labels.OWN)) and key != labels.MANAGED_BY


def _with_pods(
    cell: ResolvedCell, component: ResolvedComponent, spec: dict[str, Any]
) -> dict[str, Any] | None:
    """The spec with its pods' identity in it; ``None`` if it has no pods."""
    job = spec.get("jobTemplate")
    if isinstance(job, dict) and isinstance(job.get("spec"), dict):
        inner = _with_pods(cell, component, job["spec"])
        return None if inner is None else {**spec, "jobTemplate": {**job, "spec": inner}}
    template = spec.get("template")
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        return None
    metadata = template.get("metadata") or {}
    written = {k: v for k, v in (metadata.get("labels") or {}).items() if _is_free(k)}
    pods = {
        **template["spec"],
        "serviceAccountName": addresses.service_account(component.component),
        "automountServiceAccountToken": False,
    }
    named = {**metadata, "labels": written | stable_labels(cell, component.component)}
    return {**spec, "template": {**template, "metadata": named, "spec": pods}}


def told(fault: Fault, resource: str) -> Problem:
    """A fault as a problem of the component that has the type."""
    where = f"{fault.source}: {fault.path}: " if fault.source else ""
    problem = fault.problem(resource)
    if not fault.source or fault.reason == "RULE_BROKEN":
        return problem
    return Problem(
        reason=problem.reason,
        message=f"{where}{problem.message}",
        field="type",
        resource=resource,
        value=problem.value,
    )
