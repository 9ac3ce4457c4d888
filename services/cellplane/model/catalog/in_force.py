"""The grants that are in force, as resolution asks for them."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from cellplane.model.domain.resolve import GrantKey
from cellplane.model.tables import grants
from cellplane.store.database import Transaction
from cellplane.store.prepared import OneOf, Prepared

EVERYWHERE = ""
"""In place of an environment: the grant holds in all of them."""
_SELECT = Prepared(
    sa.select(grants.c.provider, grants.c.endpoint, grants.c.consumer).where(
        OneOf(grants.c.provider, "providers"),
        OneOf(grants.c.environment, "environments"),
    )
)


async def read_grants(
    tx: Transaction, environment: str, providers: Collection[str]
) -> frozenset[GrantKey]:
    """Grants of endpoints of *providers* that are in force in an environment."""
    if not providers:
        return frozenset()
    values = {"providers": sorted(providers), "environments": (EVERYWHERE, environment)}
    rows = await tx.fetch(_SELECT, values)
    return frozenset((row.provider, row.endpoint, row.consumer) for row in rows)
