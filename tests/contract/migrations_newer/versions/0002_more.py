"""What a later version adds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make one more table."""
    op.create_table("more", sa.Column("name", sa.Text, primary_key=True))
