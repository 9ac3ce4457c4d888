"""The compiler's one door: a Cell, or a part of it, to what runs on one data plane.

Each component is compiled from itself and the frame alone. Never raises for user input: a component
with a finding has no objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cellplane.cell import addresses, labels
from cellplane.cell.cell import ResolvedCell, ResolvedComponent, ResolvedEndpoint
from cellplane.cell.manifest import Compiled, Manifest, Phase, in_order, manifest
from cellplane.cell.mesh import NAMESPACE_LABEL, is_meshed
from cellplane.cell.plane import DataPlaneProfile, Peers
from cellplane.cell.problem import Problem
from cellplane.cell.protocol import TRAITS
from cellplane.cell.workload import ComponentKind
from cellplane.model.workload.check import problems
from cellplane.model.workload.controllers import compile_controller
from cellplane.model.workload.forbidden import forbidden
from cellplane.model.workload.objects import component_object, stable_labels
from cellplane.model.workload.secrets import compile_secrets, secret_problems


def compile(  # noqa: A001 - the word of the field
    cell: ResolvedCell,
    plane: DataPlaneProfile,
    peers: Peers,  # noqa: ARG001 - the signature of every compiler
    *,
    include_frame: bool,
) -> Compiled:
    """Compile the workloads of *cell*'s components, and its namespace if the frame is asked for."""
    found: list[Problem] = []
    manifests: list[Manifest] = [_namespace(cell, plane)] if include_frame else []
    for component in cell.components:
        wrong = [*problems(cell, component), *secret_problems(cell, component, plane)]
        made = () if wrong else tuple(_component(cell, component))
        wrong += forbidden(cell, component, made)
        found.extend(wrong)
        if not wrong:
            manifests.extend(made)
    return Compiled(manifests=in_order(manifests), problems=tuple(found))


def _namespace(cell: ResolvedCell, plane: DataPlaneProfile) -> Manifest:
    meshed = dict([NAMESPACE_LABEL]) if is_meshed(cell.frame, plane) else {}
    body = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": cell.frame.namespace,
            "labels": stable_labels(cell, "")
            | meshed
            | {
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/enforce-version": "latest",
            },
            "annotations": {labels.OWNER: cell.cell},
        },
    }
    return manifest("", Phase.NAMESPACE, body)


def _component(cell: ResolvedCell, component: ResolvedComponent) -> Iterator[Manifest]:
    part = component.component
    account = component_object(
        cell,
        component,
        "v1",
        "ServiceAccount",
        addresses.service_account(part),
        {"automountServiceAccountToken": False},
    )
    yield manifest(part, Phase.POLICY, account)
    if component.endpoints:
        service = _service(cell, component, addresses.service_name(part), headless=False)
        yield manifest(part, Phase.WORKLOAD, service)
    if component.kind is ComponentKind.STATEFUL_SERVICE:
        service = _service(cell, component, addresses.headless_service(part), headless=True)
        yield manifest(part, Phase.WORKLOAD, service)
    yield from compile_secrets(cell, component)
    yield from compile_controller(cell, component)


def _service(
    cell: ResolvedCell, component: ResolvedComponent, name: str, *, headless: bool
) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "type": "ClusterIP",
        "selector": labels.component_selector(component.component),
    }
    if component.endpoints:
        endpoints = sorted(component.endpoints, key=lambda e: e.endpoint)
        spec["ports"] = [_port(endpoint) for endpoint in endpoints]
    if headless:
        spec["clusterIP"] = "None"
        # Replicas that find each other must do so before they are ready.
        spec["publishNotReadyAddresses"] = True
    return component_object(cell, component, "v1", "Service", name, {"spec": spec})


def _port(endpoint: ResolvedEndpoint) -> dict[str, Any]:
    traits = TRAITS[endpoint.protocol]
    port: dict[str, Any] = {
        "name": endpoint.endpoint,
        "port": endpoint.port,
        "targetPort": endpoint.target_port,
        "protocol": traits.transport.value,
    }
    if traits.app_protocol is not None:
        port["appProtocol"] = traits.app_protocol
    return port
