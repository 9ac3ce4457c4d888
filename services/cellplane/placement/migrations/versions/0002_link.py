"""Confirmed removals, which certificate of an agent was used last, and re-adoption."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002_link"
down_revision = "0001"


def upgrade() -> None:
    """Make the table, and add the columns."""
    op.create_table(
        "confirmations",
        sa.Column("cell", sa.Text, primary_key=True),
        sa.Column("data_plane", sa.Text, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.add_column("memberships", sa.Column("certificate_time", sa.DateTime(timezone=True)))
    op.add_column(
        "grants", sa.Column("readopt", sa.Boolean, nullable=False, server_default=sa.false())
    )
