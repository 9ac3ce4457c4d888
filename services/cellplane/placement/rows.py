"""Rows of placement's tables, as values and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from cellplane.cell.manifest import ObjectKey, Phase
from cellplane.cell.requirement import Spread
from cellplane.placement.link import messages
from cellplane.placement.records import Decided
from cellplane.placement.rollout.bundle import Held
from cellplane.placement.rollout.diff import BundleObject
from cellplane.placement.scheduler import trace
from cellplane.placement.scheduler.decide import Placed, Unplaceable
from cellplane.placement.scheduler.moves import Move, Step
from cellplane.placement.slots import Slot
from cellplane.placement.status.observed import Observed


def row_of(slot: Slot, held: Held, *, removed: bool) -> dict[str, Any]:
    """An object, or what is to be removed."""
    o = held.object
    return {
        "cell": slot.cell,
        "data_plane": slot.data_plane,
        "api_version": o.key.api_version,
        "kind": o.key.kind,
        "namespace": o.key.namespace,
        "object": o.key.object,
        "part": o.part,
        "phase": o.phase.value,
        "digest": o.digest,
        "revision": held.revision,
        "removed": removed,
    }


def held_of(row: sa.RowMapping) -> Held:
    """An object, or what is to be removed."""
    key = ObjectKey(
        api_version=row["api_version"],
        kind=row["kind"],
        namespace=row["namespace"],
        object=row["object"],
    )
    return Held(
        object=BundleObject(
            key=key, part=row["part"], phase=Phase(row["phase"]), digest=row["digest"]
        ),
        revision=row["revision"],
    )


def observed_of(row: sa.RowMapping) -> Observed:
    """What an agent said."""
    seen = Observed(
        accepted_revision=row["accepted_revision"],
        accepted_digest=row["accepted_digest"],
        applied_revision=row["applied_revision"],
        ready_revision=row["ready_revision"],
        rejected_revision=row["rejected_revision"],
        failed_revision=row["failed_revision"],
    )
    return messages.observed_of(seen, row["report"], row["failures"])


def decided_to_json(decided: Decided) -> dict[str, Any]:
    """A decision, for people who look into the database, too."""
    decision = decided.decision
    parked = isinstance(decision, Unplaceable)
    return {
        "reason": decision.reason if isinstance(decision, Unplaceable) else "",
        "fitting": decision.fitting_data_planes if isinstance(decision, Unplaceable) else (),
        "parked": parked,
        "data_planes": decision.data_planes,
        "copies": decision.copies,
        "shares": decision.shares,
        "trace": trace.to_json(decision.trace),
        "spreads": [_written(s) for s in decided.spreads],
        "decide_time": decided.decide_time.isoformat(),
        "reserved": {name: dict(amounts) for name, amounts in decided.reserved.items()},
        "moves": [_move(m) for m in decided.moves],
        "homes": dict(decided.homes),
        "preempts": decided.preempts,
    }


def decided_of(body: Mapping[str, Any]) -> Decided:
    """A decision."""
    planes, why = tuple(body["data_planes"]), trace.of_json(body["trace"])
    shares = tuple((c, tuple((p, n) for p, n in counts)) for c, counts in body.get("shares", ()))
    decision: Placed | Unplaceable = Placed(
        data_planes=planes, copies=body["copies"], trace=why, shares=shares
    )
    if body["parked"]:
        decision = Unplaceable(
            reason=body["reason"],
            data_planes=planes,
            fitting_data_planes=tuple(body["fitting"]),
            copies=body["copies"],
            trace=why,
            shares=shares,
        )
    return Decided(
        decision=decision,
        decide_time=datetime.fromisoformat(body["decide_time"]),
        spreads=tuple(Spread(**s) for s in body["spreads"]),
        reserved=body.get("reserved", {}),
        moves=tuple(_move_of(m) for m in body.get("moves", ())),
        homes=body.get("homes", {}),
        preempts=tuple((cell, plane) for cell, plane in body.get("preempts", ())),
    )


def _move(move: Move) -> dict[str, Any]:
    return {
        "cell": move.cell,
        "leaves": move.leaves,
        "comes": move.comes,
        "reason": move.reason,
        "step": move.step.value,
        "times": [(step.value, time) for step, time in move.times],
    }


def _move_of(body: Mapping[str, Any]) -> Move:
    return Move(
        cell=body["cell"],
        leaves=body["leaves"],
        comes=body["comes"],
        reason=body["reason"],
        step=Step(body["step"]),
        times=tuple((Step(step), time) for step, time in body["times"]),
    )


@lru_cache(maxsize=1024)
def _written(spread: Spread) -> Mapping[str, Any]:
    """A spread without what it does not say."""
    return {name: value for name, value in asdict(spread).items() if value}


def aware(time: datetime) -> datetime:
    """Some databases give times back without their zone."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
