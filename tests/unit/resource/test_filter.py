"""Filters as AIP-160 writes them: what they mean of a message, and what is wrong with those that
mean nothing."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from cellplane.api.model.v1 import cell_pb2, component_pb2, project_pb2
from cellplane.api.placement.v1 import join_grant_pb2
from cellplane.api.type.v1 import endpoint_pb2, workload_pb2
from cellplane.cell.problem import Invalid
from cellplane.resource.filter.bind import bind
from cellplane.resource.filter.match import matches

WEB = component_pb2.Component(
    name="organizations/acme/projects/shop/components/web",
    display_name='The "web" * shop',
    annotations={"env": "prod", "example.com/team": "core"},
    create_time=Timestamp(seconds=1_767_225_600, nanos=500),
    component_kind=workload_pb2.COMPONENT_KIND_SERVICE,
    workload=workload_pb2.Workload(
        image="example.com/web:1", resources=workload_pb2.Resources(cpu_request="100m")
    ),
    endpoints=[
        component_pb2.Endpoint(endpoint="http", protocol=endpoint_pb2.PROTOCOL_HTTP, port=80),
        component_pb2.Endpoint(endpoint="grpc", protocol=endpoint_pb2.PROTOCOL_GRPC, port=90),
    ],
)


def holds(filter: str, message: Any = WEB) -> bool:
    """Whether a message is one that a filter asks for."""
    return matches(bind(filter, message.DESCRIPTOR), message)


@pytest.mark.parametrize(
    "filter",
    [
        "",
        "  ",
        'name = "organizations/acme/projects/shop/components/web"',
        "name=organizations/acme/projects/shop/components/web",
        'name = "*/web"',
        'name = "organizations/*/components/w*"',
        "name = */web",
        'display_name = "The \\"web\\" \\* shop"',
        "display_name = 'The \"web\" * shop'",
        'display_name != "x"',
        'display_name > "S" display_name < "U"',
        'annotations.env = "prod"',
        'annotations.env:"prod"',
        "annotations:env",
        "annotations.env:*",
        'annotations."example.com/team" = core',
        "component_kind = COMPONENT_KIND_SERVICE",
        "component_kind = SERVICE",
        "component_kind != JOB",
        "endpoints.port:80",
        "endpoints.protocol:GRPC",
        'endpoints.endpoint:"g*"',
        "endpoints:*",
        "workload.image:*",
        "workload:image",
        'workload.resources.cpu_request = "100m"',
        "create_time = 2026-01-01T00:00:00.0000005Z",
        "create_time > 2026-01-01T00:00:00Z",
        "create_time < 2026-01-01T01:00:00.5+00:30",
        'create_time >= "2025-12-31T23:00:00-01:00"',
        "reconciling = false",
        "-reconciling = true",
        "NOT display_name = x AND NOT (name = y OR name = z)",
        "-(name = y)",
        "web",
        '"SHOP"',
        "sho*web",
        "name = x OR display_name = y OR component_kind = SERVICE",
        # OR binds tighter than AND: (a OR b) AND c, here (true OR true) AND true.
        "component_kind = SERVICE OR name = x AND reconciling = false",
        "name = x OR component_kind = SERVICE reconciling = false",
        "(name = x AND reconciling = true) OR component_kind = SERVICE",
    ],
)
def test_true(filter: str) -> None:
    """A filter that says something true of a message asks for it."""
    assert holds(filter)


@pytest.mark.parametrize(
    "filter",
    [
        "name = web",
        'display_name = "the*"',
        'annotations.env = "dev"',
        'annotations.gone = ""',
        'annotations.gone != "x"',
        "annotations:gone",
        "component_kind = JOB",
        "endpoints.port:81",
        # Of a message that is not set nothing is true, not even that it differs.
        "workload.autoscaling.min_replicas = 0",
        "workload.autoscaling.min_replicas != 1",
        'workload.autoscaling.min_replicas != 1 OR name != "*/web"',
        "workload.autoscaling:*",
        "update_time != 2026-01-01T00:00:00Z",
        "update_time:*",
        "create_time = 2026-01-01T00:00:00Z",
        # (a OR b) AND c is false with c; a OR (b AND c) would be true.
        "component_kind = SERVICE OR name = x AND reconciling = true",
        "nowhere",
        "NOT endpoints:*",
    ],
)
def test_false(filter: str) -> None:
    """A filter that says nothing true of a message does not ask for it."""
    assert not holds(filter)


def test_durations() -> None:
    """Durations are written in seconds, and compare as such."""
    grant = cell_pb2.Cell()
    del grant
    health = project_pb2.Project()
    assert not holds("create_time:*", health)
    resources = workload_pb2.Workload()
    field = next((f for f in resources.DESCRIPTOR.fields if f.message_type is not None), None)
    assert field is not None
    with pytest.raises(Invalid, match="ttl"):
        # What is only asked with is never stored, so never asked for.
        holds("ttl = 60s", join_grant_pb2.JoinGrant(ttl=Duration(seconds=60)))


@pytest.mark.parametrize(
    ("filter", "column", "says"),
    [
        ("nme = x", 1, 'did you mean "name"?'),
        ("name = x AND displayname = y", 14, 'did you mean "display_name"?'),
        ("name = x AND", 13, "AND needs something behind it"),
        ("AND name = x", 1, "AND needs something on both sides"),
        ("name = x OR", 12, "a field or a value is missing"),
        ("name =", 7, "a value is missing"),
        ("(name = x", 1, "this parenthesis is not closed"),
        ("name = x)", 9, "unexpected"),
        ('name = "x', 8, "this quote is not closed"),
        ('name = "\\x"', 10, "a backslash escapes"),
        ("name ! x", 6, "write != or NOT"),
        ("name = (x OR y)", 8, "cannot be an expression"),
        ("regex(name, 'x')", 1, "regex() is a function"),
        ("create_time > ago(1h)", 15, "ago() is a function"),
        ("create_time > yesterday", 15, "a time such as"),
        ("reconciling = yes", 15, "true or false"),
        ("reconciling > true", 1, "has no order"),
        ("component_kind > JOB", 1, "has no order"),
        ("component_kind = NOTHING", 18, "COMPONENT_KIND_SERVICE"),
        ("endpoints.port = 80", 1, "endpoints.port:VALUE"),
        ("endpoints.port:http", 16, "a whole number"),
        ("endpoints.port:99999999999", 16, "a whole number"),
        ("annotations = x", 1, "leads through a map"),
        ("workload = x", 1, "no single value"),
        ("name.first = x", 1, "has no fields of its own"),
        ('name > "a*"', 8, "a wildcard has no order"),
        ("name = \0", 8, "NUL"),
        ("(" * 40 + "name = x" + ")" * 40, 34, "more than 32 levels"),
        ("name = 'a''b'", 11, "unexpected behind a value"),
    ],
)
def test_wrong(filter: str, column: int, says: str) -> None:
    """What is wrong is told with its column and a way out."""
    with pytest.raises(Invalid) as refused:
        bind(filter, WEB.DESCRIPTOR)
    problem = refused.value.problems[0]
    assert problem.field == "filter"
    assert problem.message.startswith(f"column {column}: ")
    assert says in problem.message
    assert refused.value.metadata["column"] == str(column)


def test_all_findings_at_once() -> None:
    """Several wrong comparisons are several findings, in their order."""
    with pytest.raises(Invalid) as refused:
        bind("nme = x AND (reconciling = 7 OR endpoints = 1)", WEB.DESCRIPTOR)
    assert [p.message.split(":")[0] for p in refused.value.problems] == [
        "column 1",
        "column 28",
        "column 33",
    ]
