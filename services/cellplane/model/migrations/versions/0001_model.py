"""The first version: resources, and what the model derives from them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cellplane.model.tables import counters, metadata
from cellplane.store.resources import ResourceTables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    resources = sa.MetaData()
    ResourceTables(resources)
    resources.create_all(op.get_bind(), checkfirst=False)
    metadata.create_all(op.get_bind(), checkfirst=False)
    op.bulk_insert(counters, [{"counter": "cells", "value": 0}])
