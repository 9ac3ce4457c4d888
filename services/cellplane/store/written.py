"""How a resource is written: its change first, whose sequence is the resource's revision.

PostgreSQL does both in one statement, for each costs a round trip; SQLite has no such statements,
and needs none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from cellplane.store.database import Transaction
from cellplane.store.prepared import Prepared

if TYPE_CHECKING:
    from cellplane.store.resources import ResourceTables


class Writing:
    """Writes rows and their changes; *row* has the columns of both."""

    def __init__(self, tables: ResourceTables) -> None:
        t, c = tables.resources, tables.changes
        own, told = _bound(t.c, without="revision"), _bound(c.c, without="sequence")
        is_there = sa.exists(sa.select(t.c.name).where(t.c.name == sa.bindparam("name")))
        if_new = (
            sa.insert(c).from_select(list(told), sa.select(*told.values()).where(~is_there))
        ).returning(c.c.sequence)
        tell = sa.insert(c).values(told).returning(c.c.sequence)
        here = (t.c.name == sa.bindparam("name"), t.c.revision == sa.bindparam("at"))
        said = {name: value for name, value in own.items() if name != "name"}
        revision = sa.bindparam("revision", type_=t.c.revision.type)

        self.tell = Prepared(tell)
        self._tell_if_new = Prepared(if_new)
        self._insert = Prepared(sa.insert(t).values({**own, "revision": revision}))
        self._update = Prepared(sa.update(t).where(*here).values({**said, "revision": revision}))
        made, new = tell.cte("made"), if_new.cte("made")
        self._create_at_once = Prepared(
            sa.insert(t)
            .from_select([*own, "revision"], sa.select(*own.values(), new.c.sequence))
            .returning(t.c.revision)
        )
        self._replace_at_once = Prepared(
            sa.update(t)
            .where(*here)
            .values({**said, "revision": sa.select(made.c.sequence).scalar_subquery()})
            .returning(t.c.revision)
        )

    async def create(self, tx: Transaction, row: Mapping[str, Any]) -> int | None:
        """Write one that must not be there; answers its revision, or nothing if it is."""
        if tx.dialect == "postgresql":
            found = await tx.fetch(self._create_at_once, row)
            return found[0].revision if found else None
        told = await tx.fetch(self._tell_if_new, row)
        if not told:
            return None
        revision: int = told[0].sequence
        await tx.change(self._insert, {**row, "revision": revision})
        return revision

    async def replace(self, tx: Transaction, row: Mapping[str, Any], at: int) -> int | None:
        """Write one that must be at a revision; answers its new one, or nothing if it is not."""
        if tx.dialect == "postgresql":
            found = await tx.fetch(self._replace_at_once, {**row, "at": at})
            return found[0].revision if found else None
        revision: int = (await tx.fetch(self.tell, row))[0].sequence
        done = await tx.change(self._update, {**row, "at": at, "revision": revision})
        return revision if done else None


def _bound(columns: Iterable[sa.Column[Any]], *, without: str) -> dict[str, Any]:
    return {c.name: sa.bindparam(c.name, type_=c.type) for c in columns if c.name != without}
