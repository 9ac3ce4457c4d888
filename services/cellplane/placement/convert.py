"""Between the wire and the domain: small, total functions, one for each message.

Enums have the same names on both sides, after the wire's prefix; what the wire does not name
becomes the domain's unspecified value, never an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from cellplane.api.model.v1 import cell_pb2
from cellplane.api.placement.v1 import data_plane_pb2
from cellplane.api.type.v1 import compile_pb2, condition_pb2, placement_pb2, problem_pb2
from cellplane.cell.condition import Cause, Condition, Health, Status
from cellplane.cell.manifest import Manifest, Phase
from cellplane.cell.plane import DataPlaneProfile, Peers
from cellplane.cell.problem import Problem, Severity
from cellplane.cell.requirement import Effect, PlacementRequirement, Taint
from cellplane.placement.planes import Entry
from cellplane.placement.records import DataPlane
from cellplane.placement.rollout.brake import HeldRemovals
from cellplane.placement.rollout.diff import BundleObject
from cellplane.placement.scheduler.snapshot import Amounts, OutsideScore
from cellplane.placement.status.cell_status import CellStatus, ComponentStatus, PlaneStatus
from cellplane.rpc.codec import Codec

E = TypeVar("E", bound=Enum)

_REQUIREMENT: Final = Codec(PlacementRequirement, placement_pb2.PlacementRequirement)


def enum_of(kind: type[E], wire: Any, number: int, *, prefix: str = "", default: E) -> E:
    """The domain's member of that name."""
    try:
        return kind(wire.Name(number).removeprefix(prefix))
    except ValueError:
        return default


def time_of(stamp: Timestamp) -> datetime:
    """An aware time in UTC."""
    return stamp.ToDatetime(tzinfo=UTC)


def stamp_of(time: datetime) -> Timestamp:
    """The wire's timestamp."""
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def requirement_of(message: placement_pb2.PlacementRequirement) -> PlacementRequirement:
    """What a Cell asks of its data planes."""
    return _REQUIREMENT.to_domain(message)


def data_plane_of(message: data_plane_pb2.DataPlane) -> DataPlane:
    """A data plane as people describe it."""
    return DataPlane(
        name=message.name,
        uid=message.uid,
        labels=dict(message.labels),
        taints=tuple(
            Taint(
                key=t.key,
                value=t.value,
                effect=enum_of(
                    Effect, placement_pb2.Taint.Effect, t.effect, default=Effect.NO_SCHEDULE
                ),
            )
            for t in message.taints
        ),
        cordoned=message.cordoned,
        drained=message.drained,
        banned=message.banned,
        cost=message.cost,
        scores=tuple(
            OutsideScore(
                score=s.score,
                value=s.value,
                valid_until=(
                    time_of(s.expire_time).timestamp() if s.HasField("expire_time") else None
                ),
            )
            for s in message.outside_scores
        ),
        westbound_host=message.westbound_host,
        westbound_port=message.westbound_port,
        internal_networks=tuple(sorted(message.internal_networks)),
    )


def profile_to_wire(profile: DataPlaneProfile) -> compile_pb2.DataPlaneProfile:
    """What compilers need to know of a data plane."""
    return compile_pb2.DataPlaneProfile(
        data_plane=profile.data_plane,
        uid=profile.uid,
        organization=profile.organization,
        trust_domain=profile.trust_domain,
        enforcement=compile_pb2.Enforcement.Value(f"ENFORCEMENT_{profile.enforcement.value}"),
        capabilities=profile.capabilities,
        labels=profile.labels,
        westbound_host=profile.westbound_host,
        westbound_port=profile.westbound_port,
        internal_networks=profile.internal_networks,
    )


def peers_to_wire(peers: Peers) -> compile_pb2.Peers:
    """Where the targets of connections are."""
    return compile_pb2.Peers(
        cells=[
            compile_pb2.PeerCell(
                project=cell.project,
                gateways=[
                    compile_pb2.PeerGateway(data_plane=g.data_plane, host=g.host, port=g.port)
                    for g in cell.gateways
                ],
            )
            for cell in peers.cells
        ]
    )


def manifest_of(message: compile_pb2.Manifest) -> Manifest:
    """One compiled object."""
    return Manifest(
        part=message.part,
        phase=phase_of(message.phase),
        api_version=message.api_version,
        kind=message.kind,
        namespace=message.namespace,
        object=message.object,
        content=message.content,
        digest=message.digest,
    )


def phase_of(number: compile_pb2.Phase.ValueType) -> Phase:
    """When an object is applied; what does not say goes last of what runs."""
    return enum_of(Phase, compile_pb2.Phase, number, prefix="PHASE_", default=Phase.WORKLOAD)


def phase_to_wire(phase: Phase) -> compile_pb2.Phase.ValueType:
    """When an object is applied."""
    return compile_pb2.Phase.Value(f"PHASE_{phase.value}")


def object_of(manifest: Manifest) -> BundleObject:
    """A manifest without its content."""
    return BundleObject(
        key=manifest.key, part=manifest.part, phase=manifest.phase, digest=manifest.digest
    )


def problem_of(message: problem_pb2.Problem) -> Problem:
    """A finding. One that does not say how much it weighs is an error."""
    return Problem(
        reason=message.reason,
        message=message.message,
        field=message.field,
        resource=message.resource,
        value=message.value,
        severity=enum_of(
            Severity, problem_pb2.Problem.Severity, message.severity, default=Severity.ERROR
        ),
    )


def problem_to_wire(problem: Problem) -> problem_pb2.Problem:
    """A finding."""
    return problem_pb2.Problem(
        reason=problem.reason,
        message=problem.message,
        field=problem.field,
        resource=problem.resource,
        value=problem.value,
        severity=problem_pb2.Problem.Severity.Value(problem.severity.value),
    )


def health_of(number: condition_pb2.Health.ValueType) -> Health:
    """How far something is."""
    return enum_of(
        Health, condition_pb2.Health, number, prefix="HEALTH_", default=Health.UNSPECIFIED
    )


def health_to_wire(health: Health) -> condition_pb2.Health.ValueType:
    """How far something is."""
    return condition_pb2.Health.Value(f"HEALTH_{health.value}")


def cause_of(message: condition_pb2.Cause) -> Cause:
    """The deepest reason why something is not ready."""
    return Cause(
        resource=message.resource,
        reason=message.reason,
        message=message.message,
        since_time=time_of(message.since_time) if message.HasField("since_time") else None,
        terminal=message.terminal,
        remedy=message.remedy,
        log_lines=tuple(message.log_lines[-20:]),
    )


def cause_to_wire(cause: Cause | None) -> condition_pb2.Cause | None:
    """The deepest reason why something is not ready."""
    if cause is None:
        return None
    return condition_pb2.Cause(
        resource=cause.resource,
        reason=cause.reason,
        message=cause.message,
        since_time=stamp_of(cause.since_time) if cause.since_time is not None else None,
        terminal=cause.terminal,
        remedy=cause.remedy,
        log_lines=cause.log_lines,
    )


def condition_of(message: condition_pb2.Condition) -> Condition:
    """One observed fact."""
    return Condition(
        type=message.type,
        status=enum_of(
            Status, condition_pb2.Condition.Status, message.status, default=Status.UNKNOWN
        ),
        reason=message.reason,
        message=message.message,
        observed_revision=message.observed_revision,
        last_transition_time=(
            time_of(message.last_transition_time)
            if message.HasField("last_transition_time")
            else None
        ),
        terminal=message.terminal,
    )


def condition_to_wire(condition: Condition) -> condition_pb2.Condition:
    """One observed fact."""
    time = condition.last_transition_time
    return condition_pb2.Condition(
        type=condition.type,
        status=condition_pb2.Condition.Status.Value(condition.status.value),
        reason=condition.reason,
        message=condition.message,
        observed_revision=condition.observed_revision,
        last_transition_time=stamp_of(time) if time is not None else None,
        terminal=condition.terminal,
    )


def status_to_wire(cell: str, status: CellStatus) -> cell_pb2.Cell:
    """The output fields of a Cell."""
    return cell_pb2.Cell(
        name=cell,
        health=health_to_wire(status.health),
        conditions=[condition_to_wire(c) for c in status.conditions],
        cause=cause_to_wire(status.cause),
        data_planes=[_plane_status(p) for p in status.data_planes],
        components=_component_statuses(status.components),
    )


def _plane_status(status: PlaneStatus) -> cell_pb2.CellDataPlane:
    return cell_pb2.CellDataPlane(
        data_plane=status.data_plane,
        revision=status.revision,
        accepted_revision=status.accepted_revision,
        applied_revision=status.applied_revision,
        ready_revision=status.ready_revision,
        health=health_to_wire(status.health),
        conditions=[condition_to_wire(c) for c in status.conditions],
        cause=cause_to_wire(status.cause),
        components=_component_statuses(status.components),
    )


def _component_statuses(components: Iterable[ComponentStatus]) -> list[cell_pb2.CellComponent]:
    return [
        cell_pb2.CellComponent(
            component=c.component,
            release=c.release,
            health=health_to_wire(c.health),
            cause=cause_to_wire(c.cause),
            ready_replica_count=c.ready_replica_count,
            replica_count=c.replica_count,
        )
        for c in components
    ]


def lay_over(
    message: data_plane_pb2.DataPlane,
    entry: Entry,
    profile: DataPlaneProfile,
    cells: int,
    reserved: Amounts,
    observed: Iterable[Condition],
) -> None:
    """Fill in what agents say of a data plane."""
    message.state = data_plane_pb2.DataPlane.State.Value(entry.state.value)
    message.profile.CopyFrom(profile_to_wire(profile))
    message.cell_count = cells
    if entry.seen_time is not None:
        message.last_seen_time.CopyFrom(stamp_of(entry.seen_time))
    membership = entry.membership
    joined = Condition(
        type="Joined",
        status=Status.TRUE if membership is not None else Status.FALSE,
        reason="Joined" if membership is not None else "NotJoined",
        message="" if membership is not None else "no agent has joined: create a join grant",
        last_transition_time=membership.join_time if membership is not None else None,
    )
    connected = Condition(
        type="Connected",
        status=Status.TRUE if entry.connected else Status.FALSE,
        reason="Connected" if entry.connected else "NotConnected",
        message="" if entry.connected else "its agent has no stream now",
        last_transition_time=entry.since,
    )
    message.conditions.extend(condition_to_wire(c) for c in (joined, connected, *observed))
    if membership is None:
        return
    message.agent_version = membership.agent_version
    facts = membership.facts
    if facts is not None:
        message.kubernetes_version = facts.kubernetes_version
        message.capacity.CopyFrom(
            data_plane_pb2.Capacity(
                node_count=facts.node_count,
                allocatable_cpu_millis=facts.allocatable_cpu_millis,
                allocatable_memory_bytes=facts.allocatable_memory_bytes,
                requested_cpu_millis=facts.requested_cpu_millis,
                requested_memory_bytes=facts.requested_memory_bytes,
                resources=[
                    data_plane_pb2.ResourceCapacity(
                        resource=r.resource,
                        allocatable=r.allocatable,
                        others_requested=r.others_requested,
                        cells_requested=r.cells_requested,
                        reserved=reserved.get(r.resource, 0),
                    )
                    for r in facts.resources
                ],
            )
        )


def held_to_wire(held: HeldRemovals) -> data_plane_pb2.HeldRemovals:
    """Removals that wait."""
    return data_plane_pb2.HeldRemovals(
        object_count=held.objects, total_count=held.total, cells=held.cells, digest=held.digest
    )


def lay_held(message: data_plane_pb2.DataPlane, held: HeldRemovals | None) -> None:
    """Say which removals wait, if any do."""
    if held is None:
        return
    message.held_removals.CopyFrom(held_to_wire(held))
    waits = Condition(
        type="RemovalsConfirmed",
        status=Status.FALSE,
        reason="RemovalsHeld",
        message=f"{held.objects} of {held.total} objects are to be removed: confirm that it is "
        f"meant, with cellplane dataplane confirm-removal {message.name.rsplit('/', 1)[-1]}",
        last_transition_time=None,
    )
    message.conditions.append(condition_to_wire(waits))
