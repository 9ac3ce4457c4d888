"""What of a component cannot be run as it is asked for.

The model refuses most of this when it is written; a compiler that is asked by anyone still answers
with findings, never with an object that a cluster would refuse or run differently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from cellplane.cell import addresses
from cellplane.cell.cell import CellTarget, ResolvedCell, ResolvedComponent, ResolvedConnection
from cellplane.cell.problem import Findings, Problem
from cellplane.cell.protocol import TRAITS, Transport
from cellplane.cell.workload import ComponentKind, Probe
from cellplane.model.workload.env import DOWNWARD, environment_names
from cellplane.model.workload.objects import findings_of

RUN_ONCE = frozenset({ComponentKind.JOB, ComponentKind.SCHEDULED_TASK})


def problems(cell: ResolvedCell, component: ResolvedComponent) -> list[Problem]:
    """Find everything that keeps *component* from being compiled."""
    findings = findings_of(cell, component)
    if addresses.service_account(component.component) == addresses.EGRESS_GATEWAY:
        findings.at("name").add(
            "NAME_RESERVED",
            f'component "{component.component}" has the name of the Cell\'s own egress gateway: '
            "choose another",
            value=component.component,
        )
    _check_kind(component, findings)
    _check_connections(cell, component, findings)
    if not findings.problems:
        _check_names(cell, component, findings)
    _check_ports(component, findings)
    for field, probe in (
        ("readiness_probe", component.workload.readiness_probe),
        ("liveness_probe", component.workload.liveness_probe),
    ):
        if probe is not None:
            _check_probe(component, probe, findings.at("workload").at(field))
    return findings.problems


def leads_somewhere(cell: ResolvedCell, component: str, connection: ResolvedConnection) -> bool:
    """Tell whether the address of a connection is known."""
    if connection.cell or not (connection.organization or connection.external):
        return connection.cell is not None
    return any(
        (o.component, o.connection.connection) == (component, connection.connection)
        for o in cell.frame.outbound
    )


def _check_kind(component: ResolvedComponent, findings: Findings) -> None:
    workload, kind = component.workload, component.kind
    name = f'component "{component.component}" of kind {kind.value}'
    at = findings.at("workload")
    if workload.schedule is None and kind is ComponentKind.SCHEDULED_TASK:
        at.at("schedule").add("FIELD_REQUIRED", f"{name} has no schedule: say when it runs")
    if workload.schedule is not None and kind is not ComponentKind.SCHEDULED_TASK:
        at.at("schedule").add(
            "KIND_MISMATCH", f"{name} has a schedule: remove it, or make it a SCHEDULED_TASK"
        )
    if workload.volumes and kind is not ComponentKind.STATEFUL_SERVICE:
        at.at("volumes").add(
            "KIND_MISMATCH",
            f"{name} has volumes, which only a STATEFUL_SERVICE keeps: use writable_paths, or "
            "change its kind",
        )
    if workload.autoscaling is not None and kind in RUN_ONCE:
        at.at("autoscaling").add("KIND_MISMATCH", f"{name} ends by itself and is not scaled")


def _check_connections(
    cell: ResolvedCell, component: ResolvedComponent, findings: Findings
) -> None:
    for index, connection in enumerate(component.connections):
        if not leads_somewhere(cell, component.component, connection):
            findings.at("connections").at(index).add(
                "CONNECTION_UNRESOLVED",
                f'connection "{component.component}/{connection.connection}" has no address yet: '
                "resolve the Cell again",
                value=connection.connection,
            )
        elif isinstance(connection.target, CellTarget) and not connection.target.component:
            findings.at("connections").at(index).add(
                "CONNECTION_UNRESOLVED",
                f'connection "{component.component}/{connection.connection}" names no component',
            )


def _check_names(cell: ResolvedCell, component: ResolvedComponent, findings: Findings) -> None:
    """Server-side apply merges these lists by key: a key that is there twice is refused."""
    at = findings.at("workload")
    reserved = {name for name, _ in DOWNWARD}
    for name in _twice(environment_names(cell, component)):
        at.at("env").add(
            "NAME_DUPLICATE",
            f'environment variable "{name}" of component "{component.component}" is set twice, '
            "by env or by connections: rename one",
            value=name,
        )
    for variable in component.workload.env:
        if variable.name in reserved:
            at.at("env").add(
                "NAME_RESERVED",
                f'environment variable "{variable.name}" is set by the platform: rename it',
                value=variable.name,
            )
    mounts = [v.mount_path for v in component.workload.volumes]
    mounts += [m.mount_path for m in component.workload.secret_mounts]
    for path in _twice([*mounts, *sorted(set(component.workload.writable_paths))]):
        at.at("writable_paths").add(
            "PATH_DUPLICATE",
            f'path "{path}" of component "{component.component}" is mounted twice: remove one',
            value=path,
        )
    for name in _twice([v.volume for v in component.workload.volumes]):
        at.at("volumes").add(
            "NAME_DUPLICATE", f'volume "{name}" is there twice: rename one', value=name
        )


def _check_ports(component: ResolvedComponent, findings: Findings) -> None:
    seen: set[tuple[int, Transport]] = set()
    for index, endpoint in enumerate(component.endpoints):
        key = (endpoint.port, TRAITS[endpoint.protocol].transport)
        if key in seen:
            findings.at("endpoints").at(index).at("port").add(
                "PORT_DUPLICATE",
                f'port {endpoint.port} of endpoint "{component.component}/{endpoint.endpoint}" is '
                "taken by an endpoint before it: choose another",
                value=str(endpoint.port),
            )
        seen.add(key)


def _check_probe(component: ResolvedComponent, probe: Probe, findings: Findings) -> None:
    endpoint = next((e for e in component.endpoints if e.endpoint == probe.endpoint), None)
    if endpoint is None:
        findings.at("endpoint").add(
            "ENDPOINT_NOT_FOUND",
            f'probe asks endpoint "{probe.endpoint}", which component "{component.component}" does '
            "not have: name one of its own",
            value=probe.endpoint,
        )
    elif TRAITS[endpoint.protocol].transport is not Transport.TCP:
        findings.at("endpoint").add(
            "PROBE_NOT_SUPPORTED",
            f'endpoint "{probe.endpoint}" speaks {endpoint.protocol.value}, which no probe can '
            "ask: probe an endpoint on TCP",
            value=probe.endpoint,
        )


def _twice(values: list[str]) -> Iterator[str]:
    return (value for value, count in sorted(Counter(values).items()) if count > 1)
