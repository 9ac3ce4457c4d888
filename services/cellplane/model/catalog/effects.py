"""What follows from a batch for the catalog, in the batch's own transaction."""

from __future__ import annotations

from collections.abc import Mapping

from cellplane.model.batch import Batch
from cellplane.model.catalog.check import described
from cellplane.model.catalog.grants import GrantRows
from cellplane.model.catalog.library import Library
from cellplane.model.catalog.register import Register
from cellplane.model.domain.kinds import Kind
from cellplane.model.domain.resolve import Deployed
from cellplane.model.records import Records
from cellplane.store.database import Transaction


class Catalog:
    """Keeps schemas, entries and grants in step with what is stored."""

    def __init__(
        self, records: Records, register: Register, library: Library, grants: GrantRows
    ) -> None:
        self._records = records
        self._register = register
        self._library = library
        self._grants = grants

    async def keep(self, tx: Transaction, batch: Batch) -> None:
        """Store the schemas that came along, and close grants of what goes."""
        schemas = {s.name: s for own in batch.uploads.values() for s in own.values()}
        if schemas:
            there = await self._records.get_many(tx, schemas)
            for name in sorted(schemas.keys() - there.keys()):
                message = await described(self._library, schemas[name])
                await self._records.write(tx, message, None)
        for change in batch.changes:
            if change.new is None and change.kind is Kind.ACCESS_GRANT:
                await self._grants.forget(tx, change.name)
            elif change.new is None and change.kind is Kind.PROJECT:
                await self._grants.forget_consumer(tx, change.name)

    async def settle(
        self,
        tx: Transaction,
        batch: Batch,
        moves: Mapping[str, Mapping[str, Deployed | None]],
    ) -> None:
        """Register what is offered now."""
        await self._register.settle(tx, batch, moves)
