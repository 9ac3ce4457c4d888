"""Documents for resources that were stored before there were any: a step of a migration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa
from google.protobuf.message import Message

from cellplane.resource.filter.document import document_of
from cellplane.store.resources import ResourceTables
from cellplane.store.types import Json

_STRETCH: Final = 500
_HAS_LZ4: Final = sa.text(
    "SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
)


def add_columns(connection: sa.Connection, add: Callable[[str, sa.Column[Any]], None]) -> None:
    """Add the columns of documents, in the form that is read fastest."""
    for name in ("fields", "lists"):
        add("resources", sa.Column(name, Json))
        if connection.dialect.name == "postgresql" and connection.execute(_HAS_LZ4).scalar():
            # A scan unpacks each of them.
            text = f"ALTER TABLE resources ALTER COLUMN {name} SET COMPRESSION lz4"
            connection.execute(sa.text(text))


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
