"""Subscriptions to events, on the wire: what people write, and how their deliveries are."""
# ruff: noqa: ARG002, N802

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from google.protobuf.empty_pb2 import Empty

from cellplane.api.model.v1 import event_subscription_pb2 as pb
from cellplane.api.model.v1 import event_subscription_pb2_grpc
from cellplane.api.type.v1 import condition_pb2
from cellplane.cell.problem import NotFound
from cellplane.model.delivery.deliverer import begin
from cellplane.model.delivery.outbox import Cursor, Outbox, Standing
from cellplane.model.delivery.signature import new_secret, show
from cellplane.model.domain.kinds import Kind
from cellplane.model.transactions import Transactions
from cellplane.model.writes import Writes, collection_of
from cellplane.store.database import Transaction
from cellplane.store.resources import Stored

_OVERLAP: Final = timedelta(days=1)
_NONE: Final = Standing()


class EventSubscriptionService(event_subscription_pb2_grpc.EventSubscriptionServiceServicer):
    """See ``model/v1/event_subscription.proto``."""

    def __init__(self, writes: Writes, transactions: Transactions, outbox: Outbox) -> None:
        self._database = transactions.database
        self._resources = transactions.resources
        self._clock = transactions.clock
        self._outbox = outbox
        plain = writes.hooks(Kind.EVENT_SUBSCRIPTION)
        self._written = plain.after_write
        hooks = replace(plain, after_write=self._after, on_read=self._on_read)
        self._methods = writes.methods(Kind.EVENT_SUBSCRIPTION, pb.EventSubscription, hooks)

    async def CreateEventSubscription(
        self, request: pb.CreateEventSubscriptionRequest, context: Any
    ) -> pb.EventSubscription:
        """Create a subscription; answers its secret, once."""
        return _told(await self._methods.create(request), request)

    async def GetEventSubscription(
        self, request: pb.GetEventSubscriptionRequest, context: Any
    ) -> pb.EventSubscription:
        """Read a subscription."""
        return await self._methods.get(request)

    async def ListEventSubscriptions(
        self, request: pb.ListEventSubscriptionsRequest, context: Any
    ) -> pb.ListEventSubscriptionsResponse:
        """List them, by name."""
        return await self._methods.list(request, pb.ListEventSubscriptionsResponse())

    async def BatchGetEventSubscriptions(
        self, request: pb.BatchGetEventSubscriptionsRequest, context: Any
    ) -> pb.BatchGetEventSubscriptionsResponse:
        """Read several."""
        return await self._methods.batch_get(request, pb.BatchGetEventSubscriptionsResponse())

    async def UpdateEventSubscription(
        self, request: pb.UpdateEventSubscriptionRequest, context: Any
    ) -> pb.EventSubscription:
        """Change a subscription."""
        return _told(await self._methods.update(request), request)

    async def DeleteEventSubscription(
        self, request: pb.DeleteEventSubscriptionRequest, context: Any
    ) -> Empty:
        """Delete a subscription."""
        return await self._methods.delete(request)

    async def RotateEventSubscriptionSecret(
        self, request: pb.RotateEventSubscriptionSecretRequest, context: Any
    ) -> pb.RotateEventSubscriptionSecretResponse:
        """Make a new secret; the one before holds for a day more."""
        async with self._database.transaction() as tx:
            cursor, secret = await self._cursor(tx, request.name), new_secret()
            until = self._clock.now() + _OVERLAP
            await self._outbox.change_secret(
                tx, request.name, secret, former=cursor.secret, until=until
            )
        return pb.RotateEventSubscriptionSecretResponse(secret=show(secret))

    async def RedeliverEvents(
        self, request: pb.RedeliverEventsRequest, context: Any
    ) -> pb.RedeliverEventsResponse:
        """Try anew what was given up."""
        async with self._database.transaction() as tx:
            await self._cursor(tx, request.name)
            count = await self._outbox.revive(tx, request.name, self._clock.now())
            for call in self._resources.on_commit:
                tx.after_commit(call)
            await tx.announce()
        return pb.RedeliverEventsResponse(event_count=count)

    async def _cursor(self, tx: Transaction, name: str) -> Cursor:
        collection_of(Kind.EVENT_SUBSCRIPTION).parse(name)
        stored = await self._resources.get(tx, name)
        if stored is None:
            raise NotFound(f"{name} does not exist", metadata={"name": name})
        found = await self._outbox.cursor(tx, name)
        if found is not None and found.uid == stored.uid:
            return found
        # It was applied with others a moment ago, and nobody delivers to it yet.
        opened = begin(stored)
        await self._outbox.open(tx, opened)
        return opened

    async def _after(self, tx: Transaction, new: Any, old: Any, stored: Stored) -> None:
        await self._written(tx, new, old, stored)
        if old is None:
            cursor = begin(stored)
            await self._outbox.open(tx, cursor)
            new.secret = show(cursor.secret)

    async def _on_read(self, tx: Transaction, messages: Sequence[Any]) -> None:
        standings = await self._outbox.standings(tx, [message.name for message in messages])
        for message in messages:
            _show(message, standings.get(message.name, _NONE))


def _told(message: pb.EventSubscription, request: Any) -> pb.EventSubscription:
    """The answer of a trial has no secret: none was made."""
    if request.validate_only:
        message.ClearField("secret")
    return message


def _show(message: pb.EventSubscription, standing: Standing) -> None:
    message.pending_count, message.dead_letter_count = standing.pending, standing.dead
    if standing.delivered_time is not None:
        message.last_delivery_time.FromDatetime(standing.delivered_time)
    del message.conditions[:]
    condition = condition_pb2.Condition
    if message.suspended:
        delivering = (condition.FALSE, "Suspended", "unset `suspended` to go on")
    elif standing.failing:
        delivering = (
            condition.FALSE,
            "Failing",
            f"{standing.failing} resources wait for another attempt: {standing.error}",
        )
    else:
        delivering = (condition.TRUE, "Delivering", "")
    status, reason, text = delivering
    message.conditions.add(type="Delivering", status=status, reason=reason, message=text)
    message.conditions.add(
        type="DeadLettered",
        status=condition.TRUE if standing.dead else condition.FALSE,
        reason="AttemptsUsedUp" if standing.dead else "NothingGivenUp",
        message=(
            f"{standing.dead} events were given up ({standing.error}): mend the receiver, then "
            "call RedeliverEvents"
            if standing.dead
            else ""
        ),
    )
