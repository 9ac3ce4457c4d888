"""The first version: resources, and what the model derives from them.

The tables stand here as they were then: a later version changes ``tables``, and adds a step.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cellplane.store.resources import ResourceTables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    metadata = sa.MetaData()
    ResourceTables(metadata, version=1)
    counters = _tables(metadata)
    metadata.create_all(op.get_bind(), checkfirst=False)
    op.bulk_insert(counters, [{"counter": "cells", "value": 0}])


def _tables(metadata: sa.MetaData) -> sa.Table:
    _references(metadata)
    _deployments(metadata)
    _cells(metadata)
    return sa.Table(
        "counters",
        metadata,
        sa.Column("counter", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )


def _references(metadata: sa.MetaData) -> None:
    sa.Table(
        "mentions",
        metadata,
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("field", sa.Text, primary_key=True),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Index("mentions_target", "target", "source"),
    )
    sa.Table(
        "calls",
        metadata,
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("caller", sa.Text, primary_key=True),
        sa.Column("target", sa.Text, primary_key=True),
        sa.Column("endpoint", sa.Text, primary_key=True),
        sa.Index("calls_target", "environment", "target", "endpoint"),
    )
    sa.Table(
        "routes",
        metadata,
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("component", sa.Text, primary_key=True),
        sa.Column("endpoint", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Index("routes_host", "environment", "host", "path"),
    )


def _deployments(metadata: sa.MetaData) -> None:
    sa.Table(
        "deployed",
        metadata,
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("component", sa.Text, primary_key=True),
        sa.Column("cell", sa.Text, nullable=False),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("is_deployed", sa.Boolean, nullable=False),
        sa.Column("is_broken", sa.Boolean, nullable=False),
        sa.Column("is_dirty", sa.Boolean, nullable=False),
        sa.Column("changed_revision", sa.BigInteger, nullable=False),
        sa.Column("written", sa.LargeBinary),
        sa.Column("problems", sa.LargeBinary),
        sa.Column("resolved", sa.LargeBinary),
        sa.Column("wanted", sa.LargeBinary),
        sa.Index("deployed_state", "cell", "is_deployed", "is_broken", "is_dirty"),
        sa.Index("deployed_changed", "cell", "changed_revision"),
    )


def _cells(metadata: sa.MetaData) -> None:
    sa.Table(
        "cells",
        metadata,
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("project", sa.Text, nullable=False, index=True),
        sa.Column("environment", sa.Text, nullable=False, index=True),
        sa.Column("is_deleted", sa.Boolean, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("floor", sa.BigInteger, nullable=False),
        sa.Column("frame_revision", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False, index=True),
        sa.Column("frame", sa.LargeBinary),
        sa.Column("requirement", sa.LargeBinary),
        sa.Column("target_projects", sa.Text, nullable=False),
    )
    sa.Table(
        "statuses",
        metadata,
        sa.Column("cell", sa.Text, primary_key=True),
        sa.Column("status", sa.LargeBinary, nullable=False),
    )
