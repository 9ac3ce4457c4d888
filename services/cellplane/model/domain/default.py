"""Every default that the contract promises, filled in when a component is resolved.

What is stored stays as it was written, so that an unset field is told from one that was set to the
default; only what is derived from it has the default.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from cellplane.cell.names import kube_name
from cellplane.cell.protocol import TRAITS, Protocol, RouteKind, Transport
from cellplane.cell.quantity import bytes_of, milli_of
from cellplane.cell.visibility import Visibility
from cellplane.cell.workload import (
    Autoscaling,
    ComponentKind,
    EnvironmentVariable,
    Probe,
    Resources,
    Workload,
)
from cellplane.model.domain.resources import (
    Component,
    Endpoint,
    Environment,
    Overrides,
    SecretReference,
)

RUN_ONCE: Final = frozenset({ComponentKind.JOB, ComponentKind.SCHEDULED_TASK})
"""Kinds whose processes end by themselves."""

CPU_REQUEST: Final = "50m"
MEMORY_REQUEST: Final = "64Mi"
MEMORY_LIMIT: Final = "256Mi"
RUN_AS_USER: Final = 10001
RETRIES: Final = 3
TARGET_CPU_PERCENT: Final = 80
PROBE_PERIOD: Final = timedelta(seconds=10)
TIME_ZONE: Final = "Etc/UTC"
INTERNAL_DOMAIN: Final = "cellplane.internal"
STORE: Final = "cellplane"
REFRESH_INTERVAL: Final = timedelta(hours=1)


def public_domain(environment: Environment) -> str:
    """The domain under which public endpoints of an environment are served."""
    return environment.public_domain or _made_domain(environment, "apps")


def organization_domain(environment: Environment) -> str:
    """The domain under which organization endpoints of an environment are served."""
    return environment.organization_domain or _made_domain(environment, "org")


def _made_domain(environment: Environment, door: str) -> str:
    _, organization, _, own = environment.name.split("/")
    return f"{door}.{kube_name(own)}.{kube_name(organization)}.{INTERNAL_DOMAIN}"


def target_port(endpoint: Endpoint) -> int:
    """The port that the process listens on."""
    return endpoint.port if endpoint.target_port is None else endpoint.target_port


def path(endpoint: Endpoint) -> str:
    """The path under which gateways serve an endpoint."""
    return endpoint.path or "/"


def public_paths(endpoint: Endpoint) -> tuple[str, ...]:
    """The paths that a public endpoint has of its hosts; none where hosts mean nothing to it.

    A prefix of a path is the same with and without its last slash (Gateway API).
    """
    by_host = TRAITS[endpoint.protocol].route not in (RouteKind.TCP, RouteKind.UDP)
    if Visibility.PUBLIC not in endpoint.visibilities or not by_host:
        return ()
    every = (path(endpoint), *endpoint.additional_paths)
    return tuple(dict.fromkeys(p.rstrip("/") or "/" for p in every))


def secret_location(reference: SecretReference, environment: str) -> tuple[str, str]:
    """Store and remote key of a secret in an environment, by its name; the key may be empty."""
    own = next((e for e in reference.environments if e.environment == environment), None)
    store, remote = (own.secret_store, own.remote_key) if own is not None else ("", "")
    return store or reference.secret_store or STORE, remote or reference.remote_key


def default_resources(written: Resources | None) -> Resources:
    """Fill in requests and the limit of memory; a limit below a default request lowers it."""
    given = written or Resources()
    memory_limit = given.memory_limit or _larger(MEMORY_LIMIT, given.memory_request)
    memory_request = given.memory_request or _smaller(MEMORY_REQUEST, memory_limit)
    cpu_request = given.cpu_request or (
        given.cpu_limit
        if given.cpu_limit and milli_of(given.cpu_limit) < milli_of(CPU_REQUEST)
        else CPU_REQUEST
    )
    return Resources(
        cpu_request=cpu_request,
        cpu_limit=given.cpu_limit,
        memory_request=memory_request,
        memory_limit=memory_limit,
    )


def _larger(default: str, other: str) -> str:
    return other if other and bytes_of(other) > bytes_of(default) else default


def _smaller(default: str, other: str) -> str:
    return other if bytes_of(other) < bytes_of(default) else default


def default_workload(component: Component) -> Workload:
    """How the process of *component* is run, with every default filled in."""
    written = component.workload
    runs_once = component.component_kind in RUN_ONCE
    scaled = written.autoscaling is not None
    return replace(
        written,
        env=tuple(sorted(written.env, key=lambda variable: variable.name)),
        resources=default_resources(written.resources),
        replicas=None if runs_once or scaled else _or(written.replicas, 1),
        autoscaling=_autoscaling(written.autoscaling),
        readiness_probe=None if runs_once else _readiness(component),
        liveness_probe=_probe(written.liveness_probe),
        schedule=written.schedule
        and replace(written.schedule, time_zone=written.schedule.time_zone or TIME_ZONE),
        run_as_user=_or(written.run_as_user, RUN_AS_USER),
        writable_paths=tuple(sorted(set(written.writable_paths))),
        secret_mounts=tuple(sorted(written.secret_mounts, key=lambda mount: mount.mount_path)),
        retries=_or(written.retries, RETRIES) if runs_once else written.retries,
    )


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _autoscaling(written: Autoscaling | None) -> Autoscaling | None:
    if written is None:
        return None
    return replace(written, target_cpu_percent=_or(written.target_cpu_percent, TARGET_CPU_PERCENT))


def _probe(written: Probe | None) -> Probe | None:
    if written is None:
        return None
    return replace(
        written,
        initial_delay=written.initial_delay or timedelta(),
        period=written.period or PROBE_PERIOD,
    )


def _readiness(component: Component) -> Probe | None:
    written = component.workload.readiness_probe
    if written is None:
        first = next((e for e in component.endpoints if _can_be_probed(e.protocol)), None)
        written = None if first is None else Probe(endpoint=first.endpoint)
    return _probe(written)


def _can_be_probed(protocol: Protocol) -> bool:
    return TRAITS[protocol].transport is Transport.TCP


def override(component: Component, overrides: Overrides | None) -> Component:
    """The component as one environment wants it; before defaults are filled in."""
    if overrides is None:
        return component
    workload = component.workload
    own = {variable.name: variable for variable in overrides.env}
    kept: list[EnvironmentVariable] = [v for v in workload.env if v.name not in own]
    autoscaling = workload.autoscaling
    replicas = workload.replicas
    if overrides.replicas is not None:
        # A fixed number is what this environment wants instead of any scaling.
        replicas, autoscaling = overrides.replicas, None
    if overrides.autoscaling is not None:
        autoscaling, replicas = overrides.autoscaling, None
    return replace(
        component,
        environment_parameters=overrides.parameters,
        workload=replace(
            workload,
            env=(*kept, *own.values()),
            replicas=replicas,
            autoscaling=autoscaling,
            resources=_override_resources(workload.resources, overrides.resources),
        ),
    )


def without_hostnames(component: Component) -> Component:
    """The component under the host that is made for it: chosen ones are another environment's."""
    return replace(
        component,
        endpoints=tuple(
            replace(e, hostname="", additional_hostnames=()) for e in component.endpoints
        ),
    )


def _override_resources(written: Resources | None, own: Resources | None) -> Resources | None:
    if own is None or written is None:
        return own or written
    return Resources(
        cpu_request=own.cpu_request or written.cpu_request,
        cpu_limit=own.cpu_limit or written.cpu_limit,
        memory_request=own.memory_request or written.memory_request,
        memory_limit=own.memory_limit or written.memory_limit,
    )
