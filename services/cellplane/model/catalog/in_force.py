"""The grants that are in force, as resolution asks for them."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from cellplane.model.domain.resolve import GrantKey
from cellplane.model.tables import grants
from cellplane.store.database import Transaction

EVERYWHERE = ""
"""In place of an environment: the grant holds in all of them."""
_SELECT = sa.select(grants.c.provider, grants.c.endpoint, grants.c.consumer).where(
    grants.c.provider.in_(sa.bindparam("providers", expanding=True)),
    grants.c.environment.in_((EVERYWHERE, sa.bindparam("environment"))),
)


async def read_grants(
    tx: Transaction, environment: str, providers: Collection[str]
) -> frozenset[GrantKey]:
    """Grants of endpoints of *providers* that are in force in an environment."""
    if not providers:
        return frozenset()
    values = {"providers": sorted(providers), "environment": environment}
    rows = (await tx.execute(_SELECT, values)).all()
    return frozenset((row.provider, row.endpoint, row.consumer) for row in rows)
