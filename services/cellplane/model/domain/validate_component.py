"""What can be wrong with a component in itself: all findings at once, each with its field's path.

What the contract's own rules say (lengths, ranges, patterns) was checked before. Nothing here looks
at another resource.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta
from typing import Final

from cellplane.cell import addresses, hosts
from cellplane.cell.problem import Findings, Problem
from cellplane.cell.protocol import TRAITS, RouteKind, Transport
from cellplane.cell.quantity import bytes_of, is_quantity, milli_of
from cellplane.cell.visibility import Visibility
from cellplane.cell.workload import ComponentKind, Probe, Resources, Workload
from cellplane.model.domain import schedule
from cellplane.model.domain.default import RUN_ONCE, default_resources, public_paths, target_port
from cellplane.model.domain.resources import Component, Connection, Endpoint
from cellplane.model.domain.validate_offers import check_offers
from cellplane.model.domain.validate_traffic import check_traffic

RESERVED_COMPONENTS: Final = frozenset({addresses.EGRESS_GATEWAY})
RESERVED_PREFIXES: Final = ("cellplane-", "kube-")
RESERVED_VARIABLES: Final = "CELLPLANE_"
WITHOUT_ENDPOINTS: Final = RUN_ONCE | {ComponentKind.WORKER}
MAX_PROBE: Final = timedelta(hours=1)
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
IMAGE: Final = re.compile(
    r"(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[a-z0-9]+:[0-9a-f]{32,128})?"
)
_SYSTEM_PATHS: Final = ("/proc", "/sys", "/dev", "/var/run/secrets", "/run/secrets")


def validate_component(component: Component, zones: Collection[str]) -> list[Problem]:
    """Find everything that is wrong; *zones* are the IANA time zones that are known."""
    findings = Findings()
    own_id = component.name.rsplit("/", 1)[-1]
    if own_id in RESERVED_COMPONENTS or own_id.startswith(RESERVED_PREFIXES):
        findings.at("name").add(
            "NAME_RESERVED",
            f'component id "{own_id}" is reserved for the platform: choose another',
            value=own_id,
        )
    _check_endpoints(component, findings.at("endpoints"))
    check_offers(component, findings)
    _check_connections(component.connections, findings.at("connections"))
    _check_variables(component, findings)
    _check_workload(component, zones, findings.at("workload"))
    return findings.problems


def _check_endpoints(component: Component, findings: Findings) -> None:
    kind = component.component_kind
    if component.endpoints and kind in WITHOUT_ENDPOINTS:
        findings.add(
            "KIND_MISMATCH",
            f"a {kind.value} has no endpoints: remove them, or make it a SERVICE",
        )
    ports: dict[tuple[int, Transport], str] = {}
    routes: dict[tuple[str, str], str] = {}
    for index in _repeated(e.endpoint for e in component.endpoints):
        _duplicate(findings.at(index).at("endpoint"), component.endpoints[index].endpoint)
    for index, endpoint in enumerate(component.endpoints):
        at = findings.at(index)
        port = (endpoint.port, TRAITS[endpoint.protocol].transport)
        if port in ports:
            at.at("port").add(
                "PORT_DUPLICATE",
                f'port {endpoint.port} is that of endpoint "{ports[port]}", too: choose another',
                value=str(endpoint.port),
            )
        ports.setdefault(port, endpoint.endpoint)
        _check_target_port(component.endpoints[:index], endpoint, at)
        _check_exposure(endpoint, at)
        check_traffic(component, endpoint, at)
        names = dict.fromkeys((endpoint.hostname, *endpoint.additional_hostnames))
        for route in itertools.product(names, public_paths(endpoint)):
            if route in routes:
                at.at("path").add(
                    "ROUTE_DUPLICATE",
                    f'path "{route[1]}" is that of public endpoint "{routes[route]}", too: '
                    "choose another path, or a hostname",
                    value=route[1],
                )
            routes.setdefault(route, endpoint.endpoint)


def _check_target_port(before: Iterable[Endpoint], endpoint: Endpoint, at: Findings) -> None:
    """Two ports of a Service may lead to one of the process, which speaks TLS there or does not."""
    own = TRAITS[endpoint.protocol]
    number = target_port(endpoint)
    for other in before:
        traits = TRAITS[other.protocol]
        if target_port(other) != number or traits.transport is not own.transport:
            continue
        if traits.tls is not own.tls:
            at.at("target_port").add(
                "TARGET_PORT_CONFLICT",
                f'the process\'s port {number} is that of endpoint "{other.endpoint}", too, and '
                f"{other.protocol.value} and {endpoint.protocol.value} cannot both be spoken "
                "there: let it listen on another one",
                value=str(number),
            )
        return


def _check_exposure(endpoint: Endpoint, at: Findings) -> None:
    traits = TRAITS[endpoint.protocol]
    if Visibility.ORGANIZATION in endpoint.visibilities and not traits.carries_identity:
        at.at("visibilities").add(
            "IDENTITY_NOT_CARRIED",
            f'endpoint "{endpoint.endpoint}" speaks {endpoint.protocol.value}, through which no '
            "gateway can tell who calls: remove ORGANIZATION, or speak HTTP or gRPC",
            value="ORGANIZATION",
        )
    routed = traits.route in (RouteKind.HTTP, RouteKind.GRPC)
    further = at.at("additional_paths")
    paths = [(endpoint.path, at.at("path"))]
    paths += [(path, further.at(index)) for index, path in enumerate(endpoint.additional_paths)]
    for path, where in paths:
        if path not in ("", "/") and not routed:
            where.add(
                "PATH_NOT_SUPPORTED",
                f"{endpoint.protocol.value} has no paths: remove it",
                value=path,
            )
        steps = path.split("/")[1:]
        if any(step in (".", "..") for step in steps) or "" in steps[:-1]:
            where.add(
                "PATH_NOT_NORMAL",
                f'path "{path}" has empty or relative steps: write it without them',
                value=path,
            )
    hostname = next(iter((*filter(None, [endpoint.hostname]), *endpoint.additional_hostnames)), "")
    if hostname and Visibility.PUBLIC not in endpoint.visibilities:
        at.at("hostname").add(
            "HOSTNAME_NOT_PUBLIC",
            f'endpoint "{endpoint.endpoint}" has a hostname but is not public: add PUBLIC to '
            "its visibilities, or remove the hostname",
            value=hostname,
        )


def _check_connections(connections: tuple[Connection, ...], findings: Findings) -> None:
    for index in _repeated(c.connection for c in connections):
        _duplicate(findings.at(index).at("connection"), connections[index].connection)
    for index, connection in enumerate(connections):
        external = connection.external_host
        wrong = hosts.refused(external.host) if external is not None else ""
        if external is not None and wrong:
            findings.at(index).at("external_host").at("host").add(
                "HOST_REFUSED", f'host "{external.host}" {wrong}', value=external.host
            )


def _check_variables(component: Component, findings: Findings) -> None:
    """Names of variables, literal and injected, are all of one process."""
    places = [
        (variable.name, findings.at("workload").at("env").at(index).at("name"))
        for index, variable in enumerate(component.workload.env)
    ]
    for index, connection in enumerate(component.connections):
        inject = connection.inject
        at = findings.at("connections").at(index).at("inject")
        for step in ("address", "url", "host", "port"):
            name: str = getattr(inject, step)
            if name:
                places.append((name, at.at(step)))
        places += [(name, at.at(f'outputs["{name}"]')) for name in sorted(inject.outputs)]
    for index in _repeated(name for name, _ in places):
        name, at = places[index]
        at.add(
            "NAME_DUPLICATE",
            f'environment variable "{name}" is set twice, by env or by connections: rename one',
            value=name,
        )
    for name, at in places:
        if not _VARIABLE.fullmatch(name):
            at.add(
                "NAME_INVALID",
                f'"{name}" is not a name of an environment variable: use letters, digits and _',
                value=name,
            )
        if name.startswith(RESERVED_VARIABLES):
            at.add(
                "NAME_RESERVED",
                f'environment variable "{name}" is set by the platform: rename it',
                value=name,
            )


def _check_workload(component: Component, zones: Collection[str], at: Findings) -> None:
    workload, kind = component.workload, component.component_kind
    if not IMAGE.fullmatch(workload.image):
        at.at("image").add(
            "IMAGE_INVALID",
            f'"{workload.image}" is not an image: write [registry/]name[:tag][@digest]',
            value=workload.image,
        )
    _check_kind(workload, kind, at)
    _check_text(workload, at)
    check_resources(workload.resources, at.at("resources"))
    _check_paths(workload, at)
    for step, probe in (
        ("readiness_probe", workload.readiness_probe),
        ("liveness_probe", workload.liveness_probe),
    ):
        if probe is not None:
            _check_probe(component, probe, at.at(step))
    times = workload.schedule
    if times is not None:
        wrong = schedule.problem_of(times.cron)
        if wrong:
            at.at("schedule").at("cron").add(
                "CRON_INVALID", f'schedule "{times.cron}" {wrong}', value=times.cron
            )
        if times.time_zone and times.time_zone not in zones:
            at.at("schedule").at("time_zone").add(
                "TIME_ZONE_UNKNOWN",
                f'"{times.time_zone}" is not an IANA time zone: write one such as Europe/Berlin',
                value=times.time_zone,
            )


def _check_kind(workload: Workload, kind: ComponentKind, at: Findings) -> None:
    runs_once = kind in RUN_ONCE
    if workload.schedule is None and kind is ComponentKind.SCHEDULED_TASK:
        at.at("schedule").add("FIELD_REQUIRED", "a SCHEDULED_TASK needs a schedule: add one")
    rules = (
        ("schedule", workload.schedule is not None, kind is ComponentKind.SCHEDULED_TASK),
        ("volumes", bool(workload.volumes), kind is ComponentKind.STATEFUL_SERVICE),
        ("replicas", workload.replicas is not None, not runs_once),
        ("autoscaling", workload.autoscaling is not None, not runs_once),
        ("readiness_probe", workload.readiness_probe is not None, not runs_once),
        ("retries", workload.retries is not None, runs_once),
    )
    for step, is_set, is_allowed in rules:
        if is_set and not is_allowed:
            at.at(step).add(
                "KIND_MISMATCH",
                f"a {kind.value} has no {step}: remove it, or change the component's kind",
            )
    if workload.replicas is not None and workload.autoscaling is not None:
        at.at("replicas").add(
            "FIELDS_EXCLUDE",
            "replicas and autoscaling exclude each other: keep one of them",
            value=str(workload.replicas),
        )


def _check_text(workload: Workload, at: Findings) -> None:
    for step, texts in (("command", workload.command), ("args", workload.args)):
        for index, text in enumerate(texts):
            if "\0" in text:
                at.at(step).at(index).add("TEXT_INVALID", "holds a NUL, which ends it: remove it")
    for index, variable in enumerate(workload.env):
        if "\0" in variable.value:
            at.at("env").at(index).at("value").add(
                "TEXT_INVALID",
                f'value of "{variable.name}" holds a NUL, which ends it: remove it',
            )


def check_resources(written: Resources | None, at: Findings) -> None:
    """A request is at most its limit, defaults included."""
    if written is None:
        return
    given = (written.cpu_request, written.cpu_limit, written.memory_request, written.memory_limit)
    if not all(is_quantity(text) for text in given if text):
        return
    effective = default_resources(written)
    pairs = (
        ("cpu", milli_of, effective.cpu_request, effective.cpu_limit),
        ("memory", bytes_of, effective.memory_request, effective.memory_limit),
    )
    for what, measure, request, limit in pairs:
        if limit and measure(limit) == 0:
            at.at(f"{what}_limit").add(
                "LIMIT_ZERO", f"a {what} limit of 0 lets nothing run: raise it", value=limit
            )
        elif limit and measure(request) > measure(limit):
            at.at(f"{what}_request").add(
                "REQUEST_ABOVE_LIMIT",
                f"{what} request {request} is above the limit {limit}: lower it, or raise the "
                "limit",
                value=request,
            )


def _check_paths(workload: Workload, at: Findings) -> None:
    for index in _repeated(v.volume for v in workload.volumes):
        _duplicate(at.at("volumes").at(index).at("volume"), workload.volumes[index].volume)
    places = [
        (volume.mount_path, at.at("volumes").at(index).at("mount_path"))
        for index, volume in enumerate(workload.volumes)
    ] + [
        (path, at.at("writable_paths").at(index))
        for index, path in enumerate(workload.writable_paths)
    ]
    places += [
        (mount.mount_path, at.at("secret_mounts").at(index).at("mount_path"))
        for index, mount in enumerate(workload.secret_mounts)
    ]
    for index in _repeated(path for path, _ in places):
        path, place = places[index]
        place.add("PATH_DUPLICATE", f'path "{path}" is mounted twice: remove one', value=path)
    for path, place in places:
        if any(step in ("", ".", "..") for step in path.split("/")[1:]) or ":" in path:
            place.add(
                "PATH_NOT_NORMAL",
                f'path "{path}" has a colon, or empty or relative steps: write it without them',
                value=path,
            )
        if any(path == own or path.startswith(f"{own}/") for own in _SYSTEM_PATHS):
            place.add(
                "PATH_RESERVED", f'path "{path}" is the system\'s: choose another', value=path
            )


def _check_probe(component: Component, probe: Probe, at: Findings) -> None:
    endpoint = next((e for e in component.endpoints if e.endpoint == probe.endpoint), None)
    if endpoint is None:
        at.at("endpoint").add(
            "ENDPOINT_NOT_FOUND",
            f'probe asks endpoint "{probe.endpoint}", which the component does not have: name '
            "one of its own",
            value=probe.endpoint,
        )
        return
    traits = TRAITS[endpoint.protocol]
    speaks = f'endpoint "{endpoint.endpoint}" speaks {endpoint.protocol.value}'
    if traits.transport is not Transport.TCP:
        at.at("endpoint").add(
            "PROBE_NOT_SUPPORTED",
            f"{speaks}, which no probe can ask: name one on TCP",
            value=probe.endpoint,
        )
    elif probe.grpc and traits.route is not RouteKind.GRPC:
        at.at("grpc").add("PROBE_NOT_SUPPORTED", f"{speaks}, not gRPC: leave grpc out")
    elif probe.http_path and traits.route is not RouteKind.HTTP:
        at.at("http_path").add(
            "PROBE_NOT_SUPPORTED",
            f"{speaks}, not HTTP: leave http_path out",
            value=probe.http_path,
        )
    if probe.period is not None and not timedelta(seconds=1) <= probe.period <= MAX_PROBE:
        at.at("period").add(
            "PERIOD_OUT_OF_RANGE", "a period is from 1 second to 1 hour", value=str(probe.period)
        )
    if probe.initial_delay is not None and not timedelta() <= probe.initial_delay <= MAX_PROBE:
        at.at("initial_delay").add(
            "PERIOD_OUT_OF_RANGE",
            "an initial delay is from 0 to 1 hour",
            value=str(probe.initial_delay),
        )


def _repeated(values: Iterable[str]) -> Iterator[int]:
    """Indices of values that were there before."""
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            yield index
        seen.add(value)


def _duplicate(at: Findings, value: str) -> None:
    at.add("NAME_DUPLICATE", f'"{value}" is there twice: rename one', value=value)
