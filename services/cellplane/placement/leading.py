"""Who leads, of all replicas on one database; and what they share beside it.

The epoch is committed before the leader says or writes anything. Each of its transactions looks at
it, so that one who was paused, or cut off, writes nothing once another has followed (a fencing
token, as a lock alone guards no write).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from cellplane.cell.problem import Unavailable
from cellplane.placement.tables import authorities, epochs
from cellplane.store.database import Database, Transaction


class Leading:
    """The tables that leaders follow each other by."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.epoch = 0
        """Of this process, once it leads."""

    async def next_epoch(self) -> int:
        """Count this process as the next leader, durably, before it says or writes anything.

        Whoever led before can write nothing from then on.
        """
        async with self._database.transaction() as tx:
            query = sa.select(epochs.c.epoch).with_for_update()
            known = (await tx.execute(query)).scalar_one_or_none()
            epoch = (known or 0) + 1
            if known is None:
                await tx.execute(sa.insert(epochs), {"id": 1, "epoch": epoch, "address": ""})
            else:
                await tx.execute(sa.update(epochs).values(epoch=epoch, address=""))
        self.epoch = epoch
        return epoch

    async def announce(self, address: str) -> None:
        """Tell other replicas where this one is, which leads."""
        async with self._transaction() as tx:
            await tx.execute(sa.update(epochs).values(address=address))
            await tx.announce()

    async def leader(self) -> str:
        """Where the replica that leads is; empty if it has not said."""
        async with self._database.snapshot() as tx:
            found = (await tx.execute(sa.select(epochs.c.address))).scalar_one_or_none()
        return found or ""

    async def fence(self, tx: Transaction) -> None:
        """Refuse a write of a process that another one has followed. Raises ``Unavailable``."""
        query = sa.select(epochs.c.epoch).with_for_update(read=True)
        if ((await tx.execute(query)).scalar_one_or_none() or 0) != self.epoch:
            raise Unavailable(
                "another replica leads by now: call again, it will answer", reason="NOT_LEADING"
            )

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Transaction]:
        """A transaction of the leader."""
        async with self._database.transaction() as tx:
            await self.fence(tx)
            yield tx

    async def read_authority(self) -> tuple[bytes, bytes] | None:
        """The authority that replicas share: its certificate, and its sealed key."""
        async with self._database.snapshot() as tx:
            row = (await tx.execute(sa.select(authorities))).one_or_none()
        return None if row is None else (row.certificate, row.sealed_key)

    async def save_authority(self, certificate: bytes, sealed_key: bytes) -> None:
        """Share an authority, if none is shared yet."""
        row = {"id": 1, "certificate": certificate, "sealed_key": sealed_key}
        with suppress(IntegrityError):
            async with self._database.transaction() as tx:
                await tx.execute(sa.insert(authorities), row)
