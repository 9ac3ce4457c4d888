"""Where the leader is, and the authority that replicas share."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004_replicas"
down_revision = "0003_documents"


def upgrade() -> None:
    """Add the column, and make the table."""
    op.add_column("epochs", sa.Column("address", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "authorities",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("certificate", sa.LargeBinary, nullable=False),
        sa.Column("sealed_key", sa.LargeBinary, nullable=False),
    )
