"""What there was at one moment, read in pages long after it: for readers who take their time.

The frame is names and revisions alone, taken at that moment. Each page is then filled from the
resources that are still at their revision and, for the others, from the changes, whose sequence is
that revision. So no transaction waits for a reader, and the picture is whole nevertheless.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import sqlalchemy as sa

from cellplane.cell.problem import ResourceExhausted
from cellplane.store.database import Transaction
from cellplane.store.resources import ResourceTables

Frame: TypeAlias = Sequence[tuple[str, int]]
"""Names and revisions, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A resource as it was at the moment of the picture."""

    name: str
    kind: str
    revision: int
    time: datetime
    payload: bytes


class Picture:
    """Reads pictures of the resources."""

    def __init__(self, tables: ResourceTables) -> None:
        self._t = tables.resources
        self._changes = tables.changes

    async def frame(self, tx: Transaction, parent: str, kinds: Sequence[str]) -> Frame:
        """Read what is at or below *parent*; all there is if it is empty."""
        t = self._t
        query = sa.select(t.c.name, t.c.revision).order_by(t.c.name)
        if parent:
            # "0" follows "/": a range, so that the index serves it.
            inside = sa.and_(t.c.name >= f"{parent}/", t.c.name < f"{parent}0")
            query = query.where(sa.or_(t.c.name == parent, inside))
        if kinds:
            query = query.where(t.c.kind.in_(kinds))
        return [(row.name, row.revision) for row in (await tx.execute(query)).all()]

    async def fill(self, tx: Transaction, frame: Frame) -> list[Seen]:
        """Read a part of a frame as it was.

        Raises:
            ResourceExhausted: what it was is forgotten meanwhile.
        """
        t, c = self._t, self._changes
        wanted = dict(frame)
        now = sa.select(t.c.name, t.c.kind, t.c.revision, t.c.update_time, t.c.payload)
        found = {
            row.name: Seen(
                name=row.name,
                kind=row.kind,
                revision=row.revision,
                time=row.update_time,
                payload=row.payload,
            )
            for row in (await tx.execute(now.where(t.c.name.in_(wanted)))).all()
            if row.revision == wanted[row.name]
        }
        if moved := [revision for name, revision in frame if name not in found]:
            then = sa.select(c.c.name, c.c.kind, c.c.sequence, c.c.time, c.c.payload)
            for row in (await tx.execute(then.where(c.c.sequence.in_(moved)))).all():
                found[row.name] = Seen(
                    name=row.name,
                    kind=row.kind,
                    revision=row.sequence,
                    time=row.time,
                    payload=row.payload,
                )
        if len(found) < len(wanted):
            raise ResourceExhausted(
                "the reader took so long that the picture is forgotten: start anew",
                reason="WATCHER_TOO_SLOW",
            )
        return [found[name] for name, _ in frame]

    async def knows(self, tx: Transaction, sequence: int) -> bool:
        """Tell whether a change of that number is kept."""
        c = self._changes.c.sequence
        return (await tx.execute(sa.select(c).where(c == sequence))).one_or_none() is not None
