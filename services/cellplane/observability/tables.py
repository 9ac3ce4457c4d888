"""The tables of the observability service; ``migrations`` makes them."""

from __future__ import annotations

import sqlalchemy as sa

from cellplane.store.types import Counter, Name, UtcTime

METADATA = sa.MetaData()

PLANES = sa.Table(
    "planes",
    METADATA,
    sa.Column("cell", Name, primary_key=True),
    sa.Column("data_plane", Name, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("report_time", UtcTime(), nullable=False),
    sa.Column("removed", sa.Boolean, nullable=False),
)
OBJECTS = sa.Table(
    "objects",
    METADATA,
    sa.Column("cell", Name, primary_key=True),
    sa.Column("data_plane", Name, primary_key=True),
    sa.Column("kind", Name, primary_key=True),
    sa.Column("object", Name, primary_key=True),
    sa.Column("component", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("health", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
)
EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("sequence", Counter, primary_key=True, autoincrement=True),
    sa.Column("cell", Name, nullable=False),
    sa.Column("event_time", UtcTime(), nullable=False),
    sa.Column("data_plane", sa.Text, nullable=False),
    sa.Column("component", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("previous_health", sa.Text, nullable=False),
    sa.Column("health", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Index("events_newest", "cell", "event_time", "sequence"),
    # A name is never given twice, not even that of a pruned event.
    sqlite_autoincrement=True,
)
