"""Cron's five fields, as Kubernetes reads them (robfig/cron's standard parser)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

_MONTHS: Final = {
    "jan": 1,
    "feb": 2,
    "mar": 3,
    "apr": 4,
    "may": 5,
    "jun": 6,
    "jul": 7,
    "aug": 8,
    "sep": 9,
    "oct": 10,
    "nov": 11,
    "dec": 12,
}
_DAYS: Final = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_FIELDS: Final[tuple[tuple[str, int, int, Mapping[str, int]], ...]] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("weekday", 0, 6, _DAYS),
)
_LONG: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_PART: Final = re.compile(r"(\*|\?|[a-z0-9]+)(?:-([a-z0-9]+))?(?:/([0-9]+))?")


def problem_of(cron: str) -> str:
    """What is wrong with a schedule, with the way out; empty if nothing."""
    if cron in _LONG:
        return ""
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        return f"has {len(fields)} fields instead of 5: write minute, hour, day, month and weekday"
    for text, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        for part in text.lower().split(","):
            wrong = _part_problem(part, low, high, names)
            if wrong:
                return f'has a bad {name} "{text}": {wrong}'
    return ""


def _part_problem(part: str, low: int, high: int, names: Mapping[str, int]) -> str:
    match = _PART.fullmatch(part)
    if match is None:
        return f"write *, a number from {low} to {high}, a range a-b, or a step */n"
    first, last, step = match.groups()
    if step is not None and int(step) == 0:
        return "a step is at least 1"
    if first in "*?":
        return "" if last is None else "a range starts with a number"
    numbers = [_number(text, names) for text in (first, last) if text is not None]
    if any(number is None or not low <= number <= high for number in numbers):
        return f"give numbers from {low} to {high}"
    start, end = numbers[0], numbers[-1]
    if start is not None and end is not None and start > end:
        return "a range goes upwards"
    return ""


def _number(text: str, names: Mapping[str, int]) -> int | None:
    return int(text) if text.isdigit() else names.get(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """A schedule, written out."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """Sunday is 0."""
    any_day: bool
    any_weekday: bool

    def on(self, day: date) -> bool:
        """Whether it falls on a day: where both the day and the weekday are said, either does."""
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return by_day and by_weekday
        return by_day or by_weekday


def times_of(cron: str) -> Times:
    """Write out a schedule that ``problem_of`` finds nothing wrong with."""
    fields = _LONG.get(cron, cron).lower().split()
    sets = [
        frozenset(
            number for part in text.split(",") for number in _numbers_of(part, low, high, names)
        )
        for text, (_, low, high, names) in zip(fields, _FIELDS, strict=True)
    ]
    return Times(
        minutes=tuple(sorted(sets[0])),
        hours=tuple(sorted(sets[1])),
        days=sets[2],
        months=sets[3],
        weekdays=sets[4],
        any_day=fields[2] in {"*", "?"},
        any_weekday=fields[4] in {"*", "?"},
    )


def _numbers_of(part: str, low: int, high: int, names: Mapping[str, int]) -> range:
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError(f'"{part}" is no part of a schedule')
    first, last, step = match.groups()
    if first in "*?":
        return range(low, high + 1, int(step or 1))
    start = _number(first, names) or 0
    end = start if last is None and step is None else high
    if last is not None:
        end = _number(last, names) or 0
    return range(start, end + 1, int(step or 1))
