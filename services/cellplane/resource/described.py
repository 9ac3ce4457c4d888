"""Documents for resources that were stored before there were any: a step of a migration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa
from google.protobuf.message import Message

from cellplane.resource.filter.document import document_of
from cellplane.store.resources import ResourceTables
from cellplane.store.types import Json

_STRETCH: Final = 500


def columns() -> tuple[sa.Column[object], ...]:
    """The columns of documents, for a migration to add."""
    return sa.Column("fields", Json), sa.Column("lists", Json)


def describe_all(connection: sa.Connection, messages: Mapping[str, type[Message]]) -> None:
    """Describe every resource, by the message of its kind; what has none stays as it is."""
    t = ResourceTables(sa.MetaData()).resources
    read = (
        sa.select(t.c.name, t.c.kind, t.c.payload)
        .where(t.c.name > sa.bindparam("after"))
        .order_by(t.c.name)
        .limit(_STRETCH)
    )
    write = (
        sa.update(t)
        .where(t.c.name == sa.bindparam("of"))
        .values(fields=sa.bindparam("fields"), lists=sa.bindparam("lists"))
    )
    after = ""
    while rows := connection.execute(read, {"after": after}).all():
        after = rows[-1].name
        known = [
            {"of": row.name, "fields": found.fields, "lists": found.lists}
            for row in rows
            if row.kind in messages
            for found in (document_of(messages[row.kind].FromString(row.payload)),)
        ]
        if known:
            connection.execute(write, known)
