"""What no object of a component may have, whatever type or trait made it.

Checked on what is compiled, last, so that nothing passes by another way. What opens a node or a
Cell is forbidden always; platforms forbid further fields, and their bounds on images and
resources hold for every container, not only for the one that a developer wrote.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from cellplane.cell import labels
from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.manifest import Manifest
from cellplane.cell.problem import Findings, Problem
from cellplane.cell.quantity import bytes_of, is_quantity, milli_of
from cellplane.cell.rules import OwnedRules
from cellplane.model.domain.rules import judge_image, strictest
from cellplane.model.workload.objects import findings_of

_PODS: Final = {
    "Pod": "spec",
    "CronJob": "spec.jobTemplate.spec.template.spec",
}
_TEMPLATE: Final = "spec.template.spec"
_CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")
_ALWAYS: Final = (
    "pod.hostNetwork",
    "pod.hostPID",
    "pod.hostIPC",
    "pod.volumes[].hostPath",
    "container.securityContext.privileged",
    "container.securityContext.allowPrivilegeEscalation",
    "container.securityContext.capabilities.add",
    "container.securityContext.windowsOptions",
    "container.ports[].hostPort",
    "Service:spec.externalIPs",
)
_CLOSED: Final = frozenset(
    {
        "CiliumClusterwideNetworkPolicy",
        "CiliumNetworkPolicy",
        "ClusterRole",
        "ClusterRoleBinding",
        "Gateway",
        "GRPCRoute",
        "HTTPRoute",
        "Ingress",
        "Namespace",
        "NetworkPolicy",
        "Role",
        "RoleBinding",
        "TCPRoute",
        "TLSRoute",
    }
)
"""Kinds that open doors: only cellplane's own compilers make them."""


def forbidden(
    cell: ResolvedCell, component: ResolvedComponent, manifests: Iterable[Manifest]
) -> list[Problem]:
    """Find everything in a component's objects that may not be there."""
    findings = findings_of(cell, component)
    for manifest in manifests:
        body: dict[str, Any] = json.loads(manifest.content)
        at = findings.at(f"manifests[{manifest.kind}/{manifest.object}]")
        _object(cell, manifest, body, at)
        for path, pod in _pods(manifest.kind, body):
            _labels(cell, component, body, path, at)
            for where, container in _containers(path, pod):
                _container(cell.frame.rules, container, at.at(where), findings.resource)
        for owner, path in _paths(cell.frame.rules):
            for where, value in _matches(path, manifest.kind, body):
                _tell(owner, path, value, at.at(where) if where else at)
    return findings.problems


def _object(cell: ResolvedCell, manifest: Manifest, body: Mapping[str, Any], at: Findings) -> None:
    if manifest.kind in _CLOSED:
        at.add(
            "RULE_FORBIDDEN_FIELD",
            f"a {manifest.kind} opens or closes doors, which only the platform does: declare "
            "endpoints and connections instead",
            value=manifest.kind,
        )
    if manifest.namespace != cell.frame.namespace:
        at.at("metadata.namespace").add(
            "RULE_FORBIDDEN_FIELD",
            f'it would be in namespace "{manifest.namespace}", not in that of its Cell: leave '
            "metadata.namespace out",
            value=manifest.namespace,
        )
    service = (body.get("spec") or {}).get("type", "ClusterIP")
    if manifest.kind == "Service" and service != "ClusterIP":
        at.at("spec.type").add(
            "RULE_FORBIDDEN_FIELD",
            f"a Service of type {service} opens a door beside the gateways: give an endpoint the "
            "visibility that it needs instead",
            value=str(service),
        )


def _labels(
    cell: ResolvedCell,
    component: ResolvedComponent,
    body: Mapping[str, Any],
    path: str,
    at: Findings,
) -> None:
    """Policies trust these labels: a pod must be who it says."""
    where = f"{path.removesuffix('spec')}metadata.labels"
    found = _get(body, where.split(".")) or {}
    frame = cell.frame
    true = labels.cell_labels(frame.organization, frame.project, frame.environment, frame.namespace)
    true |= labels.component_selector(component.component)
    for key, value in sorted(found.items()):
        if key.startswith(labels.PREFIX) and true.get(key) != value:
            at.at(f'{where}["{key}"]').add(
                "RULE_FORBIDDEN_FIELD",
                f"label {key}: {value} would make its pods pass for another's: remove it",
                value=str(value),
            )


def _container(
    levels: Sequence[OwnedRules], container: Mapping[str, Any], at: Findings, resource: str
) -> None:
    at.problems.extend(
        judge_image(str(container.get("image", "")), levels, at.at("image"), resource)
    )
    resources = container.get("resources") or {}
    for quantity, measure in (("cpu", milli_of), ("memory", bytes_of)):
        bound = strictest(quantity, levels, lambda x: x.rules.component_ceiling)
        if bound is None:
            continue
        for part in ("requests", "limits"):
            text = str((resources.get(part) or {}).get(quantity, ""))
            if text and (not is_quantity(text) or measure(text) > bound.amount):
                at.at(f"resources.{part}.{quantity}").add(
                    "RULE_CEILING",
                    f"{text} of {quantity}, but component_ceiling.{quantity} of {bound.owner} is "
                    f"{bound.text}: ask for {bound.text} at most",
                    value=text,
                )


def _paths(levels: Sequence[OwnedRules]) -> Iterator[tuple[str, str]]:
    yield from (("", path) for path in _ALWAYS)
    for level in levels:
        yield from ((level.owner, path) for path in level.rules.forbidden_fields)


def _tell(owner: str, path: str, value: Any, at: Findings) -> None:
    rule = f"is among forbidden_fields of {owner}" if owner else "is never allowed in a Cell"
    at.add(
        "RULE_FORBIDDEN_FIELD",
        f"{path} {rule}, and is {json.dumps(value)[:80]}: remove it from the component, or from "
        "the type or trait that adds it",
        value=json.dumps(value)[:80],
    )


def _matches(rule: str, kind: str, body: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Places in an object that a rule is about, with what is there."""
    only, colon, path = rule.rpartition(":")
    if colon and only != kind:
        return
    if not path:
        yield "", kind
        return
    first, _, rest = path.partition(".")
    roots: list[tuple[str, Any]]
    match first:
        case "pod":
            roots = list(_pods(kind, body))
        case "container":
            roots = [c for path, pod in _pods(kind, body) for c in _containers(path, pod)]
        case _:
            roots, rest = [("", body)], path
    steps = re.findall(r"[A-Za-z0-9]+|\[\]", rest)
    for where, root in roots:
        for found, value in _walk(root, steps, where):
            # False, nothing and empty are what a field that is not set means.
            if value:
                yield found, value


def _walk(value: Any, steps: Sequence[str], where: str) -> Iterator[tuple[str, Any]]:
    if not steps:
        yield where, value
    elif steps[0] == "[]" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, steps[1:], f"{where}[{index}]")
    elif isinstance(value, dict) and steps[0] in value:
        path = f"{where}.{steps[0]}" if where else steps[0]
        yield from _walk(value[steps[0]], steps[1:], path)


def _pods(kind: str, body: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod that an object describes: also of kinds that are not Kubernetes' own."""
    path = _PODS.get(kind, _TEMPLATE)
    pod = _get(body, path.split("."))
    if isinstance(pod, dict) and (kind in _PODS or "containers" in pod):
        yield path, pod


def _containers(path: str, pod: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for field in _CONTAINERS:
        for index, container in enumerate(pod.get(field) or ()):
            yield f"{path}.{field}[{index}]", container


def _get(value: Any, steps: Sequence[str]) -> Any:
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    return value
