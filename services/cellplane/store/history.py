"""What happened to a resource, the newest first: each change with the one before it.

It is read from the changes that the feed resumes from, so it is known for as long as they are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cellplane.store.database import Transaction
from cellplane.store.resources import ChangeType, Recorded, ResourceTables


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change, and what the resource was before it."""

    change: Recorded
    before: bytes | None
    """``None`` where there was nothing, or it is forgotten."""

    @property
    def is_truncated(self) -> bool:
        """Whether there was something that is forgotten."""
        return self.before is None and self.change.type is ChangeType.UPDATED


class History:
    """Reads changes by the resource that they are of."""

    def __init__(self, tables: ResourceTables) -> None:
        self._c = tables.changes

    async def events(
        self, tx: Transaction, name: str, *, recursive: bool, before: int | None, limit: int
    ) -> list[Event]:
        """Read a page: what is older than the sequence *before*, the newest first."""
        c = self._c
        mine: sa.ColumnElement[bool] = c.c.name == name
        if recursive:
            # "0" follows "/": what is below, and nothing that is named alike.
            mine = sa.or_(mine, sa.and_(c.c.name >= f"{name}/", c.c.name < f"{name}0"))
        query = self._select().where(mine)
        if before is not None:
            query = query.where(c.c.sequence < before)
        return await self._read(tx, query.order_by(c.c.sequence.desc()).limit(limit))

    async def named(self, tx: Transaction, keys: Sequence[tuple[str, int]]) -> list[Event]:
        """Read those of a thousand changes at most that are kept, by name and sequence."""
        wanted = set(keys)
        query = self._select().where(self._c.c.sequence.in_(sorted({n for _, n in wanted})))
        found = await self._read(tx, query)
        return [e for e in found if (e.change.name, e.change.sequence) in wanted]

    def _select(self) -> sa.Select[Any]:
        c, older = self._c, self._c.alias()
        last = (
            sa.select(sa.func.max(older.c.sequence))
            .where(older.c.name == c.c.name, older.c.sequence < c.c.sequence)
            .scalar_subquery()
        )
        return sa.select(c, last.label("last"))

    async def _read(self, tx: Transaction, query: sa.Select[Any]) -> list[Event]:
        c = self._c
        rows: Sequence[Any] = (await tx.execute(query)).all()
        wanted = {row.last for row in rows if row.last and row.type != ChangeType.CREATED.value}
        older: dict[int, Any] = {}
        if wanted:
            payloads = sa.select(c.c.sequence, c.c.payload).where(c.c.sequence.in_(wanted))
            older = {row.sequence: row.payload for row in (await tx.execute(payloads)).all()}
        return [
            Event(
                change=Recorded(
                    sequence=row.sequence,
                    type=ChangeType(row.type),
                    name=row.name,
                    kind=row.kind,
                    time=row.time,
                    actor=row.actor,
                    payload=row.payload,
                ),
                before=older.get(row.last),
            )
            for row in rows
        ]
