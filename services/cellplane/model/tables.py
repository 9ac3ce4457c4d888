"""The tables of the model's own state; what people write is kept as resources.

Names and types only: what they mean is in ``repository``.
"""

from __future__ import annotations

import sqlalchemy as sa

from cellplane.store.types import Counter, Name, UtcTime

metadata = sa.MetaData()

mentions = sa.Table(
    "mentions",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("field", sa.Text, primary_key=True),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Index("mentions_target", "target", "source"),
)

deployed = sa.Table(
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

calls = sa.Table(
    "calls",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("caller", sa.Text, primary_key=True),
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Index("calls_target", "environment", "target", "endpoint"),
    sa.Index("calls_by_target", "target", "endpoint"),
)

routes = sa.Table(
    "routes",
    metadata,
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("component", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Index("routes_host", "environment", "host", "path"),
)

cells = sa.Table(
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

statuses = sa.Table(
    "statuses",
    metadata,
    sa.Column("cell", sa.Text, primary_key=True),
    sa.Column("status", sa.LargeBinary, nullable=False),
)

counters = sa.Table(
    "counters",
    metadata,
    sa.Column("counter", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

compliance = sa.Table(
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

preview_ends = sa.Table(
    "preview_ends",
    metadata,
    sa.Column("name", Name, primary_key=True),
    sa.Column("expire_time", UtcTime, nullable=False),
    sa.Index("preview_ends_expire_time", "expire_time"),
)

catalog_offers = sa.Table(
    "catalog_offers",
    metadata,
    sa.Column("component", Name, primary_key=True),
    sa.Column("environment", Name, primary_key=True),
    sa.Column("offer", sa.Text, primary_key=True),
    sa.Column("facts", sa.LargeBinary, nullable=False),
)

catalog_index = sa.Table(
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
"""``words`` beside it is an index of its own kind on each database: see ``catalog.index``."""

grants = sa.Table(
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

event_cursors = sa.Table(
    "event_cursors",
    metadata,
    sa.Column("subscription", Name, primary_key=True),
    sa.Column("uid", sa.Text, nullable=False),
    sa.Column("position", Counter, nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=False),
    sa.Column("former_secret", sa.LargeBinary),
    sa.Column("former_until", UtcTime),
    sa.Column("delivered_time", UtcTime),
)

event_deliveries = sa.Table(
    "event_deliveries",
    metadata,
    sa.Column("subscription", Name, primary_key=True),
    sa.Column("sequence", Counter, primary_key=True, autoincrement=False),
    sa.Column("resource", Name, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_time", UtcTime, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("is_dead", sa.Boolean, nullable=False),
    sa.Index("event_deliveries_order", "subscription", "is_dead", "resource", "sequence"),
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)

deployment_changes = sa.Table(
    "deployment_changes",
    metadata,
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
    sa.Index("deployment_changes_of", "component", "environment", "number"),
)

soaks = sa.Table(
    "soaks",
    metadata,
    sa.Column("cell", Name, primary_key=True),
    sa.Column("component", Name, primary_key=True),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("since", UtcTime, nullable=False),
)

live_promotions = sa.Table(
    "live_promotions",
    metadata,
    sa.Column("name", Name, primary_key=True),
    sa.Column("source_cell", Name, nullable=False),
    sa.Column("target_cell", Name, nullable=False),
)
