"""The stored resources of one collection, as a source of lists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from cellplane.resource.filter import sql
from cellplane.resource.filter.bind import Path
from cellplane.resource.lists import Query
from cellplane.resource.names import Collection
from cellplane.rpc.pagination import Cursor
from cellplane.store.database import Database, Transaction
from cellplane.store.listing import Sort, read_page
from cellplane.store.resources import Resources, Stored

_COLUMNS: Final = ("name", "uid", "create_time", "update_time")
"""Fields of every resource that have a column; none of them is ever empty."""


class StoredSource:
    """Reads by name, or in the order asked for where columns have it."""

    def __init__(
        self,
        *,
        tx: Transaction,
        database: Database,
        resources: Resources,
        collection: Collection,
        parent: str,
        query: Query,
        view: Callable[[Sequence[Stored]], Awaitable[Sequence[Any]]],
    ) -> None:
        """``view(rows)`` makes the messages that are answered."""
        self._tx = tx
        self._resources = resources
        self._kind = collection.kind
        self._parent = parent
        self._view = view
        found = sql.condition(query.filter, self._column, database.dialect)
        self._where = None if found is None else found.clause
        columns = [(self._column(term.path), term) for term in query.order]
        self.ordered = all(column is not None for column, _ in columns)
        self._terms = [term for _, term in columns] if self.ordered else []
        self._sort: Sort = tuple(
            (column, term.descending) for column, term in columns if column is not None
        )
        if not self.ordered:
            self._sort = ()

    async def read(self, after: Cursor, limit: int) -> Sequence[tuple[Cursor, Any]]:
        """Read a stretch."""
        rows = await read_page(
            self._tx,
            self._resources,
            kind=self._kind,
            parent=self._parent,
            where=self._where,
            sort=self._sort,
            after=self._values(after),
            limit=limit,
        )
        messages = await self._view(rows)
        return [(self._cursor(row), message) for row, message in zip(rows, messages, strict=True)]

    def _column(self, path: Path) -> sa.ColumnElement[Any] | None:
        name = path[0].field.name
        if len(path) > 1 or name not in _COLUMNS:
            return None
        return self._resources.tables.resources.c[name]

    def _cursor(self, row: Stored) -> Cursor:
        values = (getattr(row, term.path[0].field.name) for term in self._terms)
        return (*(v if isinstance(v, str) else v.isoformat() for v in values), row.name)

    def _values(self, cursor: Cursor) -> Sequence[Any]:
        if not cursor:
            return ()
        return [
            datetime.fromisoformat(str(value))
            if isinstance(column.type, sa.TypeDecorator)
            else value
            for (column, _), value in zip(self._sort, cursor[:-1], strict=True)
        ] + [cursor[-1]]
