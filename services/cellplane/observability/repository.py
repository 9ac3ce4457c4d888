"""Health and events as they are stored; a report is noted whole, in one transaction.

At most ``RETENTION`` events of a Cell are kept, the newest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from cellplane.cell.condition import Health
from cellplane.observability.analysis.transitions import (
    DataPlaneHealth,
    Event,
    ObjectHealth,
    removal,
    transition,
)
from cellplane.observability.tables import EVENTS, OBJECTS, PLANES
from cellplane.store.database import Database, Transaction

RETENTION: Final = 1000
_Cursor = tuple[datetime, int]


class Repository:
    """Reads and notes the health of Cells."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def health(self, cell: str) -> tuple[DataPlaneHealth, ...]:
        """The health of a Cell on each data plane that it is on, or was, by id."""
        async with self._database.snapshot() as tx:
            planes = (await tx.execute(sa.select(PLANES).where(PLANES.c.cell == cell))).all()
            query = sa.select(OBJECTS).where(OBJECTS.c.cell == cell)
            rows = (await tx.execute(query)).all()
        found: dict[str, list[ObjectHealth]] = {}
        for row in rows:
            found.setdefault(row.data_plane, []).append(_object(row))
        return tuple(
            DataPlaneHealth(
                data_plane=plane.data_plane,
                revision=plane.revision,
                report_time=plane.report_time,
                objects=tuple(sorted(found.get(plane.data_plane, ()), key=_reading_order)),
            )
            for plane in sorted(planes, key=lambda plane: str(plane.data_plane))
        )

    async def note(
        self,
        cell: str,
        report: DataPlaneHealth,
        events: Sequence[Event],
        *,
        delta: bool,
        removed: bool,
        now: datetime,
    ) -> None:
        """Note a report of one data plane, and the events that follow from it or came with it."""
        async with self._database.transaction() as tx:
            plane = await _plane(tx, cell, report.data_plane)
            known = await _known(tx, cell, report.data_plane)
            if removed:
                change = removal(known, report.data_plane, now)
            else:
                change = transition(known, report, delta=delta, now=now)
            await _forget(tx, cell, report.data_plane, [*change.gone, *change.changed])
            await _write(tx, cell, report.data_plane, change.changed)
            values = {"revision": report.revision, "report_time": now, "removed": removed}
            await _note_plane(tx, cell, report.data_plane, values, exists=plane is not None)
            # A report of a removal that is sent again tells nothing new.
            said_before = removed and (plane is None or plane.removed)
            happened = [] if said_before else list(change.events)
            await _record(tx, cell, [*happened, *await _unheard(tx, cell, events, report, now)])

    async def event(self, cell: str, sequence: int) -> Event | None:
        """One event of a Cell, by its number."""
        query = sa.select(EVENTS).where(EVENTS.c.cell == cell, EVENTS.c.sequence == sequence)
        async with self._database.snapshot() as tx:
            row = (await tx.execute(query)).one_or_none()
        return None if row is None else _event(row)

    async def events(
        self, cell: str, *, limit: int, before: _Cursor | None = None
    ) -> Sequence[tuple[Event, _Cursor]]:
        """Events of a Cell, newest first, each with the cursor behind it."""
        query = sa.select(EVENTS).where(EVENTS.c.cell == cell)
        if before is not None:
            time, sequence = before
            older = sa.and_(EVENTS.c.event_time == time, EVENTS.c.sequence < sequence)
            query = query.where(sa.or_(EVENTS.c.event_time < time, older))
        query = query.order_by(EVENTS.c.event_time.desc(), EVENTS.c.sequence.desc()).limit(limit)
        async with self._database.snapshot() as tx:
            rows = (await tx.execute(query)).all()
        return [(_event(row), (row.event_time, row.sequence)) for row in rows]


async def _plane(tx: Transaction, cell: str, data_plane: str) -> Any:
    query = sa.select(PLANES).where(PLANES.c.cell == cell, PLANES.c.data_plane == data_plane)
    return (await tx.execute(query)).one_or_none()


async def _known(
    tx: Transaction, cell: str, data_plane: str
) -> dict[tuple[str, str], ObjectHealth]:
    query = sa.select(OBJECTS).where(OBJECTS.c.cell == cell, OBJECTS.c.data_plane == data_plane)
    found = [_object(row) for row in (await tx.execute(query)).all()]
    return {o.key: o for o in found}


async def _forget(
    tx: Transaction, cell: str, data_plane: str, objects: Sequence[ObjectHealth]
) -> None:
    if not objects:
        return
    statement = sa.delete(OBJECTS).where(
        OBJECTS.c.cell == cell,
        OBJECTS.c.data_plane == data_plane,
        OBJECTS.c.kind == sa.bindparam("of_kind"),
        OBJECTS.c.object == sa.bindparam("of_object"),
    )
    await tx.execute(statement, [{"of_kind": o.kind, "of_object": o.object} for o in objects])


async def _write(
    tx: Transaction, cell: str, data_plane: str, objects: Iterable[ObjectHealth]
) -> None:
    rows = [
        {
            "cell": cell,
            "data_plane": data_plane,
            "kind": o.kind,
            "object": o.object,
            "component": o.component,
            "owner": o.owner,
            "health": o.health.value,
            "reason": o.reason,
            "message": o.message,
        }
        for o in objects
    ]
    if rows:
        await tx.execute(sa.insert(OBJECTS), rows)


async def _note_plane(
    tx: Transaction, cell: str, data_plane: str, values: dict[str, Any], *, exists: bool
) -> None:
    if exists:
        statement: sa.Executable = (
            sa.update(PLANES)
            .where(PLANES.c.cell == cell, PLANES.c.data_plane == data_plane)
            .values(**values)
        )
    else:
        statement = sa.insert(PLANES).values(cell=cell, data_plane=data_plane, **values)
    await tx.execute(statement)


async def _unheard(
    tx: Transaction, cell: str, events: Sequence[Event], report: DataPlaneHealth, now: datetime
) -> list[Event]:
    """Those of the given events that are not noted yet: a report may be sent again."""
    fresh: list[Event] = []
    for event in events:
        row = _row(cell, event, data_plane=report.data_plane, now=now)
        same = [EVENTS.c[key] == value for key, value in row.items()]
        found = (await tx.execute(sa.select(EVENTS.c.sequence).where(*same).limit(1))).first()
        if found is None or event.event_time is None:
            fresh.append(_with_plane(event, report.data_plane, now))
    return fresh


def _with_plane(event: Event, data_plane: str, now: datetime) -> Event:
    return replace(
        event,
        event_time=event.event_time or now,
        data_plane=event.data_plane or data_plane,
    )


async def _record(tx: Transaction, cell: str, events: Sequence[Event]) -> None:
    if not events:
        return
    rows = [
        _row(cell, event, data_plane=event.data_plane, now=event.event_time) for event in events
    ]
    await tx.execute(sa.insert(EVENTS), rows)
    last = (
        sa.select(EVENTS.c.event_time, EVENTS.c.sequence)
        .where(EVENTS.c.cell == cell)
        .order_by(EVENTS.c.event_time.desc(), EVENTS.c.sequence.desc())
        .offset(RETENTION - 1)
        .limit(1)
    )
    kept = (await tx.execute(last)).one_or_none()
    if kept is not None:
        older = sa.and_(EVENTS.c.event_time == kept.event_time, EVENTS.c.sequence < kept.sequence)
        await tx.execute(
            sa.delete(EVENTS).where(
                EVENTS.c.cell == cell, sa.or_(EVENTS.c.event_time < kept.event_time, older)
            )
        )


def _row(cell: str, event: Event, *, data_plane: str, now: datetime | None) -> dict[str, Any]:
    return {
        "cell": cell,
        "event_time": event.event_time or now,
        "data_plane": event.data_plane or data_plane,
        "component": event.component,
        "object": event.object,
        "previous_health": event.previous_health.value,
        "health": event.health.value,
        "reason": event.reason,
        "message": event.message,
    }


def _object(row: Any) -> ObjectHealth:
    return ObjectHealth(
        component=row.component,
        kind=row.kind,
        object=row.object,
        owner=row.owner,
        health=Health(row.health),
        reason=row.reason,
        message=row.message,
    )


def _event(row: Any) -> Event:
    return Event(
        name=f"{row.cell}/events/e{row.sequence}",
        event_time=row.event_time,
        data_plane=row.data_plane,
        component=row.component,
        object=row.object,
        previous_health=Health(row.previous_health),
        health=Health(row.health),
        reason=row.reason,
        message=row.message,
    )


def _reading_order(of: ObjectHealth) -> tuple[str, str, str]:
    return of.component, of.kind, of.object
