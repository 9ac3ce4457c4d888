"""How many children a resource may have: counted in the transaction that adds one, so exact.

Writers queue, so that nobody counts what another is about to add.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa

from cellplane.cell.problem import ResourceExhausted
from cellplane.model.batch import Batch
from cellplane.model.domain.kinds import COLLECTIONS, Kind, parent_of
from cellplane.store.database import Transaction
from cellplane.store.resources import Resources

_QUOTAS: Final[Mapping[Kind, str]] = MappingProxyType(
    {Kind.PROJECT: "project_quota", Kind.COMPONENT: "component_quota"}
)
"""The field of the parent that bounds each kind."""


class Quotas:
    """Checks batches against the quotas of the parents that they add to."""

    def __init__(self, resources: Resources) -> None:
        self._t = resources.tables.resources

    async def check(self, tx: Transaction, batch: Batch) -> None:
        """Return where everything fits.

        Raises:
            ResourceExhausted: one resource too many; names the parent and its quota.
        """
        added = Counter(
            (change.kind, parent_of(change.name))
            for change in batch.changes
            if change.kind in _QUOTAS and change.new is not None and change.old is None
        )
        if not added:
            return
        await batch.look_up(tx, {parent for _, parent in added})
        for (kind, parent), count in added.items():
            message = batch.message(parent)
            quota = getattr(message, _QUOTAS[kind]) if message is not None else 0
            if quota and await self._count(tx, kind, parent) + count > quota:
                raise ResourceExhausted(
                    f"{parent} may have {quota} {COLLECTIONS[kind][-1]}: delete one, or raise its "
                    f"{_QUOTAS[kind]}",
                    reason="QUOTA_EXCEEDED",
                    metadata={"name": parent, "quota": str(quota)},
                )

    async def _count(self, tx: Transaction, kind: Kind, parent: str) -> int:
        t = self._t
        query = sa.select(sa.func.count()).where(t.c.kind == kind.value, t.c.parent == parent)
        count: int = (await tx.execute(query)).scalar_one()
        return count
