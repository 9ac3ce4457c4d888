"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cellplane.store.resources import ResourceTables

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables of placement's own state, and those of its resources."""
    for table in ResourceTables(sa.MetaData(), version=1).all():
        table.create(op.get_bind())
    op.create_table(
        "epochs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "memberships",
        sa.Column("data_plane", sa.Text, primary_key=True),
        sa.Column("cluster_uid", sa.Text, nullable=False, index=True),
        sa.Column("join_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("agent_version", sa.Text, nullable=False),
        sa.Column("facts", sa.LargeBinary),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("seen_time", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "grants",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("data_plane", sa.Text, nullable=False, index=True),
        sa.Column("data_plane_uid", sa.Text, nullable=False),
        sa.Column("sealed_key", sa.LargeBinary, nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("use_time", sa.DateTime(timezone=True)),
    )
    op.create_table(
        "decisions",
        sa.Column("cell", sa.Text, primary_key=True),
        sa.Column("body", sa.Text, nullable=False),
    )
    _create_bundles()


def _create_bundles() -> None:
    op.create_table(
        "bundles",
        sa.Column("cell", sa.Text, primary_key=True),
        sa.Column("data_plane", sa.Text, primary_key=True, index=True),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("cell_revision", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("removed", sa.Boolean, nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "floors",
        sa.Column("data_plane", sa.Text, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "observations",
        sa.Column("cell", sa.Text, primary_key=True),
        sa.Column("data_plane", sa.Text, primary_key=True),
        sa.Column("accepted_revision", sa.BigInteger, nullable=False),
        sa.Column("accepted_digest", sa.Text, nullable=False),
        sa.Column("applied_revision", sa.BigInteger, nullable=False),
        sa.Column("ready_revision", sa.BigInteger, nullable=False),
        sa.Column("rejected_revision", sa.BigInteger, nullable=False),
        sa.Column("failed_revision", sa.BigInteger, nullable=False),
        sa.Column("report", sa.LargeBinary, nullable=False),
        sa.Column("failures", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "objects",
        sa.Column("cell", sa.Text, primary_key=True),
        sa.Column("data_plane", sa.Text, primary_key=True),
        sa.Column("api_version", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("object", sa.Text, primary_key=True),
        sa.Column("part", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False, index=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("removed", sa.Boolean, nullable=False),
    )
    op.create_table(
        "contents",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
