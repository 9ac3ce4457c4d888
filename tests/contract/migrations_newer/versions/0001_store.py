"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cellplane.store.resources import ResourceTables

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables of resources."""
    metadata = sa.MetaData()
    ResourceTables(metadata)
    metadata.create_all(op.get_bind())
