"""Deleting: what belongs to a resource goes with it only if that is asked for.

What is outside of it and writes its name, or a name inside of it, is never broken, not even by
force.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cellplane.cell.problem import FailedPrecondition, Precondition
from cellplane.model.batch import Batch, Change
from cellplane.model.convert import Codecs
from cellplane.model.domain.kinds import Kind
from cellplane.model.effects import Effects
from cellplane.model.records import Record, Records
from cellplane.model.repository import Repository
from cellplane.store.database import Transaction

_HISTORY = frozenset({Kind.RELEASE, Kind.PROMOTION, Kind.CELL})
"""What stands in nobody's way: it follows from something else, or is a record of it."""
_NAMED = 10


class Deleter:
    """Deletes resources inside of transactions."""

    def __init__(
        self, codecs: Codecs, repository: Repository, records: Records, effects: Effects
    ) -> None:
        self._codecs = codecs
        self._repository = repository
        self._records = records
        self._effects = effects

    async def delete(self, tx: Transaction, record: Record, *, force: bool) -> None:
        """Delete a resource, and with *force* what belongs to it.

        Raises:
            FailedPrecondition: something belongs to it, or something outside refers to it.
        """
        name = record.stored.name
        below = await self._records.below(tx, name)
        children = [r.stored.name for r in below if r.kind not in _HISTORY]
        if children and not force:
            raise _in_the_way(name, children, "belong to it", "delete them first, or use force")
        going = {name, *(r.stored.name for r in below)}
        mentions = await self._repository.read_mentions(tx, going)
        outside = sorted({m.source for m in mentions if m.source not in going})
        if outside:
            raise _in_the_way(name, outside, "refer to it", "change or delete them first")
        # A Cell goes with the last of its deployments, while its environment is still there.
        removed = [record, *(r for r in below if r.kind is not Kind.CELL)]
        await self._remove(tx, [r for r in removed if r.kind is Kind.DEPLOYMENT])
        await self._remove(tx, [r for r in removed if r.kind is not Kind.DEPLOYMENT])

    async def _remove(self, tx: Transaction, records: Sequence[Record]) -> None:
        for record in sorted(records, key=lambda r: -r.stored.name.count("/")):
            await self._records.remove(tx, record.stored.name)
        changes = [Change(kind=r.kind, name=r.stored.name, old=r.message) for r in records]
        await self._effects.apply(tx, Batch(self._codecs, self._records, changes))


def _in_the_way(name: str, others: Collection[str], what: str, way_out: str) -> FailedPrecondition:
    named = sorted(others)[:_NAMED]
    more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
    return FailedPrecondition(
        f"{name} cannot be deleted: {', '.join(named)}{more} {what}: {way_out}",
        reason="RESOURCE_IN_USE",
        preconditions=[
            Precondition(type="RESOURCE_IN_USE", subject=other, description=f"{what}: {way_out}")
            for other in named
        ],
        metadata={"name": name},
    )
