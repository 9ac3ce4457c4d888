"""What of what is deployed does not keep the platform's rules, and how much it may request."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cellplane.store.types import Name

revision = "0005_compliance"
down_revision = "0004_documents"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    metadata = sa.MetaData()
    sa.Table(
        "compliance",
        metadata,
        sa.Column("environment", Name, primary_key=True),
        sa.Column("component", Name, primary_key=True),
        sa.Column("cell", Name, nullable=False),
        sa.Column("cpu", sa.BigInteger, nullable=False),
        sa.Column("memory", sa.BigInteger, nullable=False),
        sa.Column("replicas", sa.BigInteger, nullable=False),
        sa.Column("storage", sa.BigInteger, nullable=False),
        sa.Column("violations", sa.LargeBinary),
        sa.Index("compliance_cell", "cell"),
    )
    metadata.create_all(op.get_bind(), checkfirst=False)
