"""Messages of the agent link, as values and back."""

from __future__ import annotations

from dataclasses import replace

from cellplane.api.agent.v1 import link_pb2
from cellplane.api.type.v1 import compile_pb2
from cellplane.cell.manifest import ObjectKey
from cellplane.cell.plane import Enforcement
from cellplane.placement import convert
from cellplane.placement.records import Facts, ResourceFacts
from cellplane.placement.rollout.diff import BundleObject
from cellplane.placement.status.observed import (
    ComponentReport,
    ObjectFailure,
    Observed,
    Outcome,
)


def facts_of(message: link_pb2.Facts) -> Facts:
    """What a cluster is and has."""
    return Facts(
        digest=message.digest,
        kubernetes_version=message.kubernetes_version,
        enforcement=convert.enum_of(
            Enforcement,
            compile_pb2.Enforcement,
            message.enforcement,
            prefix="ENFORCEMENT_",
            default=Enforcement.UNSPECIFIED,
        ),
        capabilities=tuple(sorted(set(message.capabilities))),
        labels=dict(message.labels),
        node_count=message.node_count,
        allocatable_cpu_millis=message.allocatable_cpu_millis,
        allocatable_memory_bytes=message.allocatable_memory_bytes,
        requested_cpu_millis=message.requested_cpu_millis,
        requested_memory_bytes=message.requested_memory_bytes,
        provider=message.provider,
        resources=tuple(
            ResourceFacts(
                resource=r.resource,
                allocatable=r.allocatable,
                cells_requested=r.cells_requested,
                others_requested=r.others_requested,
            )
            for r in sorted(message.resources, key=lambda r: r.resource)
        ),
    )


def key_of(message: link_pb2.ObjectReference) -> ObjectKey:
    """Which object."""
    return ObjectKey(
        api_version=message.api_version,
        kind=message.kind,
        namespace=message.namespace,
        object=message.object,
    )


def key_to_wire(key: ObjectKey) -> link_pb2.ObjectReference:
    """Which object."""
    return link_pb2.ObjectReference(
        api_version=key.api_version, kind=key.kind, namespace=key.namespace, object=key.object
    )


def object_to_wire(wanted: BundleObject) -> link_pb2.WantedObject:
    """An object that is wanted."""
    return link_pb2.WantedObject(
        object=key_to_wire(wanted.key),
        digest=wanted.digest,
        phase=convert.phase_to_wire(wanted.phase),
        part=wanted.part,
    )


def component_report_of(message: link_pb2.ComponentReport) -> ComponentReport:
    """How a component is on a data plane."""
    return ComponentReport(
        component=message.component,
        health=convert.health_of(message.health),
        cause=convert.cause_of(message.cause) if message.HasField("cause") else None,
        ready_replica_count=message.ready_replica_count,
        replica_count=message.replica_count,
    )


def component_report_to_wire(report: ComponentReport) -> link_pb2.ComponentReport:
    """How a component is on a data plane."""
    return link_pb2.ComponentReport(
        component=report.component,
        health=convert.health_to_wire(report.health),
        cause=convert.cause_to_wire(report.cause),
        ready_replica_count=report.ready_replica_count,
        replica_count=report.replica_count,
    )


def failure_of(message: link_pb2.ObjectResult) -> ObjectFailure:
    """What became of an object that failed."""
    return ObjectFailure(
        key=key_of(message.object),
        part=message.part,
        outcome=convert.enum_of(
            Outcome, link_pb2.ObjectResult.Outcome, message.outcome, default=Outcome.FAILED
        ),
        message=message.message,
    )


def failure_to_wire(failure: ObjectFailure) -> link_pb2.ObjectResult:
    """What became of an object that failed."""
    return link_pb2.ObjectResult(
        object=key_to_wire(failure.key),
        part=failure.part,
        outcome=link_pb2.ObjectResult.Outcome.Value(failure.outcome.value),
        message=failure.message,
    )


def observed_to_bytes(observed: Observed) -> tuple[bytes, bytes]:
    """What an agent said, to be stored: how the Cell is, and what failed."""
    report = link_pb2.CellReport(
        revision=observed.report_revision,
        health=convert.health_to_wire(observed.health),
        cause=convert.cause_to_wire(observed.cause),
        components=[component_report_to_wire(c) for c in observed.components],
    )
    failures = link_pb2.Applied(results=[failure_to_wire(f) for f in observed.failures])
    return report.SerializeToString(), failures.SerializeToString()


def observed_of(observed: Observed, report: bytes, failures: bytes) -> Observed:
    """What an agent said, as it was stored; revisions come from *observed*."""
    said = link_pb2.CellReport.FromString(report)
    failed = link_pb2.Applied.FromString(failures)
    return replace(
        observed,
        report_revision=said.revision,
        health=convert.health_of(said.health),
        cause=convert.cause_of(said.cause) if said.HasField("cause") else None,
        components=tuple(component_report_of(c) for c in said.components),
        failures=tuple(failure_of(f) for f in failed.results),
    )


def facts_to_wire(facts: Facts) -> link_pb2.Facts:
    """What a cluster is and has."""
    return link_pb2.Facts(
        digest=facts.digest,
        kubernetes_version=facts.kubernetes_version,
        enforcement=compile_pb2.Enforcement.Value(f"ENFORCEMENT_{facts.enforcement.value}"),
        capabilities=facts.capabilities,
        labels=facts.labels,
        node_count=facts.node_count,
        allocatable_cpu_millis=facts.allocatable_cpu_millis,
        allocatable_memory_bytes=facts.allocatable_memory_bytes,
        requested_cpu_millis=facts.requested_cpu_millis,
        requested_memory_bytes=facts.requested_memory_bytes,
        provider=facts.provider,
        resources=[
            link_pb2.ResourceFacts(
                resource=r.resource,
                allocatable=r.allocatable,
                cells_requested=r.cells_requested,
                others_requested=r.others_requested,
            )
            for r in facts.resources
        ],
    )


def facts_to_bytes(facts: Facts | None) -> bytes | None:
    """What a cluster is and has, to be stored."""
    return None if facts is None else facts_to_wire(facts).SerializeToString(deterministic=True)


def facts_of_bytes(stored: bytes | None) -> Facts | None:
    """What a cluster is and has, as it was stored."""
    return None if stored is None else facts_of(link_pb2.Facts.FromString(stored))
