"""Column types whose meaning does not depend on the database.

Names sort by their bytes, so that pages and ranges hold under every locale; times are aware and
UTC, also where the database itself knows no zones.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

Name: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""A resource name, or anything else that is paged or ranged by."""

Counter: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A whole number; SQLite counts a primary key up only where it is an ``INTEGER``."""

Json: Final = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""What is asked for by SQL, in the form that each database asks it best."""


class UtcTime(sa.TypeDecorator[datetime]):
    """A point in time; naive ones are refused."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Write it."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Read it."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
