"""Between what goes over the link and what the agent works with."""

from __future__ import annotations

from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from cellplane.agent import facts as facts_rules
from cellplane.agent.cells import Answer
from cellplane.agent.objects import CellState, Result, Want, WantedObject
from cellplane.agent.reports import Applied, CellReport, Drift, ObjectReport
from cellplane.agent.rollup import Component
from cellplane.agent.target import Facts
from cellplane.api.agent.v1 import link_pb2
from cellplane.api.type.v1 import compile_pb2, condition_pb2
from cellplane.cell.condition import Cause, Health
from cellplane.cell.manifest import ObjectKey, Phase

_PHASES = {compile_pb2.Phase.Value(f"PHASE_{phase.value}"): phase for phase in Phase}


def want_of(message: link_pb2.Want) -> Want:
    """What is wanted of one Cell. An unknown phase is that of what runs, behind every policy."""
    return Want(
        cell=message.cell,
        revision=message.revision,
        base_revision=message.base_revision,
        nonce=message.nonce,
        objects=tuple(
            WantedObject(
                key=key_of(o.object),
                phase=_PHASES.get(o.phase, Phase.WORKLOAD),
                part=o.part,
                digest=o.digest,
            )
            for o in message.objects
        ),
        removals=tuple(key_of(r) for r in message.removals),
        digest=message.digest,
        namespace=message.namespace,
        removed=message.removed,
    )


def key_of(message: link_pb2.ObjectReference) -> ObjectKey:
    """Which object."""
    return ObjectKey(
        api_version=message.api_version,
        kind=message.kind,
        namespace=message.namespace,
        object=message.object,
    )


def inventory_to_wire(states: Iterable[CellState]) -> link_pb2.SyncRequest:
    """What is stored."""
    return link_pb2.SyncRequest(
        inventory=link_pb2.Inventory(
            cells=[
                link_pb2.StoredCell(
                    cell=state.cell,
                    revision=state.revision,
                    digest=state.digest,
                    applied=state.applied_revision == state.revision,
                )
                for state in states
            ]
        )
    )


def reply_to_wire(want: Want, answer: Answer) -> link_pb2.SyncRequest:
    """What was done with a Want."""
    return link_pb2.SyncRequest(
        reply=link_pb2.Reply(
            nonce=want.nonce,
            cell=want.cell,
            revision=want.revision,
            verdict=link_pb2.Reply.Verdict.Value(answer.verdict.value),
            stored_revision=answer.stored_revision,
            results=[_result(r) for r in answer.results],
        )
    )


def applied_to_wire(applied: Applied) -> link_pb2.SyncRequest:
    """What became of a revision's objects."""
    return link_pb2.SyncRequest(
        applied=link_pb2.Applied(
            cell=applied.cell,
            revision=applied.revision,
            complete=applied.complete,
            results=[_result(r) for r in applied.results],
            removed=applied.removed,
        )
    )


def report_to_wire(report: CellReport) -> link_pb2.SyncRequest:
    """How a Cell is."""
    return link_pb2.SyncRequest(
        report=link_pb2.CellReport(
            cell=report.cell,
            revision=report.revision,
            health=_health(report.health),
            cause=_cause(report.cause),
            components=[_component(c) for c in report.components],
            objects=[_object(o) for o in report.objects],
            full=report.full,
        )
    )


def drift_to_wire(drift: Drift) -> link_pb2.SyncRequest:
    """That somebody changed what was applied."""
    seen = Timestamp()
    seen.FromDatetime(drift.seen_time)
    return link_pb2.SyncRequest(
        drift=link_pb2.Drift(
            cell=drift.cell,
            object=_key(drift.key),
            part=drift.part,
            fields=drift.fields,
            repaired=drift.repaired,
            seen_time=seen,
        )
    )


def facts_to_wire(facts: Facts) -> link_pb2.SyncRequest:
    """What the target is and has."""
    return link_pb2.SyncRequest(
        facts=link_pb2.Facts(
            digest=facts_rules.digest_of(facts),
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
    )


def _result(result: Result) -> link_pb2.ObjectResult:
    return link_pb2.ObjectResult(
        object=_key(result.key),
        outcome=link_pb2.ObjectResult.Outcome.Value(result.outcome.value),
        message=result.message,
        part=result.part,
    )


def _component(component: Component) -> link_pb2.ComponentReport:
    return link_pb2.ComponentReport(
        component=component.component,
        health=_health(component.health),
        cause=_cause(component.cause),
        ready_replica_count=component.ready,
        replica_count=component.replicas,
    )


def _object(report: ObjectReport) -> link_pb2.ObjectReport:
    return link_pb2.ObjectReport(
        object=_key(report.key),
        part=report.part,
        owner=report.owner,
        health=_health(report.health),
        reason=report.reason,
        message=report.message,
    )


def _cause(cause: Cause | None) -> condition_pb2.Cause | None:
    if cause is None:
        return None
    message = condition_pb2.Cause(
        resource=cause.resource,
        reason=cause.reason,
        message=cause.message,
        terminal=cause.terminal,
        remedy=cause.remedy,
        log_lines=cause.log_lines,
    )
    if cause.since_time is not None:
        message.since_time.FromDatetime(cause.since_time)
    return message


def _health(health: Health) -> condition_pb2.Health.ValueType:
    return condition_pb2.Health.Value(f"HEALTH_{health.value}")


def _key(key: ObjectKey) -> link_pb2.ObjectReference:
    return link_pb2.ObjectReference(
        api_version=key.api_version, kind=key.kind, namespace=key.namespace, object=key.object
    )
