"""What filters and orders ask of resources in SQL; those that are there are described."""

from __future__ import annotations

from alembic import op

from cellplane.model.convert import MESSAGES
from cellplane.resource.described import columns, describe_all

revision = "0004_documents"
down_revision = "0003_catalog"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and fill them."""
    for column in columns():
        op.add_column("resources", column)
    describe_all(op.get_bind(), {kind.value: message for kind, message in MESSAGES.items()})
