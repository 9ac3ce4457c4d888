"""Decisions, from the domain to the wire."""

from __future__ import annotations

from datetime import UTC, datetime

from cellplane.api.placement.v1 import decision_pb2
from cellplane.placement.convert import stamp_of
from cellplane.placement.records import Decided


def decision_to_wire(cell: str, decided: Decided) -> decision_pb2.Decision:
    """Where a Cell is, and why."""
    decision = decided.decision
    return decision_pb2.Decision(
        name=f"{cell}/decision",
        data_planes=decision.data_planes,
        copy_count=decision.copies,
        summary=decision.trace.summary,
        rejections=[
            decision_pb2.Rejection(data_plane=r.data_plane, reason=r.reason, message=r.message)
            for r in decision.trace.rejections
        ],
        candidates=[
            decision_pb2.Candidate(
                data_plane=c.data_plane,
                chosen=c.chosen,
                scores=[decision_pb2.Score(score=name, value=value) for name, value in c.scores],
            )
            for c in decision.trace.candidates
        ],
        decide_time=stamp_of(decided.decide_time),
        rule_counts=[
            decision_pb2.RuleCount(rule=rule, data_plane_count=count)
            for rule, count in decision.trace.rules
        ],
        slack_count=decision.trace.slack,
        avoided_move_count=decision.trace.moves_avoided,
        shares=[
            decision_pb2.ReplicaShare(component=component, data_plane=plane, replica_count=count)
            for component, counts in decision.shares
            for plane, count in counts
        ],
        moves=[
            decision_pb2.Move(
                old_data_plane=move.leaves,
                new_data_plane=move.comes,
                reason=move.reason,
                step=decision_pb2.Move.Step.Value(move.step.value),
                step_time=stamp_of(datetime.fromtimestamp(move.times[-1][1], UTC)),
            )
            for move in decided.moves
        ],
        preemptions=[
            decision_pb2.Preemption(cell=victim, data_plane=plane)
            for victim, plane in decided.preempts
        ],
    )
