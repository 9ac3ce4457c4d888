"""The stored resources of one collection, as a source of lists."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from google.protobuf.message import Message

from cellplane.resource import names
from cellplane.resource.fields import is_output
from cellplane.resource.filter import sql
from cellplane.resource.filter.bind import Path
from cellplane.resource.lists import Query
from cellplane.rpc.pagination import Cursor
from cellplane.store.database import Database, Transaction
from cellplane.store.listing import Sort, read_page
from cellplane.store.resources import Resources, Stored

_COLUMNS: Final = ("name", "uid", "create_time", "update_time")
"""Fields of every resource that have a column; none of them is ever empty."""


def computed_fields(message: type[Message]) -> frozenset[str]:
    """What may be filled in when a resource is read: whatever only the server writes."""
    descriptor: Any = message.DESCRIPTOR
    return frozenset(field.name for field in descriptor.fields if is_output(field))


class StoredSource:
    """Reads by name, or in the order asked for where columns have it."""

    def __init__(
        self,
        *,
        tx: Transaction,
        database: Database,
        resources: Resources,
        collection: names.Collection,
        parent: str,
        query: Query,
        view: Callable[[Sequence[Stored]], Awaitable[Sequence[Any]]],
        computed: Collection[str],
    ) -> None:
        """``view(rows)`` makes the messages that are answered; it fills in what is *computed*."""
        self._tx = tx
        self._resources = resources
        self._kind = collection.kind
        self._parent = parent
        self._view = view
        row = sql.Row(
            columns=self._column,
            payload=resources.tables.resources.c.payload,
            stored=lambda path: path[0].field.name not in computed,
            dialect=database.dialect,
        )
        found = sql.condition(query.filter, row)
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
