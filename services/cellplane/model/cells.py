"""A Cell as a user sees it: what is wanted, and what was last observed of it.

What was observed of an older revision says nothing about the wanted one: it is shown as progressing
until a report says otherwise. A Cell that cannot be resolved has failed, whatever still runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from cellplane.api.model.v1 import cell_pb2
from cellplane.api.type.v1 import condition_pb2, problem_pb2

RESOLVED = "Resolved"
COMPLIANT = "Compliant"
READY = "Ready"
_OWN = (RESOLVED, COMPLIANT)
"""What the model itself says of a Cell; all else is reported."""
_TRUE = condition_pb2.Condition.TRUE
_FALSE = condition_pb2.Condition.FALSE


def resolved_condition(
    before: cell_pb2.Cell | None,
    problems: Sequence[problem_pb2.Problem],
    revision: int,
    now: datetime,
) -> condition_pb2.Condition:
    """Whether every reference of the Cell is bound."""
    condition = condition_pb2.Condition(
        type=RESOLVED,
        status=_FALSE if problems else _TRUE,
        reason=_camel(problems[0].reason) if problems else "Resolved",
        message=_summary(problems) or "every reference is bound",
        observed_revision=revision,
        terminal=bool(problems),
    )
    return _since(before, condition, now)


def compliant_condition(
    before: cell_pb2.Cell | None,
    violations: Sequence[problem_pb2.Problem],
    revision: int,
    now: datetime,
) -> condition_pb2.Condition:
    """Whether the Cell keeps the rules of the platform; it runs on if not."""
    condition = condition_pb2.Condition(
        type=COMPLIANT,
        status=_FALSE if violations else _TRUE,
        reason=_camel(violations[0].reason) if violations else "Compliant",
        message=_summary(violations) or "every rule of the platform is kept",
        observed_revision=revision,
    )
    return _since(before, condition, now)


def _since(
    before: cell_pb2.Cell | None, condition: condition_pb2.Condition, now: datetime
) -> condition_pb2.Condition:
    seen = before.conditions if before else ()
    old = next((c for c in seen if c.type == condition.type), None)
    if old is not None and old.status == condition.status:
        condition.last_transition_time.CopyFrom(old.last_transition_time)
    else:
        condition.last_transition_time.FromDatetime(now)
    return condition


def _summary(problems: Sequence[problem_pb2.Problem]) -> str:
    if not problems:
        return ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{problems[0].resource}: {problems[0].field}: {problems[0].message}{more}"


def _camel(reason: str) -> str:
    return "".join(word.capitalize() for word in reason.split("_"))


def status_of(report: cell_pb2.Cell) -> cell_pb2.Cell:
    """What of a report is an observation; the rest is the model's own to say."""
    status = cell_pb2.Cell(
        health=report.health,
        conditions=[c for c in report.conditions if c.type not in _OWN],
        data_planes=report.data_planes,
        components=report.components,
    )
    if report.HasField("cause"):
        status.cause.CopyFrom(report.cause)
    return status


def view(wanted: cell_pb2.Cell, status: cell_pb2.Cell | None) -> cell_pb2.Cell:
    """Merge what is wanted and what was observed."""
    cell = cell_pb2.Cell()
    cell.CopyFrom(wanted)
    if status is not None:
        cell.conditions.extend(status.conditions)
        cell.data_planes.extend(status.data_planes)
        cell.components.extend(status.components)
    cell.health = _health(cell, status)
    if cell.problems:
        first = cell.problems[0]
        cell.cause.CopyFrom(
            condition_pb2.Cause(
                resource=first.resource,
                reason=_camel(first.reason),
                message=f"{first.field}: {first.message}",
                terminal=True,
            )
        )
        for condition in cell.conditions:
            if condition.type == RESOLVED:
                cell.cause.since_time.CopyFrom(condition.last_transition_time)
    elif status is not None and status.HasField("cause") and _is_current(cell):
        cell.cause.CopyFrom(status.cause)
    if not _is_current(cell):
        _doubt(cell)
    cell.reconciling = cell.health not in (
        condition_pb2.HEALTH_READY,
        condition_pb2.HEALTH_SUSPENDED,
    )
    return cell


def observed(cell: cell_pb2.Cell) -> int:
    """The revision that the last report is about; 0 if there was none."""
    seen = {c.type: c.observed_revision for c in cell.conditions if c.type not in _OWN}
    return seen.get(READY, max(seen.values(), default=0))


def _is_current(cell: cell_pb2.Cell) -> bool:
    return cell.revision > 0 and observed(cell) >= cell.revision


def _health(cell: cell_pb2.Cell, status: cell_pb2.Cell | None) -> condition_pb2.Health.ValueType:
    if cell.problems:
        return condition_pb2.HEALTH_FAILED
    if status is None or not _is_current(cell):
        return condition_pb2.HEALTH_PROGRESSING
    return status.health or condition_pb2.HEALTH_PROGRESSING


def _doubt(cell: cell_pb2.Cell) -> None:
    """Nothing is ready that was not seen ready at this revision."""
    ready = next((c for c in cell.conditions if c.type == READY), None)
    if ready is None:
        ready = cell.conditions.add(type=READY)
        ready.last_transition_time.CopyFrom(cell.update_time)
    if ready.status == _TRUE or not ready.reason:
        ready.status = condition_pb2.Condition.UNKNOWN
        ready.reason = "Progressing"
        ready.message = f"revision {cell.revision} was not seen ready yet"
    ready.terminal = False


def is_same_to_a_user(one: cell_pb2.Cell, other: cell_pb2.Cell) -> bool:
    """Tell whether two views differ in nothing but when they were written."""
    left, right = cell_pb2.Cell(), cell_pb2.Cell()
    left.CopyFrom(one)
    right.CopyFrom(other)
    for cell in (left, right):
        cell.ClearField("etag")
        cell.ClearField("update_time")
    return left == right
