"""When previews end: one row each, so that the next is found at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cellplane.store.types import Name, UtcTime

revision = "0006_previews"
down_revision = "0005_compliance"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    metadata = sa.MetaData()
    sa.Table(
        "preview_ends",
        metadata,
        sa.Column("name", Name, primary_key=True),
        sa.Column("expire_time", UtcTime, nullable=False),
        sa.Index("preview_ends_expire_time", "expire_time"),
    )
    metadata.create_all(op.get_bind(), checkfirst=False)
