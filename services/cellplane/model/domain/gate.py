"""What stands between a release and an environment, as it is written; field names as on the wire.

A pipeline's gates come before the deployment, its verification after it, and an environment's
freezes at any time. How a promotion stands at each is ``gates``'; when it is frozen, ``freeze``'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalGate:
    """Members of a role approve."""

    role: str
    approvals: int = 0
    """0 is 1."""
    allow_requester: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthGate:
    """The releases are healthy in the source environment."""

    soak: timedelta | None = None
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckGate:
    """Somebody outside reports."""

    description: str = ""
    role: str = ""
    timeout: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One gate of a path; exactly one of the last three is set."""

    gate: str
    target_environments: tuple[str, ...] = ()
    approval: ApprovalGate | None = None
    health: HealthGate | None = None
    check: CheckGate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What releases have to show where they went."""

    soak: timedelta | None = None
    window: timedelta | None = None
    keep_failed: bool = False

    @property
    def length(self) -> timedelta:
        """When it is over, from the deployment on."""
        return self.window or (self.soak or timedelta()) + timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRole:
    """Who acts at gates."""

    role: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeRange:
    """From one moment to another; an end that is not set is never."""

    start_time: datetime | None = None
    end_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeSchedule:
    """Again and again, by the clock of a place."""

    cron: str
    duration: timedelta
    time_zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeWindow:
    """A time without changes; exactly one of the last two is set."""

    window: str
    reason: str = ""
    range: FreezeRange | None = None
    schedule: FreezeSchedule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRetention:
    """Which releases of a component are kept, beside those that are in use."""

    keep_last: int
    keep_duration: timedelta | None = None
