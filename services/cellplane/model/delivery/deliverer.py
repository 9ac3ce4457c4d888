"""Delivers events, on one process of all that share a database.

What is new is taken into the outbox first, and delivered from there, so that every attempt outlives
a restart. The events of one resource go one after the other; those of different resources side by
side. An event that fails is tried again with growing pauses, and given up in the end; then the next
one of its resource has its turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import structlog

from cellplane.api.model.v1 import event_subscription_pb2 as pb
from cellplane.api.model.v1 import resource_change_pb2
from cellplane.cell.problem import CellplaneError
from cellplane.model.delivery.event import CONTENT_TYPE, body_of, id_of
from cellplane.model.delivery.outbox import Cursor, Delivery, Outbox
from cellplane.model.delivery.signature import headers, new_secret
from cellplane.model.domain.kinds import Kind, organization_of
from cellplane.runtime.clock import Clock
from cellplane.runtime.tasks import Backoff
from cellplane.store.database import Database, Transaction
from cellplane.store.history import History
from cellplane.store.resources import Recorded, Resources, Stored

if TYPE_CHECKING:
    from cellplane.model.delivery.post import Post

Network: TypeAlias = IPv4Network | IPv6Network

_PAGE: Final = 200
_ROOM: Final = 1000
"""Events of one subscription that may wait; more stay in the feed, where there is room."""
_AT_ONCE: Final = 16
_LONGEST_SLEEP: Final = 60.0
_ERROR: Final = 300

_log = structlog.get_logger()


_BACKOFF = Backoff(initial=5.0, factor=4.0, maximum=6 * 3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How often and how long an event is tried."""

    backoff: Backoff = _BACKOFF
    attempts: int = 16
    """About three days."""
    timeout: float = 15.0
    """Seconds for one attempt."""


PATIENCE: Final = Patience()


@dataclass(slots=True, kw_only=True)
class Deliverer:
    """Use ``run`` in a task of its own; it goes on until it is cancelled."""

    database: Database
    resources: Resources
    outbox: Outbox
    clock: Clock
    networks: Sequence[Network]
    """Where events may be delivered, beside the internet."""
    patience: Patience = PATIENCE
    rng: random.Random = field(default_factory=random.Random)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _post: Post | None = None

    async def run(self) -> None:
        """Deliver while this process is the one that does."""
        self.resources.on_commit.append(self.news.set)
        try:
            async with self.database.listen(self.news.set):
                while True:
                    with contextlib.suppress(CellplaneError):
                        await self.database.lead("events", self._lead)
                    await self.clock.sleep(1.0)
        finally:
            self.resources.on_commit.remove(self.news.set)

    async def _lead(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            while True:
                self.news.clear()
                try:
                    wait = await self._round(stack)
                except CellplaneError as error:
                    _log.warning("events.interrupted", reason=error.reason, error=error.message)
                    wait = 1.0
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self.news.wait()

    async def _open(self, stack: contextlib.AsyncExitStack) -> Post:
        if self._post is None:
            # Late, with its library: most have no subscription.
            from cellplane.model.delivery.post import Post

            self._post = await stack.enter_async_context(
                Post(self.networks, timeout=self.patience.timeout, at_once=_AT_ONCE)
            )
            stack.callback(self._close)
        return self._post

    def _close(self) -> None:
        self._post = None

    async def _round(self, stack: contextlib.AsyncExitStack) -> float:
        """Look at every subscription once; answers how many seconds there is nothing to do."""
        if await self.outbox.is_idle(self.database, Kind.EVENT_SUBSCRIPTION.value):
            return _LONGEST_SLEEP
        async with self.database.snapshot() as tx:
            subscriptions, cursors, fresh, gone = await self._known(tx)
        if fresh or gone:
            async with self.database.transaction() as tx:
                # Looked at again where nobody else writes: one may have come anew since.
                _, _, fresh, gone = await self._known(tx)
                await self.outbox.forget(tx, gone)
                for stored in fresh:
                    await self.outbox.open(tx, begin(stored))
            return 0.0
        if not subscriptions:
            return _LONGEST_SLEEP
        post = await self._open(stack)
        waits = await asyncio.gather(
            *(self._serve(post, cursors[name], stored) for name, stored in subscriptions.items())
        )
        return min([_LONGEST_SLEEP, *waits])

    async def _known(
        self, tx: Transaction
    ) -> tuple[dict[str, Stored], dict[str, Cursor], list[Stored], list[str]]:
        """Subscriptions and cursors; those that have none yet, and the names of those gone."""
        found = await self.resources.below(tx, "", [Kind.EVENT_SUBSCRIPTION.value])
        cursors = await self.outbox.cursors(tx)
        fresh = [s for s in found if s.name not in cursors or cursors[s.name].uid != s.uid]
        names = {stored.name: stored for stored in found}
        return names, cursors, fresh, sorted(cursors.keys() - names.keys())

    async def _serve(self, post: Post, cursor: Cursor, stored: Stored) -> float:
        subscription = pb.EventSubscription.FromString(stored.payload)
        if subscription.suspended:
            return _LONGEST_SLEEP
        more = await self._take_in(cursor, subscription)
        now = self.clock.now()
        async with self.database.snapshot() as tx:
            heads = await self.outbox.heads(tx, cursor.subscription, _AT_ONCE)
        due = [one for one in heads if one.next_time <= now]
        if due:
            await self._deliver(post, cursor, subscription, due)
        if due or more:
            return 0.0
        return min(((h.next_time - now).total_seconds() for h in heads), default=_LONGEST_SLEEP)

    async def _take_in(self, cursor: Cursor, subscription: pb.EventSubscription) -> bool:
        """Take what is new into the outbox; answers whether there may be more."""
        async with self.database.snapshot() as tx:
            if await self.outbox.waiting(tx, cursor.subscription) >= _ROOM:
                return False
            changes = await self.resources.changes_after(tx, cursor.position, limit=_PAGE)
        if not changes:
            return False
        now = self.clock.now()
        fresh = [
            Delivery(
                subscription=cursor.subscription,
                sequence=change.sequence,
                resource=change.name,
                next_time=now,
            )
            for change in changes
            if wants(subscription, change)
        ]
        async with self.database.transaction() as tx:
            await self.outbox.add(tx, fresh)
            await self.outbox.advance(tx, cursor.subscription, changes[-1].sequence)
        return len(changes) == _PAGE

    async def _deliver(
        self,
        post: Post,
        cursor: Cursor,
        subscription: pb.EventSubscription,
        due: Sequence[Delivery],
    ) -> None:
        history = History(self.resources.tables)
        async with self.database.snapshot() as tx:
            # Read again, as a secret may have been changed meanwhile.
            cursor = await self.outbox.cursor(tx, cursor.subscription) or cursor
            found = await history.named(tx, [(one.resource, one.sequence) for one in due])
        kept = {event.change.sequence: event for event in found}
        errors = await asyncio.gather(
            *(self._attempt(post, cursor, subscription.url, kept.get(one.sequence)) for one in due)
        )
        now = self.clock.now()
        done = [one.sequence for one, error in zip(due, errors, strict=True) if error is None]
        async with self.database.transaction() as tx:
            if done:
                await self.outbox.delivered(tx, cursor.subscription, done, now)
            for one, error in zip(due, errors, strict=True):
                if error is not None:
                    await self.outbox.failed(tx, self._later(one, error))

    async def _attempt(self, post: Post, cursor: Cursor, url: str, event: Any) -> str | None:
        """Deliver one event; answers what went wrong, or nothing."""
        if event is None:
            return "the change is not kept any more"
        body, now = body_of(event), self.clock.now()
        signed = headers(
            cursor.secrets(now),
            message_id=id_of(event),
            timestamp=int(now.timestamp()),
            body=body,
        )
        return await post.send(url, body, {"content-type": CONTENT_TYPE, **signed})

    def _later(self, one: Delivery, error: str) -> Delivery:
        attempts, backoff = one.attempts + 1, self.patience.backoff
        # Half of the pause is certain, so that none is tried again at once.
        pause = (backoff.ceiling(one.attempts) + backoff.delay(one.attempts, self.rng)) / 2
        _log.info(
            "events.failed",
            subscription=one.subscription,
            resource=one.resource,
            attempts=attempts,
            error=error,
        )
        return replace(
            one,
            attempts=attempts,
            next_time=self.clock.now() + timedelta(seconds=pause),
            error=error[:_ERROR],
            is_dead=attempts >= self.patience.attempts,
        )


def begin(stored: Stored) -> Cursor:
    """A new subscription is told what happens from its own creation on."""
    return Cursor(
        subscription=stored.name, uid=stored.uid, position=stored.revision, secret=new_secret()
    )


def wants(subscription: pb.EventSubscription, change: Recorded) -> bool:
    """Tell whether a change is one that a subscription asks for."""
    scope = subscription.scope or organization_of(subscription.name)
    kind = resource_change_pb2.ResourceChange.Type.Value(change.type.value)
    return (
        (change.name == scope or change.name.startswith(f"{scope}/"))
        and (not subscription.kinds or change.kind in subscription.kinds)
        and (not subscription.types or kind in subscription.types)
    )
