"""The tables of placement's own state; data planes and grants as people write them are resources.

Names and types only: what they mean is in ``repository``.
"""

from __future__ import annotations

import sqlalchemy as sa

from cellplane.store.resources import ResourceTables

metadata = sa.MetaData()

resource_tables = ResourceTables(metadata)

epochs = sa.Table(
    "epochs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("address", sa.Text, nullable=False, server_default=""),
)

authorities = sa.Table(
    "authorities",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("certificate", sa.LargeBinary, nullable=False),
    sa.Column("sealed_key", sa.LargeBinary, nullable=False),
)

memberships = sa.Table(
    "memberships",
    metadata,
    sa.Column("data_plane", sa.Text, primary_key=True),
    sa.Column("cluster_uid", sa.Text, nullable=False, index=True),
    sa.Column("join_time", sa.DateTime(timezone=True), nullable=False),
    sa.Column("agent_version", sa.Text, nullable=False),
    sa.Column("facts", sa.LargeBinary),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("seen_time", sa.DateTime(timezone=True), nullable=False),
    sa.Column("certificate_time", sa.DateTime(timezone=True)),
)

grants = sa.Table(
    "grants",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("uid", sa.Text, nullable=False),
    sa.Column("data_plane", sa.Text, nullable=False, index=True),
    sa.Column("data_plane_uid", sa.Text, nullable=False),
    sa.Column("sealed_key", sa.LargeBinary, nullable=False),
    sa.Column("expire_time", sa.DateTime(timezone=True), nullable=False),
    sa.Column("use_time", sa.DateTime(timezone=True)),
    sa.Column("readopt", sa.Boolean, nullable=False, server_default=sa.false()),
)

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("cell", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)

bundles = sa.Table(
    "bundles",
    metadata,
    sa.Column("cell", sa.Text, primary_key=True),
    sa.Column("data_plane", sa.Text, primary_key=True, index=True),
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("cell_revision", sa.BigInteger, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("removed", sa.Boolean, nullable=False),
    sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
)

confirmations = sa.Table(
    "confirmations",
    metadata,
    sa.Column("cell", sa.Text, primary_key=True),
    sa.Column("data_plane", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
)

floors = sa.Table(
    "floors",
    metadata,
    sa.Column("data_plane", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, nullable=False),
)

observations = sa.Table(
    "observations",
    metadata,
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

objects = sa.Table(
    "objects",
    metadata,
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

rollouts = sa.Table(
    "rollouts",
    metadata,
    sa.Column("cell", sa.Text, primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
)

cell_versions = sa.Table(
    "cell_versions",
    metadata,
    sa.Column("cell", sa.Text, primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True),
    sa.Column("body", sa.LargeBinary, nullable=False),
)

contents = sa.Table(
    "contents",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
