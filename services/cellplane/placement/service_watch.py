"""Data planes and join grants, to whoever watches: as people write them, and as agents make them.

What is written comes from the feed, and can be resumed. What agents make of it is in memory and in
tables of its own: news of a data plane have it read again, and it is told where it differs from
what this watcher saw last.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeAlias, cast

from google.protobuf.timestamp_pb2 import Timestamp

from cellplane.api.placement.v1 import resource_pb2, resource_pb2_grpc
from cellplane.api.type.v1 import change_pb2
from cellplane.cell.names import is_parent_of
from cellplane.cell.problem import Findings, Invalid
from cellplane.placement.planes import News, Planes
from cellplane.resource.service_changes import Kinds
from cellplane.resource.standard import etag_of
from cellplane.store.database import Database, Transaction
from cellplane.store.feed import Feed, Step, StepType
from cellplane.store.resources import Resources, Stored

View: TypeAlias = Callable[[Transaction, Sequence[Any]], Awaitable[None]]
"""Fills in what is not stored."""
_Change: TypeAlias = change_pb2.Change


class _News:
    """Organizations in which something may look different."""

    def __init__(self) -> None:
        self.organizations: set[str] = set()
        self.event = asyncio.Event()

    def note(self, organization: str) -> None:
        self.organizations.add(organization)
        self.event.set()

    def take(self) -> set[str]:
        self.event.clear()
        taken, self.organizations = self.organizations, set()
        return taken


class ResourceService(resource_pb2_grpc.ResourceServiceServicer):
    """See ``placement/v1/resource.proto``."""

    def __init__(
        self,
        *,
        database: Database,
        resources: Resources,
        feed: Feed,
        planes: Planes,
        kinds: Kinds,
        views: Mapping[str, View],
    ) -> None:
        self._database = database
        self._resources = resources
        self._feed = feed
        self._kinds = kinds
        self._views = views
        self._watchers: set[_News] = set()
        planes.watch(self._note)

    def _note(self, name: str, news: News) -> None:
        if news is News.GONE:
            return
        for watcher in self._watchers:
            watcher.note("/".join(name.split("/")[:2]))

    async def WatchResources(  # noqa: N802 - the contract's name
        self, request: resource_pb2.WatchResourcesRequest, context: Any
    ) -> AsyncIterator[resource_pb2.WatchResourcesResponse]:
        """Tell what there is, and then of each change."""
        del context
        self._check(request)
        news, seen = _News(), dict[str, bytes]()
        if request.resume_token:
            news.note(request.parent and "/".join(request.parent.split("/")[:2]))
        self._watchers.add(news)
        try:
            async for change in self._changes(request, news, seen):
                yield resource_pb2.WatchResourcesResponse(change=change)
        finally:
            self._watchers.discard(news)

    async def _changes(
        self, request: resource_pb2.WatchResourcesRequest, news: _News, seen: dict[str, bytes]
    ) -> AsyncIterator[_Change]:
        steps = self._feed.watch(
            parent=request.parent, kinds=tuple(request.kinds), token=request.resume_token
        )
        synced = bool(request.resume_token)
        async with aclosing(cast("AsyncGenerator[Step, None]", steps)):
            step = asyncio.ensure_future(anext(steps))
            bell = asyncio.ensure_future(news.event.wait())
            try:
                while True:
                    # What is there is told whole before anything that is observed.
                    waits = {step, bell} if synced else {step}
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    if step.done():
                        told = step.result()
                        synced = synced or told.type is StepType.SYNCED
                        yield await self._stored(told, seen)
                        step = asyncio.ensure_future(anext(steps))
                    else:
                        for change in await self._observed(request, news.take(), seen):
                            yield change
                        bell = asyncio.ensure_future(news.event.wait())
            finally:
                for task in (step, bell):
                    task.cancel()
                await asyncio.gather(step, bell, return_exceptions=True)

    async def _stored(self, step: Step, seen: dict[str, bytes]) -> _Change:
        change = _Change(
            type=_Change.Type.Value(step.type.value),
            resource_name=step.name,
            resume_token=step.token,
        )
        if step.time is not None:
            change.change_time.CopyFrom(_stamp(step))
        if step.kind:
            message: Any = self._kinds.messages[step.kind].FromString(step.payload)
            message.etag = etag_of(step.revision)
            if step.type is StepType.DELETED:
                seen.pop(step.name, None)
            else:
                async with self._database.snapshot() as tx:
                    await self._views[step.kind](tx, [message])
                seen[step.name] = message.SerializeToString(deterministic=True)
            change.resource.Pack(message)
        return change

    async def _observed(
        self,
        request: resource_pb2.WatchResourcesRequest,
        organizations: set[str],
        seen: dict[str, bytes],
    ) -> list[_Change]:
        """What looks different from what the watcher saw."""
        found: list[_Change] = []
        kinds = [k for k in self._kinds.messages if not request.kinds or k in request.kinds]
        async with self._database.snapshot() as tx:
            for organization in sorted(organizations):
                stored = [
                    one
                    for one in await self._resources.below(tx, organization, kinds)
                    if not request.parent
                    or one.name == request.parent
                    or is_parent_of(request.parent, one.name)
                ]
                for one in stored:
                    message = await self._message(tx, one)
                    data = message.SerializeToString(deterministic=True)
                    if seen.get(one.name) == data:
                        continue
                    seen[one.name] = data
                    change = _Change(type=_Change.UPDATED, resource_name=one.name)
                    change.resource.Pack(message)
                    found.append(change)
        return found

    async def _message(self, tx: Transaction, stored: Stored) -> Any:
        message: Any = self._kinds.messages[stored.kind].FromString(stored.payload)
        message.etag = etag_of(stored.revision)
        await self._views[stored.kind](tx, [message])
        return message

    def _check(self, request: resource_pb2.WatchResourcesRequest) -> None:
        findings = Findings()
        if request.parent and not self._kinds.knows(request.parent):
            findings.at("parent").add(
                "NAME_INVALID",
                f'"{request.parent}" is not a name: write one such as organizations/acme',
                value=request.parent,
            )
        known = ", ".join(sorted(self._kinds.messages))
        for index, kind in enumerate(request.kinds):
            if kind not in self._kinds.messages:
                findings.at("kinds").at(index).add(
                    "KIND_UNKNOWN", f'"{kind}" is not a kind: write one of {known}', value=kind
                )
        if findings.problems:
            first = findings.problems[0]
            raise Invalid(first.message, problems=findings.problems, reason="REQUEST_INVALID")


def _stamp(step: Step) -> Timestamp:
    stamp = Timestamp()
    if step.time is not None:
        stamp.FromDatetime(step.time)
    return stamp
