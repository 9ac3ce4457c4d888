"""The codec: what a dataclass says survives the wire, and what cannot is refused at once."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.api.model.v1 import component_pb2
from cellplane.api.type.v1 import (
    compile_pb2,
    condition_pb2,
    endpoint_pb2,
    problem_pb2,
    resolved_cell_pb2,
    workload_pb2,
)
from cellplane.cell import cell, condition, manifest, plane, problem, traffic, visibility, workload
from cellplane.cell.problem import Invalid
from cellplane.cell.protocol import Protocol
from cellplane.rpc.codec import Codec

DELTA = frozenset({"removed_components", "base_revision"})
POLICY = frozenset({"policy"})
"""Of an external host, which these tests leave alone."""
CELLS = Codec(cell.ResolvedCell, resolved_cell_pb2.ResolvedCell, ignore=DELTA)
MANIFESTS = Codec(manifest.Manifest, compile_pb2.Manifest)
PLANES = Codec(plane.DataPlaneProfile, compile_pb2.DataPlaneProfile)
WORKLOADS = Codec(workload.Workload, workload_pb2.Workload)
CONDITIONS = Codec(condition.Condition, condition_pb2.Condition)
CAUSES = Codec(condition.Cause, condition_pb2.Cause)
PROBLEMS = Codec(problem.Problem, problem_pb2.Problem)

ONE_OF: dict[type, dict[str, type]] = {
    cell.ResolvedConnection: {
        "cell": cell.CellTarget,
        "organization": cell.OrganizationTarget,
        "external": cell.ExternalTarget,
    },
    traffic.Authentication: {
        "jwt": traffic.JwtAuthentication,
        "oidc": traffic.OidcAuthentication,
        "api_key": traffic.ApiKeyAuthentication,
        "basic": traffic.BasicAuthentication,
        "mutual_tls": traffic.MutualTlsAuthentication,
        "external": traffic.ExternalAuthentication,
    },
}
"""Of these fields exactly one is set."""
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    # The wire's strings are UTF-8: surrogates are no text.
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    int: st.integers(-(2**31), 2**31 - 1),
    bool: st.booleans(),
    bytes: st.binary(max_size=8),
    datetime: st.datetimes(
        min_value=datetime(1, 1, 2),  # noqa: DTZ001 - the strategy adds the zone
        max_value=datetime(9999, 12, 30),  # noqa: DTZ001
        timezones=st.just(UTC),
    ),
    # What JSON can say.
    Any: st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53), 2**53)
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.text("abc", max_size=3), inner, max_size=2)
        ),
        max_leaves=3,
    ),
    timedelta: st.timedeltas(timedelta(days=-100_000), timedelta(days=100_000)),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type of the waist."""
    arguments = typing.get_args(hint)
    if hint in LEAVES:
        return LEAVES[hint]
    if typing.get_origin(hint) is tuple:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if typing.get_origin(hint) is Mapping:
        return st.dictionaries(values(arguments[0]), values(arguments[1]), max_size=2)
    if arguments:
        return st.one_of(st.none(), values(arguments[0]))
    if issubclass(hint, Enum):
        return st.sampled_from(hint)
    fields = {name: values(field) for name, field in typing.get_type_hints(hint).items()}
    if choices := ONE_OF.get(hint):
        rest = st.fixed_dictionaries({n: field for n, field in fields.items() if n not in choices})
        one = st.one_of(*(st.fixed_dictionaries({n: values(t)}) for n, t in choices.items()))
        return st.builds(lambda chosen, given: hint(**chosen, **given), one, rest)
    return st.fixed_dictionaries(fields).map(lambda given: hint(**given))


def survives(codec: Codec[Any, Any], value: Any) -> None:
    """Through the wire's bytes and back it is the same, and gives the same bytes again."""
    wire = codec.to_wire(value)
    data = wire.SerializeToString(deterministic=True)
    read = codec.to_domain(type(wire).FromString(data))
    assert read == value
    assert codec.to_wire(read).SerializeToString(deterministic=True) == data


@settings(max_examples=60, deadline=None)
@given(values(cell.ResolvedCell))
def test_a_resolved_cell_survives(value: cell.ResolvedCell) -> None:
    """A resolved Cell, with everything in it, is the same after the wire."""
    survives(CELLS, value)


@settings(max_examples=60, deadline=None)
@given(values(workload.Workload))
def test_a_workload_survives(value: workload.Workload) -> None:
    """A workload keeps what is unset apart from what is zero."""
    survives(WORKLOADS, value)


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(
        st.tuples(st.just(MANIFESTS), values(manifest.Manifest)),
        st.tuples(st.just(PLANES), values(plane.DataPlaneProfile)),
        st.tuples(st.just(CONDITIONS), values(condition.Condition)),
        st.tuples(st.just(CAUSES), values(condition.Cause)),
        st.tuples(st.just(PROBLEMS), values(problem.Problem)),
    )
)
def test_the_rest_of_the_waist_survives(pair: tuple[Codec[Any, Any], Any]) -> None:
    """Manifests, data planes, conditions, causes and problems are the same after the wire."""
    survives(*pair)


def test_zero_is_not_unset() -> None:
    """A zero that was said is zero; what was not said is `None`, also for durations and times."""
    said = workload.Workload(
        image="i",
        replicas=0,
        readiness_probe=workload.Probe(endpoint="e", period=timedelta(0)),
    )
    read = WORKLOADS.to_domain(WORKLOADS.to_wire(said))
    assert read.replicas == 0
    assert read.retries is None
    assert read.readiness_probe is not None
    assert read.readiness_probe.period == timedelta(0)
    assert read.readiness_probe.initial_delay is None
    assert CONDITIONS.to_domain(
        condition_pb2.Condition(status=condition_pb2.Condition.TRUE)
    ) == condition.Condition(type="", status=condition.Status.TRUE, reason="")


def test_unspecified_is_what_the_field_allows() -> None:
    """An unset enum reads as its member `UNSPECIFIED`, or the field's default."""
    frame = Codec(cell.CellFrame, resolved_cell_pb2.CellFrame).to_domain(
        resolved_cell_pb2.CellFrame()
    )
    assert frame.encryption is visibility.Encryption.UNSPECIFIED
    assert PROBLEMS.to_domain(problem_pb2.Problem()).severity is problem.Severity.ERROR


@pytest.mark.parametrize(("number", "reason"), [(0, "FIELD_REQUIRED"), (99, "ENUM_VALUE_UNKNOWN")])
def test_a_required_enum_must_be_given(number: int, reason: str) -> None:
    """Where the field's type has no word for unset, an unset or unknown value is invalid."""
    codec = Codec(cell.ResolvedEndpoint, resolved_cell_pb2.ResolvedEndpoint)
    wire = resolved_cell_pb2.ResolvedEndpoint(endpoint="e")
    wire.protocol = number  # type: ignore[assignment]
    with pytest.raises(Invalid) as refused:
        codec.to_domain(wire)
    assert [(p.field, p.reason) for p in refused.value.problems] == [("protocol", reason)]
    wire = resolved_cell_pb2.ResolvedEndpoint(protocol=endpoint_pb2.PROTOCOL_HTTP)
    wire.visibilities.append(number)  # type: ignore[arg-type]
    with pytest.raises(Invalid):
        codec.to_domain(wire)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Host:
    host: str
    port: int
    protocol: Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class _Short:
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Long(_Host):
    more: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unsaid(_Short):
    port: int | None
    protocol: Protocol | None


class _Few(Enum):
    HTTP = "HTTP"


@dataclass(frozen=True, slots=True, kw_only=True)
class _FewProtocols(_Short):
    port: int
    protocol: _Few


class _Other(Enum):
    HTTP = "HTTP"
    CARRIER_PIGEON = "CARRIER_PIGEON"


@dataclass(frozen=True, slots=True, kw_only=True)
class _OtherProtocols(_Short):
    port: int
    protocol: _Other


@pytest.mark.parametrize(
    ("domain", "message", "names"),
    [
        (_Short, component_pb2.ExternalHost, "policy, port, protocol"),
        (_Long, component_pb2.ExternalHost, "more"),
        (_Unsaid, component_pb2.ExternalHost, "port cannot say None"),
        (_FewProtocols, component_pb2.ExternalHost, "GRAPHQL"),
        (_OtherProtocols, component_pb2.ExternalHost, "CARRIER_PIGEON"),
    ],
)
def test_what_would_be_lost_is_refused(
    domain: type[Any], message: type[Message], names: str
) -> None:
    """A codec whose sides differ is not made, and says in what they differ."""
    with pytest.raises(TypeError, match=names):
        Codec(domain, message, ignore=POLICY if "policy" not in names else frozenset())


def test_what_is_ignored_is_left_alone() -> None:
    """Fields of the wire that the domain does not know can be left out by name."""
    codec = Codec(_Short, component_pb2.ExternalHost, ignore=POLICY | {"port", "protocol"})
    wire = component_pb2.ExternalHost(host="h", port=1)
    assert codec.to_domain(wire) == _Short(host="h")
    assert codec.to_wire(_Short(host="h")) == component_pb2.ExternalHost(host="h")
