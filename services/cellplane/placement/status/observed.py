"""What an agent has said of one Cell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from cellplane.cell.condition import Cause, Health
from cellplane.cell.manifest import ObjectKey


class Outcome(Enum):
    """What became of one object; the values are those of the contract."""

    CREATED = "CREATED"
    CHANGED = "CHANGED"
    SAME = "SAME"
    REMOVED = "REMOVED"
    CONFLICT = "CONFLICT"
    FORBIDDEN = "FORBIDDEN"
    INVALID = "INVALID"
    FAILED = "FAILED"
    BLOCKED = "BLOCKED"
    KEPT = "KEPT"


DONE = frozenset({Outcome.CREATED, Outcome.CHANGED, Outcome.SAME, Outcome.REMOVED, Outcome.KEPT})
LASTING = frozenset({Outcome.CONFLICT, Outcome.FORBIDDEN, Outcome.INVALID})
"""Failures that only a change by a person or a tool can help; others are tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFailure:
    """An object that could not be stored or applied."""

    key: ObjectKey
    part: str
    outcome: Outcome
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentReport:
    """How a component is on one data plane."""

    component: str
    health: Health
    cause: Cause | None = None
    ready_replica_count: int = 0
    replica_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is known of a Cell on one data plane. Revisions are the bundle's."""

    accepted_revision: int = 0
    accepted_digest: str = ""
    applied_revision: int = 0
    ready_revision: int = 0
    report_revision: int = 0
    """The revision that ``health`` and ``components`` were seen at."""
    rejected_revision: int = 0
    failed_revision: int = 0
    failures: tuple[ObjectFailure, ...] = ()
    """Of the revision that was rejected, or failed to apply."""
    health: Health = Health.UNSPECIFIED
    cause: Cause | None = None
    components: tuple[ComponentReport, ...] = ()
