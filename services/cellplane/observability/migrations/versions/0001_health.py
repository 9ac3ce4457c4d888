"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cellplane.store.types import Counter, Name, UtcTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables of health and of events."""
    op.create_table(
        "planes",
        sa.Column("cell", Name, primary_key=True),
        sa.Column("data_plane", Name, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("report_time", UtcTime(), nullable=False),
        sa.Column("removed", sa.Boolean, nullable=False),
    )
    op.create_table(
        "objects",
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
    op.create_table(
        "events",
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
        sqlite_autoincrement=True,
    )
    op.create_index("events_newest", "events", ["cell", "event_time", "sequence"])
