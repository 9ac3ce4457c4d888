"""From one report of a Cell's health to the next: what is known now, and what happened.

An event tells of a change of health. An object that is ready when it is first seen is no news; one
that is gone is. The same report twice tells nothing the second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from cellplane.cell.condition import Health


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectHealth:
    """The health of one object in a cluster; field names are those of the contract."""

    component: str
    kind: str
    object: str
    owner: str = ""
    health: Health = Health.UNSPECIFIED
    reason: str = ""
    message: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Which object it is, inside of its Cell on one data plane."""
        return self.kind, self.object


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPlaneHealth:
    """The objects of a Cell on one data plane; in a delta, those that changed."""

    data_plane: str
    revision: int
    report_time: datetime | None = None
    objects: tuple[ObjectHealth, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a Cell."""

    name: str = ""
    event_time: datetime | None = None
    data_plane: str = ""
    component: str = ""
    object: str = ""
    previous_health: Health = Health.UNSPECIFIED
    health: Health = Health.UNSPECIFIED
    reason: str = ""
    message: str = ""


Known = Mapping[tuple[str, str], ObjectHealth]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What a report changes."""

    changed: tuple[ObjectHealth, ...]
    gone: tuple[ObjectHealth, ...]
    events: tuple[Event, ...]


def transition(known: Known, report: DataPlaneHealth, *, delta: bool, now: datetime) -> Transition:
    """Compare a report with what is known; without *delta*, what it does not name is gone."""
    named = {o.key: o for o in report.objects}
    there = {key: o for key, o in named.items() if o.health is not Health.UNSPECIFIED}
    kept = known.keys() - named.keys() if delta else frozenset[tuple[str, str]]()
    changed = tuple(there[key] for key in sorted(there) if known.get(key) != there[key])
    gone = tuple(known[key] for key in sorted(known.keys() - there.keys() - kept))
    events = [*_changes(known, changed, report.data_plane, now)]
    events.extend(
        _event(was, report.data_plane, now, was.health, Health.UNSPECIFIED, "Gone", "")
        for was in gone
    )
    return Transition(changed=changed, gone=gone, events=tuple(events))


def removal(known: Known, data_plane: str, now: datetime) -> Transition:
    """All is gone, which is one event."""
    event = Event(
        event_time=now,
        data_plane=data_plane,
        reason="Removed",
        message=f"the cell was removed from data plane {data_plane}",
    )
    gone = tuple(known[key] for key in sorted(known))
    return Transition(changed=(), gone=gone, events=(event,))


def _changes(
    known: Known, changed: Iterable[ObjectHealth], data_plane: str, now: datetime
) -> Iterable[Event]:
    for is_now in changed:
        was = known.get(is_now.key)
        before = Health.UNSPECIFIED if was is None else was.health
        if before is is_now.health or (was is None and is_now.health is Health.READY):
            continue
        yield _event(is_now, data_plane, now, before, is_now.health, is_now.reason, is_now.message)


def _event(
    of: ObjectHealth,
    data_plane: str,
    now: datetime,
    before: Health,
    health: Health,
    reason: str,
    message: str,
) -> Event:
    return Event(
        event_time=now,
        data_plane=data_plane,
        component=of.component,
        object=f"{of.kind}/{of.object}",
        previous_health=before,
        health=health,
        reason=reason,
        message=message,
    )
