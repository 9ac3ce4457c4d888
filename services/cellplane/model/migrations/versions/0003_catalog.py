"""The catalog: what is offered where, the index of its words, and the grants in force.

What was declared before is registered when the service starts and finds the catalog empty.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cellplane.store.types import Name, UtcTime

revision = "0003_catalog"
down_revision = "0002_events"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the catalog's tables, and the index of words that this database has."""
    metadata = sa.MetaData()
    _tables(metadata)
    metadata.create_all(op.get_bind(), checkfirst=False)
    op.create_index("calls_by_target", "calls", ["target", "endpoint"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE catalog_index ADD COLUMN words tsvector")
        op.execute("CREATE INDEX catalog_index_words ON catalog_index USING gin (words)")
    else:
        op.execute(
            "CREATE VIRTUAL TABLE catalog_words USING fts5"
            "(name, owner, text, schema, tokenize = 'unicode61', prefix = '2 3')"
        )


def _tables(metadata: sa.MetaData) -> None:
    sa.Table(
        "catalog_offers",
        metadata,
        sa.Column("component", Name, primary_key=True),
        sa.Column("environment", Name, primary_key=True),
        sa.Column("offer", sa.Text, primary_key=True),
        sa.Column("facts", sa.LargeBinary, nullable=False),
    )
    sa.Table(
        "catalog_index",
        metadata,
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("entry", Name, nullable=False),
        sa.Column("component", Name, nullable=False),
        sa.Column("offer", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("protocol", sa.Text, nullable=False),
        sa.Column("visibilities", sa.Text, nullable=False),
        sa.Index("catalog_index_entry", "entry", unique=True),
    )
    sa.Table(
        "grants",
        metadata,
        sa.Column("name", Name, primary_key=True),
        sa.Column("environment", Name, primary_key=True),
        sa.Column("provider", Name, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("consumer", Name, nullable=False),
        sa.Column("expire_time", UtcTime),
        sa.Index("grants_provider", "provider"),
        sa.Index("grants_consumer", "consumer"),
        sa.Index("grants_expire_time", "expire_time"),
    )
