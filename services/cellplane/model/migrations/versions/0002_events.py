"""Deliveries of events, and keys that all processes on one database share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cellplane.store.types import Counter, Name, UtcTime

revision = "0002_events"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "event_cursors",
        sa.Column("subscription", Name, primary_key=True),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("position", Counter, nullable=False),
        sa.Column("secret", sa.LargeBinary, nullable=False),
        sa.Column("former_secret", sa.LargeBinary),
        sa.Column("former_until", UtcTime),
        sa.Column("delivered_time", UtcTime),
    )
    op.create_table(
        "event_deliveries",
        sa.Column("subscription", Name, primary_key=True),
        sa.Column("sequence", Counter, primary_key=True, autoincrement=False),
        sa.Column("resource", Name, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_time", UtcTime, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("is_dead", sa.Boolean, nullable=False),
    )
    op.create_index(
        "event_deliveries_order",
        "event_deliveries",
        ["subscription", "is_dead", "resource", "sequence"],
    )
    op.create_table(
        "keys",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
