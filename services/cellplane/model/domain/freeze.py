"""When an environment is frozen, and until when.

A schedule is cron's, by the clock of its place. A time that a change of clocks skips begins where
the clock before it would have been; one that comes twice begins the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from cellplane.model.domain.gate import FreezeSchedule, FreezeWindow
from cellplane.model.domain.schedule import Times, times_of

_SPANS = 64
"""Windows that may follow each other without a gap before nobody asks for the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """An environment at a moment at which it is frozen."""

    window: FreezeWindow
    until: datetime | None
    """When no window holds any more; ``None`` where that is not in sight."""

    @property
    def message(self) -> str:
        """Why, and until when."""
        why = f" ({self.window.reason})" if self.window.reason else ""
        end = f"until {self.until:%Y-%m-%d %H:%M:%S} UTC" if self.until else "until it is removed"
        return f'freeze window "{self.window.window}"{why} holds {end}'


def frozen(
    windows: Sequence[FreezeWindow], now: datetime, zone: Callable[[str], tzinfo]
) -> Frozen | None:
    """The window that holds at *now*, if one does; the end is that of all that follow on it."""
    first: FreezeWindow | None = None
    at = now
    for _ in range(_SPANS):
        found = [(w, end) for w in windows for start, end in _around(w, at, zone) if start <= at]
        if not found:
            return Frozen(window=first, until=at) if first else None
        window, end = max(found, key=lambda one: (one[1] is None, one[1] or at))
        first = first or window
        if end is None:
            break
        at = end
    return Frozen(window=first, until=None) if first else None


def _around(
    window: FreezeWindow, at: datetime, zone: Callable[[str], tzinfo]
) -> Iterator[tuple[datetime, datetime | None]]:
    """Spans of a window that are not over at a moment, and may have begun."""
    if window.range is not None:
        start, end = window.range.start_time, window.range.end_time
        if end is None or end > at:
            yield start or datetime.min.replace(tzinfo=UTC), end
    if window.schedule is not None:
        for start in _starts(window.schedule, at, zone(window.schedule.time_zone or "UTC")):
            if start + window.schedule.duration > at:
                yield start, start + window.schedule.duration


def _starts(schedule: FreezeSchedule, at: datetime, place: tzinfo) -> Iterator[datetime]:
    """Beginnings in the stretch before a moment that is as long as the window."""
    times: Times = times_of(schedule.cron)
    first = (at - schedule.duration).astimezone(place).date() - timedelta(days=1)
    last = at.astimezone(place).date() + timedelta(days=1)
    day = first
    while day <= last:
        if times.on(day):
            for hour in times.hours:
                for minute in times.minutes:
                    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=place)
                    start = local.astimezone(UTC)
                    if at - schedule.duration < start <= at:
                        yield start
        day += timedelta(days=1)
