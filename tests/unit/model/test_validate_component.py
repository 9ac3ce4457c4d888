"""What a component may not say: the path and the reason of every finding."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from cellplane.cell.cell import Injection
from cellplane.cell.protocol import Protocol
from cellplane.cell.workload import (
    Autoscaling,
    ComponentKind,
    EnvironmentVariable,
    Probe,
    Resources,
    Schedule,
    Volume,
)
from cellplane.model.domain.resources import Component
from cellplane.model.domain.validate_component import validate_component
from tests.unit.model.build import (
    ORGANIZATION,
    PUBLIC,
    SHOP,
    ZONES,
    component,
    connection,
    endpoint,
    external,
)


def found(of: Component) -> set[tuple[str, str]]:
    return {(p.field, p.reason) for p in validate_component(of, ZONES)}


def work(**workload: Any) -> Component:
    return component(workload=workload, endpoints=(endpoint(),))


def stateful(**workload: Any) -> Component:
    return component(workload=workload, component_kind=ComponentKind.STATEFUL_SERVICE)


def task(cron: str, zone: str = "") -> Component:
    schedule = Schedule(cron=cron, time_zone=zone)
    return component(workload={"schedule": schedule}, component_kind=ComponentKind.SCHEDULED_TASK)


def volume(id: str = "data", path: str = "/data") -> Volume:
    return Volume(volume=id, mount_path=path, size="1Gi")


def probed(**probe: Any) -> Component:
    endpoints = (
        endpoint(),
        endpoint("rpc", 81, protocol=Protocol.GRPC),
        endpoint("dns", 53, protocol=Protocol.UDP),
    )
    return component(workload={"readiness_probe": Probe(**probe)}, endpoints=endpoints)


@dataclass(frozen=True)
class Case:
    component: Component
    field: str
    reason: str


CASES = {
    "id of the egress gateway": Case(component("egress"), "name", "NAME_RESERVED"),
    "reserved prefix": Case(component("cellplane-x"), "name", "NAME_RESERVED"),
    "endpoint id twice": Case(
        component(endpoints=(endpoint("a", 80), endpoint("a", 81))),
        "endpoints[1].endpoint",
        "NAME_DUPLICATE",
    ),
    "port twice": Case(
        component(endpoints=(endpoint("a"), endpoint("b"))), "endpoints[1].port", "PORT_DUPLICATE"
    ),
    "worker with an endpoint": Case(
        component(endpoints=(endpoint(),), component_kind=ComponentKind.WORKER),
        "endpoints",
        "KIND_MISMATCH",
    ),
    "organization endpoint over UDP": Case(
        component(endpoints=(endpoint(protocol=Protocol.UDP, visibilities=ORGANIZATION),)),
        "endpoints[0].visibilities",
        "IDENTITY_NOT_CARRIED",
    ),
    "organization endpoint over TLS": Case(
        component(endpoints=(endpoint(protocol=Protocol.TLS, visibilities=ORGANIZATION),)),
        "endpoints[0].visibilities",
        "IDENTITY_NOT_CARRIED",
    ),
    "path of TCP": Case(
        component(endpoints=(endpoint(protocol=Protocol.TCP, path="/a"),)),
        "endpoints[0].path",
        "PATH_NOT_SUPPORTED",
    ),
    "path that climbs": Case(
        component(endpoints=(endpoint(path="/a/../b"),)), "endpoints[0].path", "PATH_NOT_NORMAL"
    ),
    "hostname that nobody sees": Case(
        component(endpoints=(endpoint(hostname="a.example.com"),)),
        "endpoints[0].hostname",
        "HOSTNAME_NOT_PUBLIC",
    ),
    "public path twice": Case(
        component(
            endpoints=(
                endpoint("a", 80, visibilities=PUBLIC),
                endpoint("b", 81, visibilities=PUBLIC),
            )
        ),
        "endpoints[1].path",
        "ROUTE_DUPLICATE",
    ),
    "connection id twice": Case(
        component(connections=(connection("x", id="a"), connection("y", id="a"))),
        "connections[1].connection",
        "NAME_DUPLICATE",
    ),
    "injected name that env has": Case(
        component(
            workload={"env": (EnvironmentVariable(name="URL"),)},
            connections=(connection("x", inject=Injection(url="URL")),),
        ),
        "connections[0].inject.url",
        "NAME_DUPLICATE",
    ),
    "injected name that is none": Case(
        component(connections=(connection("x", inject=Injection(host="a-b")),)),
        "connections[0].inject.host",
        "NAME_INVALID",
    ),
    "variable of the platform": Case(
        work(env=(EnvironmentVariable(name="CELLPLANE_POD"),)),
        "workload.env[0].name",
        "NAME_RESERVED",
    ),
    "variable twice": Case(
        work(env=(EnvironmentVariable(name="A"), EnvironmentVariable(name="A"))),
        "workload.env[1].name",
        "NAME_DUPLICATE",
    ),
    "NUL in a value": Case(
        work(env=(EnvironmentVariable(name="A", value="a\0b"),)),
        "workload.env[0].value",
        "TEXT_INVALID",
    ),
    "image with a blank": Case(work(image="app 1"), "workload.image", "IMAGE_INVALID"),
    "replicas and autoscaling": Case(
        work(replicas=2, autoscaling=Autoscaling(min_replicas=1, max_replicas=2)),
        "workload.replicas",
        "FIELDS_EXCLUDE",
    ),
    "replicas of a job": Case(
        component(workload={"replicas": 2}, component_kind=ComponentKind.JOB),
        "workload.replicas",
        "KIND_MISMATCH",
    ),
    "retries of a service": Case(work(retries=1), "workload.retries", "KIND_MISMATCH"),
    "schedule of a service": Case(
        work(schedule=Schedule(cron="@daily")), "workload.schedule", "KIND_MISMATCH"
    ),
    "task without a schedule": Case(
        component(component_kind=ComponentKind.SCHEDULED_TASK),
        "workload.schedule",
        "FIELD_REQUIRED",
    ),
    "minute 60": Case(task("60 * * * *"), "workload.schedule.cron", "CRON_INVALID"),
    "unknown zone": Case(
        task("@daily", "Mars/Base"), "workload.schedule.time_zone", "TIME_ZONE_UNKNOWN"
    ),
    "volumes of a service": Case(work(volumes=(volume(),)), "workload.volumes", "KIND_MISMATCH"),
    "volume twice": Case(
        stateful(volumes=(volume(), volume(path="/other"))),
        "workload.volumes[1].volume",
        "NAME_DUPLICATE",
    ),
    "path mounted twice": Case(
        stateful(volumes=(volume(),), writable_paths=("/data",)),
        "workload.writable_paths[0]",
        "PATH_DUPLICATE",
    ),
    "path of the system": Case(
        work(writable_paths=("/proc/x",)), "workload.writable_paths[0]", "PATH_RESERVED"
    ),
    "request above its limit": Case(
        work(resources=Resources(cpu_request="2", cpu_limit="1500m")),
        "workload.resources.cpu_request",
        "REQUEST_ABOVE_LIMIT",
    ),
    "memory in other units": Case(
        work(resources=Resources(memory_request="1Gi", memory_limit="1G")),
        "workload.resources.memory_request",
        "REQUEST_ABOVE_LIMIT",
    ),
    "limit of nothing": Case(
        work(resources=Resources(memory_limit="0")),
        "workload.resources.memory_limit",
        "LIMIT_ZERO",
    ),
    "probe of nobody": Case(
        probed(endpoint="no"), "workload.readiness_probe.endpoint", "ENDPOINT_NOT_FOUND"
    ),
    "probe of UDP": Case(
        probed(endpoint="dns"), "workload.readiness_probe.endpoint", "PROBE_NOT_SUPPORTED"
    ),
    "gRPC probe of HTTP": Case(
        probed(endpoint="http", grpc=True), "workload.readiness_probe.grpc", "PROBE_NOT_SUPPORTED"
    ),
    "HTTP probe of gRPC": Case(
        probed(endpoint="rpc", http_path="/"),
        "workload.readiness_probe.http_path",
        "PROBE_NOT_SUPPORTED",
    ),
    "probe all the time": Case(
        probed(endpoint="http", period=timedelta(milliseconds=1)),
        "workload.readiness_probe.period",
        "PERIOD_OUT_OF_RANGE",
    ),
}
for host in (
    "10.0.0.1",
    "[::1]",
    "0x7f.1",
    "2130706433",
    "*.example.com",
    "localhost",
    "metadata.google.internal",
    "metadata",
    "api.default.svc.cluster.local",
    "api.default.svc",
    "example",
    "Example.com",
    "example.com.",
    "exa_mple.com",
):
    CASES[f"host {host}"] = Case(
        component(connections=(external(host),)),
        "connections[0].external_host.host",
        "HOST_REFUSED",
    )


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_has_its_path_and_reason(case: str) -> None:
    """Each mistake is one finding, at the field that has it."""
    wanted = CASES[case]

    assert found(wanted.component) == {(wanted.field, wanted.reason)}


def test_all_findings_come_at_once() -> None:
    """Three mistakes in three places are three findings."""
    bad = component(
        "egress",
        workload={"image": "", "replicas": 1},
        endpoints=(endpoint("a"), endpoint("a", 81)),
    )

    assert {field for field, _ in found(bad)} == {
        "name",
        "workload.image",
        "endpoints[1].endpoint",
    }


GOOD = {
    "the least": component(),
    "a registry with a port, tag and digest": work(
        image=f"registry.example.com:5000/team/app:v1.2-rc1@sha256:{'a' * 64}"
    ),
    "a call of itself": component(
        endpoints=(endpoint(),), connections=(connection(f"{SHOP}/components/web"),)
    ),
    "a host outside": component(connections=(external("api.example.com"),)),
    "TCP and UDP on one port": component(
        endpoints=(
            endpoint("a", 53, protocol=Protocol.UDP),
            endpoint("b", 53, protocol=Protocol.TCP),
        )
    ),
    "public under two hosts": component(
        endpoints=(
            endpoint("a", 80, visibilities=PUBLIC),
            endpoint("b", 81, visibilities=PUBLIC, hostname="b.example.com"),
        )
    ),
    "a schedule with everything": task("*/5,30 0-6/2 1 jan-mar MON", "Europe/Berlin"),
    "a request above the default limit": work(resources=Resources(memory_request="1Gi")),
    "a limit below the default request": work(resources=Resources(memory_limit="32Mi")),
}


@pytest.mark.parametrize("case", GOOD)
def test_what_is_allowed_has_no_finding(case: str) -> None:
    """The rules refuse nothing that can be run."""
    assert found(GOOD[case]) == set()
