"""What is observed: conditions, health and causes.

``Health`` is total: whatever is not known to be terminal is progressing, never failed, and nothing
is ready before the revision that is wanted was seen ready.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class Status(Enum):
    """Whether a fact holds."""

    TRUE = "TRUE"
    FALSE = "FALSE"
    UNKNOWN = "UNKNOWN"


class Health(Enum):
    """How far something is. ``UNSPECIFIED`` is not known yet, or, in a delta, gone."""

    UNSPECIFIED = "UNSPECIFIED"
    READY = "READY"
    PROGRESSING = "PROGRESSING"
    FAILED = "FAILED"
    UNKNOWN = "UNKNOWN"
    SUSPENDED = "SUSPENDED"


_WORST_FIRST = (
    Health.FAILED,
    Health.UNKNOWN,
    Health.PROGRESSING,
    Health.UNSPECIFIED,
    Health.READY,
    Health.SUSPENDED,
)


def worst(healths: Iterable[Health]) -> Health:
    """Roll several up: the worst counts; none at all is ready."""
    found = set(healths)
    for health in _WORST_FIRST:
        if health in found:
            return Health.PROGRESSING if health is Health.UNSPECIFIED else health
    return Health.READY


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One observed fact; field names are those of the contract."""

    type: str
    status: Status
    reason: str
    message: str = ""
    observed_revision: int = 0
    last_transition_time: datetime | None = None
    terminal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """The deepest known reason why something is not ready."""

    resource: str
    reason: str
    message: str = ""
    since_time: datetime | None = None
    terminal: bool = False
    remedy: str = ""
    log_lines: tuple[str, ...] = ()
