"""The change feeds of services, for as long as somebody looks: broken streams are taken up again.

Kinds that have no feed are read again each second: there are few of them, and no more than one
reader per command.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf import message_factory

from cellplane.cli.engine import Client
from cellplane.cli.exits import of_rpc
from cellplane.cli.kinds import Kind, method
from cellplane.cli.render.output import say

_AGAIN: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
_PAUSE: Final = 0.5
_INTERVAL: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: ``SNAPSHOT``, ``SYNCED``, ``CREATED``, ``UPDATED`` or ``DELETED``."""

    type: str
    name: str = ""
    resource: Any = None


async def watch(client: Client, kind: Kind, parent: str) -> AsyncIterator[Step]:
    """Yield what there is at or below *parent*, then ``SYNCED``, then each change."""
    if "Create" in kind.methods or kind.service == "model":
        async for step in _feed(client, kind, parent):
            yield step
        return
    known: dict[str, Any] = {}
    first = True
    while True:
        found = {r.name: r async for r in client.list(kind, kind.parent(parent.split("/")[1]))}
        found = {n: r for n, r in found.items() if n == parent or n.startswith(f"{parent}/")}
        for name, resource in found.items():
            if name not in known:
                yield Step(type="SNAPSHOT" if first else "CREATED", name=name, resource=resource)
            elif known[name] != resource:
                yield Step(type="UPDATED", name=name, resource=resource)
        for name in known.keys() - found.keys():
            yield Step(type="DELETED", name=name, resource=known[name])
        if first:
            yield Step(type="SYNCED")
        known, first = found, False
        await asyncio.sleep(_INTERVAL)


async def _feed(client: Client, kind: Kind, parent: str) -> AsyncIterator[Step]:
    target = method(f"cellplane.api.{kind.service}.v1.ResourceService.WatchResources")
    make = message_factory.GetMessageClass(target.input_type)
    token, reached, told = "", False, False
    while True:
        request = make(parent=parent, kinds=[kind.name], resume_token=token)
        try:
            async for answer in await client.stream(kind.service, target, request):
                change, reached = answer.change, True
                token = change.resume_token or token
                word = str(change.Type.Name(change.type))
                if word == "BOOKMARK":
                    continue
                resource = kind.message() if change.resource.type_url else None
                if resource is not None:
                    change.resource.Unpack(resource)
                yield Step(type=word, name=change.resource_name, resource=resource)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.OUT_OF_RANGE and token:
                token = ""
                continue
            if error.code() not in _AGAIN or not reached:
                raise of_rpc(error, target=client.profile.address(kind.service)) from None
            if not told:
                say("the feed broke off: taking it up again")
                told = True
        await asyncio.sleep(_PAUSE)
