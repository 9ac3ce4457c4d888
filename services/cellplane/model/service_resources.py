"""All kinds of resources at once, on the wire: apply, and watch."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from cellplane.api.model.v1 import (
    cell_pb2,
    component_pb2,
    event_subscription_pb2,
    resource_pb2,
    resource_pb2_grpc,
)
from cellplane.api.type.v1 import change_pb2
from cellplane.cell.problem import Invalid, Problem
from cellplane.model.apply import Applied, Applier, Outcome
from cellplane.model.catalog.convert import inline_schemas
from cellplane.model.catalog.library import Library
from cellplane.model.cells import view
from cellplane.model.convert import MESSAGES, Codecs
from cellplane.model.delivery.deliverer import begin
from cellplane.model.delivery.outbox import Outbox
from cellplane.model.delivery.signature import show
from cellplane.model.domain.kinds import Kind, kind_of
from cellplane.model.repository import Repository
from cellplane.model.transactions import Transactions
from cellplane.resource.standard import etag_of
from cellplane.store.database import Transaction
from cellplane.store.feed import Feed, Step, StepType

_OUTCOMES: Mapping[Outcome, resource_pb2.AppliedResource.Outcome.ValueType] = {
    Outcome.CREATED: resource_pb2.AppliedResource.CREATED,
    Outcome.UPDATED: resource_pb2.AppliedResource.UPDATED,
    Outcome.UNCHANGED: resource_pb2.AppliedResource.UNCHANGED,
}
_CHANGES: Mapping[StepType, change_pb2.Change.Type.ValueType] = {
    StepType.SNAPSHOT: change_pb2.Change.SNAPSHOT,
    StepType.SYNCED: change_pb2.Change.SYNCED,
    StepType.CREATED: change_pb2.Change.CREATED,
    StepType.UPDATED: change_pb2.Change.UPDATED,
    StepType.DELETED: change_pb2.Change.DELETED,
    StepType.BOOKMARK: change_pb2.Change.BOOKMARK,
}


class ResourceService(resource_pb2_grpc.ResourceServiceServicer):
    """See ``model/v1/resource.proto``."""

    def __init__(
        self,
        transactions: Transactions,
        applier: Applier,
        feed: Feed,
        repository: Repository,
        codecs: Codecs,
        library: Library,
        outbox: Outbox,
    ) -> None:
        self._outbox = outbox
        self._codecs = codecs
        self._library = library
        self._transactions = transactions
        self._database = transactions.database
        self._applier = applier
        self._feed = feed
        self._repository = repository

    async def ApplyResources(  # noqa: N802 - the contract's name
        self, request: resource_pb2.ApplyResourcesRequest, context: Any
    ) -> resource_pb2.ApplyResourcesResponse:
        """Make many resources as they are given."""
        del context
        # What takes time happens before the transaction.
        await self._library.prepare(inline_schemas(_components(request)))

        async def work(tx: Transaction) -> resource_pb2.ApplyResourcesResponse:
            applied = await self._applier.apply(tx, request.resources)
            for one in applied:
                fresh = one.outcome is Outcome.CREATED and not request.validate_only
                if fresh and isinstance(one.resource, event_subscription_pb2.EventSubscription):
                    one.resource.secret = await self._begin(tx, one.resource.name)
            return resource_pb2.ApplyResourcesResponse(
                resources=[self._applied(a) for a in applied]
            )

        return await self._transactions.run(request, work, resource_pb2.ApplyResourcesResponse)

    async def _begin(self, tx: Transaction, subscription: str) -> str:
        """Begin to deliver, by a secret that this answer alone tells."""
        stored = await self._transactions.resources.get(tx, subscription)
        if stored is None:
            raise RuntimeError(f"{subscription} was applied, and is not there")
        cursor = begin(stored)
        await self._outbox.open(tx, cursor)
        return show(cursor.secret)

    async def WatchResources(  # noqa: N802
        self, request: resource_pb2.WatchResourcesRequest, context: Any
    ) -> AsyncIterator[resource_pb2.WatchResourcesResponse]:
        """Tell what there is, and then of each change."""
        del context
        _check(request)
        steps = self._feed.watch(
            parent=request.parent, kinds=tuple(request.kinds), token=request.resume_token
        )
        async for step in steps:
            yield resource_pb2.WatchResourcesResponse(change=await self._change(step))

    async def _change(self, step: Step) -> change_pb2.Change:
        change = change_pb2.Change(
            type=_CHANGES[step.type], resource_name=step.name, resume_token=step.token
        )
        if step.time is not None:
            stamp = Timestamp()
            stamp.FromDatetime(step.time)
            change.change_time.CopyFrom(stamp)
        if step.kind:
            message: Any = MESSAGES[Kind(step.kind)].FromString(step.payload)
            if step.kind == Kind.CELL.value:
                message = await self._seen(message)
            message.etag = etag_of(step.revision)
            change.resource.Pack(message)
        return change

    async def _seen(self, cell: cell_pb2.Cell) -> cell_pb2.Cell:
        """A Cell as users see it: what was observed is not in the feed's own copy."""
        async with self._database.snapshot() as tx:
            status = (await self._repository.read_statuses(tx, [cell.name])).get(cell.name)
        return view(cell, None if status is None else cell_pb2.Cell.FromString(status))

    def _applied(self, applied: Applied) -> resource_pb2.AppliedResource:
        answer = resource_pb2.AppliedResource(
            outcome=_OUTCOMES[applied.outcome],
            warnings=[self._codecs.problem.to_wire(w) for w in applied.warnings],
        )
        answer.resource.Pack(applied.resource)
        if applied.previous is not None:
            answer.previous.Pack(applied.previous)
        return answer


def _components(request: resource_pb2.ApplyResourcesRequest) -> Iterator[component_pb2.Component]:
    """Components of a request that can be read; what cannot is told with all findings."""
    for packed in request.resources:
        if packed.type_url.endswith(".Component"):
            with contextlib.suppress(DecodeError):
                yield component_pb2.Component.FromString(packed.value)


def _check(request: resource_pb2.WatchResourcesRequest) -> None:
    problems: list[Problem] = []
    if request.parent and kind_of(request.parent) is None:
        problems.append(
            Problem(
                reason="NAME_INVALID",
                message=f'"{request.parent}" is not a name: write one such as organizations/acme',
                field="parent",
                value=request.parent,
            )
        )
    known = {kind.value for kind in Kind}
    problems += [
        Problem(
            reason="KIND_UNKNOWN",
            message=f'"{kind}" is not a kind: write one of {", ".join(sorted(known))}',
            field=f"kinds[{index}]",
            value=kind,
        )
        for index, kind in enumerate(request.kinds)
        if kind not in known
    ]
    if problems:
        raise Invalid(problems[0].message, problems=problems, reason="REQUEST_INVALID")
