"""What filters and orders ask of resources in SQL; those that are there are described."""

from __future__ import annotations

from alembic import op

from cellplane.api.placement.v1 import data_plane_pb2, join_grant_pb2
from cellplane.resource.described import add_columns, describe_all

revision = "0003_documents"
down_revision = "0002_link"
branch_labels = None
depends_on = None

_MESSAGES = {"DataPlane": data_plane_pb2.DataPlane, "JoinGrant": join_grant_pb2.JoinGrant}


def upgrade() -> None:
    """Add the columns, and fill them."""
    add_columns(op.get_bind(), op.add_column)
    describe_all(op.get_bind(), _MESSAGES)
