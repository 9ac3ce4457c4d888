"""What filters and orders ask of resources in SQL; those that are there are described."""

from __future__ import annotations

from alembic import op

from cellplane.model.convert import MESSAGES
from cellplane.resource.described import add_columns, describe_all

revision = "0004_documents"
down_revision = "0003_catalog"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and fill them."""
    add_columns(op.get_bind(), op.add_column)
    describe_all(op.get_bind(), {kind.value: message for kind, message in MESSAGES.items()})
