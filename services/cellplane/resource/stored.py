"""The stored resources of one collection, as a source of lists.

What is asked for of what is stored is asked of SQL, and so is the order. What is filled in when a
resource is read is asked of messages, which then come by name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Final

import sqlalchemy as sa
from google.protobuf.message import Message

from cellplane.resource import names
from cellplane.resource.fields import is_output
from cellplane.resource.filter import sql
from cellplane.resource.filter.asked import Asked
from cellplane.resource.filter.bind import Path
from cellplane.resource.filter.sql import to_column
from cellplane.resource.lists import Query
from cellplane.resource.ordering import Term, key_of
from cellplane.rpc.pagination import Cursor, refused
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
    """Reads by name, or in the order asked for where what is stored has it."""

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
        t = resources.tables.resources
        row = sql.Row(
            columns=self._column,
            document=Asked(
                name=t.c.name, fields=t.c.fields, lists=t.c.lists, dialect=database.dialect
            ),
            stored=lambda path: path[0].field.name not in computed,
        )
        found = sql.where(query.filter, row)
        self.exact = found is not None and found.exact
        self._where = None if found is None else found.clause
        self._document = row.document
        values = [row.value(term.path) for term in query.order]
        self.ordered = all(value is not None for value in values)
        self._order = query.order if self.ordered else ()
        self._sort: Sort = tuple(
            (value, term.descending)
            for value, term in zip(values, self._order, strict=False)
            if value is not None
        )

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
        return [(key_of(message, self._order), message) for message in await self._view(rows)]

    def _column(self, path: Path) -> sa.ColumnElement[Any] | None:
        name = path[0].field.name
        if len(path) > 1 or name not in _COLUMNS:
            return None
        return self._resources.tables.resources.c[name]

    def _values(self, cursor: Cursor) -> Sequence[Any]:
        if not cursor:
            return ()
        if len(cursor) != 2 * len(self._order) + 1:
            raise refused()
        keys = zip(self._order, cursor[:-1:2], cursor[1:-1:2], strict=True)
        return [
            *(self._value(term, value) if has else None for term, has, value in keys),
            cursor[-1],
        ]

    def _value(self, term: Term, value: str | int | float) -> Any:
        column = self._column(term.path)
        if column is None:
            return self._document.literal(value)
        return (
            to_column(term.path, value)[0] if isinstance(column.type, sa.TypeDecorator) else value
        )
