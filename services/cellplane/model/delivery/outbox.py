"""What is to be delivered, and how far it is: kept, so that a restart loses and repeats little.

Each subscription has a cursor in the changes. What is behind it was looked at: it was none of the
subscription's, was delivered, or stands here. An event that could not be delivered keeps those of
its resource that follow it waiting, and no others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cellplane.model.tables import event_cursors as cursors
from cellplane.model.tables import event_deliveries as deliveries
from cellplane.store.database import Database, Transaction

_ANYTHING = sa.text(
    "SELECT 1 WHERE EXISTS (SELECT 1 FROM event_cursors)"
    " OR EXISTS (SELECT 1 FROM resources WHERE kind = :kind)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far a subscription is."""

    subscription: str
    uid: str
    position: int
    """The sequence of the last change that was looked at."""
    secret: bytes
    former_secret: bytes | None = None
    former_until: datetime | None = None
    delivered_time: datetime | None = None

    def secrets(self, now: datetime) -> list[bytes]:
        """What deliveries are signed with now."""
        former = self.former_secret
        if former is None or self.former_until is None or self.former_until <= now:
            return [self.secret]
        return [self.secret, former]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event that waits, or was given up."""

    subscription: str
    sequence: int
    resource: str
    attempts: int = 0
    next_time: datetime
    error: str = ""
    is_dead: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What people are told of a subscription's deliveries."""

    pending: int = 0
    failing: int = 0
    """Of those, how many were tried already."""
    dead: int = 0
    error: str = ""
    delivered_time: datetime | None = None


class Outbox:
    """Reads and writes it, inside of transactions."""

    async def is_idle(self, database: Database, kind: str) -> bool:
        """Tell by one quick read whether there is neither a subscription nor a cursor."""
        return not await database.rows(_ANYTHING, {"kind": kind})

    async def cursors(self, tx: Transaction) -> dict[str, Cursor]:
        """Every cursor, by subscription."""
        rows = (await tx.execute(sa.select(cursors))).mappings()
        return {row["subscription"]: Cursor(**row) for row in rows}

    async def cursor(self, tx: Transaction, subscription: str) -> Cursor | None:
        """One cursor."""
        query = sa.select(cursors).where(cursors.c.subscription == subscription)
        row = (await tx.execute(query)).mappings().one_or_none()
        return None if row is None else Cursor(**row)

    async def open(self, tx: Transaction, cursor: Cursor) -> None:
        """Begin anew for a subscription, and forget what an earlier one of its name had."""
        await self.forget(tx, [cursor.subscription])
        await tx.execute(sa.insert(cursors), {n: getattr(cursor, n) for n in Cursor.__slots__})

    async def forget(self, tx: Transaction, subscriptions: Collection[str]) -> None:
        """Forget subscriptions that are gone."""
        for table in (cursors, deliveries):
            await tx.execute(sa.delete(table).where(table.c.subscription.in_(subscriptions)))

    async def change_secret(
        self, tx: Transaction, subscription: str, secret: bytes, former: bytes, until: datetime
    ) -> None:
        """Sign with another secret, and until a time with the former one, too."""
        await tx.execute(
            sa.update(cursors)
            .where(cursors.c.subscription == subscription)
            .values(secret=secret, former_secret=former, former_until=until)
        )

    async def advance(self, tx: Transaction, subscription: str, position: int) -> None:
        """Move a cursor on."""
        await tx.execute(
            sa.update(cursors)
            .where(cursors.c.subscription == subscription)
            .values(position=position)
        )

    async def add(self, tx: Transaction, fresh: Sequence[Delivery]) -> None:
        """Take in events that are to be delivered."""
        if fresh:
            await tx.execute(
                sa.insert(deliveries),
                [{n: getattr(one, n) for n in Delivery.__slots__} for one in fresh],
            )

    async def heads(self, tx: Transaction, subscription: str, limit: int) -> list[Delivery]:
        """The first event of each resource that waits, the earliest attempt first."""
        d = deliveries
        first = (
            sa.select(sa.func.min(d.c.sequence))
            .where(d.c.subscription == subscription, ~d.c.is_dead)
            .group_by(d.c.resource)
        )
        query = (
            sa.select(d)
            .where(d.c.subscription == subscription, d.c.sequence.in_(first))
            .order_by(d.c.next_time, d.c.sequence)
            .limit(limit)
        )
        return [Delivery(**row) for row in (await tx.execute(query)).mappings()]

    async def waiting(self, tx: Transaction, subscription: str) -> int:
        """How many events wait."""
        d = deliveries
        query = sa.select(sa.func.count()).where(d.c.subscription == subscription, ~d.c.is_dead)
        count: int = (await tx.execute(query)).scalar_one()
        return count

    async def delivered(
        self, tx: Transaction, subscription: str, sequences: Collection[int], now: datetime
    ) -> None:
        """Strike out what was delivered."""
        d = deliveries
        mine = d.c.subscription == subscription
        await tx.execute(sa.delete(d).where(mine, d.c.sequence.in_(sequences)))
        await tx.execute(
            sa.update(cursors)
            .where(cursors.c.subscription == subscription)
            .values(delivered_time=now)
        )

    async def failed(self, tx: Transaction, one: Delivery) -> None:
        """Note an attempt that failed."""
        d = deliveries
        await tx.execute(
            sa.update(d)
            .where(d.c.subscription == one.subscription, d.c.sequence == one.sequence)
            .values(
                attempts=one.attempts,
                next_time=one.next_time,
                error=one.error,
                is_dead=one.is_dead,
            )
        )

    async def revive(self, tx: Transaction, subscription: str, now: datetime) -> int:
        """Let what was given up be tried anew; answers how many."""
        d = deliveries
        done = await tx.execute(
            sa.update(d)
            .where(d.c.subscription == subscription, d.c.is_dead)
            .values(is_dead=False, attempts=0, next_time=now)
        )
        return done.rowcount

    async def standings(
        self, tx: Transaction, subscriptions: Collection[str]
    ) -> dict[str, Standing]:
        """What is to be told of some subscriptions, by two queries however many there are."""
        d = deliveries
        tried = sa.case((sa.and_(~d.c.is_dead, d.c.attempts > 0), 1), else_=0)
        counts = (
            sa.select(
                d.c.subscription,
                sa.func.count(),
                sa.func.sum(sa.case((d.c.is_dead, 1), else_=0)),
                sa.func.sum(tried),
                sa.func.max(d.c.error),
            )
            .where(d.c.subscription.in_(subscriptions))
            .group_by(d.c.subscription)
        )
        counted: dict[str, Any] = {row[0]: row for row in (await tx.execute(counts)).all()}
        query = sa.select(cursors.c.subscription, cursors.c.delivered_time).where(
            cursors.c.subscription.in_(subscriptions)
        )
        found: dict[str, Standing] = {}
        for row in (await tx.execute(query)).all():
            name, time = row.subscription, row.delivered_time
            _, total, dead, failing, error = counted.get(name, (name, 0, 0, 0, ""))
            found[name] = Standing(
                pending=total - dead, failing=failing, dead=dead, error=error, delivered_time=time
            )
        return found
