"""What was deployed, and why; since when releases are ready; promotions that are under way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from cellplane.api.model.v1 import deployment_pb2
from cellplane.store.types import Counter, Name, UtcTime

revision = "0007_promotions"
down_revision = "0006_previews"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables; the history begins with what is deployed now."""
    changes = op.create_table(
        "deployment_changes",
        sa.Column("number", Counter, primary_key=True, autoincrement=True),
        sa.Column("component", Name, nullable=False),
        sa.Column("environment", Name, nullable=False),
        sa.Column("previous_release", sa.Text, nullable=False),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("overrides", sa.LargeBinary),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("promotion", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("time", UtcTime, nullable=False),
    )
    op.create_index(
        "deployment_changes_of", "deployment_changes", ["component", "environment", "number"]
    )
    op.create_table(
        "soaks",
        sa.Column("cell", Name, primary_key=True),
        sa.Column("component", Name, primary_key=True),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("since", UtcTime, nullable=False),
    )
    op.create_table(
        "live_promotions",
        sa.Column("name", Name, primary_key=True),
        sa.Column("source_cell", Name, nullable=False),
        sa.Column("target_cell", Name, nullable=False),
    )
    resources = sa.table(
        "resources",
        sa.column("name", sa.Text),
        sa.column("kind", sa.Text),
        sa.column("payload", sa.LargeBinary),
        sa.column("update_time", UtcTime),
    )
    query = sa.select(resources).where(resources.c.kind == "Deployment").order_by("name")
    rows = []
    for row in op.get_bind().execute(query).all():
        deployment = deployment_pb2.Deployment.FromString(row.payload)
        own = deployment.overrides.SerializeToString(deterministic=True)
        rows.append(
            {
                "component": row.name.rpartition("/deployments/")[0],
                "environment": deployment.environment,
                "previous_release": "",
                "release": deployment.release,
                "overrides": own if deployment.HasField("overrides") else None,
                "cause": "DIRECT",
                "promotion": "",
                "actor": "",
                "reason": "",
                "time": row.update_time,
            }
        )
    if rows:
        op.bulk_insert(changes, rows)
