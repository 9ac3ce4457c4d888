"""Every replica serves every call: the one that leads does, and the others pass it on.

A caller is authenticated where it comes in, and its identity goes with the call, over mutual TLS
between replicas of this service, which believe nobody else. Without a leader a call is
``UNAVAILABLE``, and callers try again; nothing is kept of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from cellplane.cell.problem import Unavailable
from cellplane.rpc import onbehalf
from cellplane.rpc.client import Channels, explain
from cellplane.rpc.identity import CallerKind, current_principal
from cellplane.runtime import pki
from cellplane.store.database import Database

_BREATH = 0.2
"""Seconds between looks who leads, however much is written."""

Here = Callable[[str], object | None]
"""The servicer of that name, while this process leads."""


class Relay:
    """Finds who leads, and calls it. What is under way ends when another one leads."""

    def __init__(self, channels: Channels, leader: Callable[[], Awaitable[str]]) -> None:
        """``leader()`` answers the address of who leads; empty if nobody is known to."""
        self._channels = channels
        self._leader = leader
        self._address = ""
        self._calls: set[Any] = set()

    async def call(self, stub: type[Any], method: str, request: Any, context: Any) -> Any:
        """A call that is under way at who leads."""
        self._address = self._address or await self._leader()
        if not self._address:
            raise nobody()
        made = getattr(stub(self._channels.channel(self._address)), method)
        call = made(request, metadata=_caller(context), timeout=context.time_remaining())
        self._calls.add(call)
        return call

    def done(self, call: Any) -> None:
        """A call has ended, or nobody wants it any more."""
        self._calls.discard(call)
        call.cancel()

    def failed(self, call: Any, error: BaseException) -> BaseException:
        """What to answer for what went wrong; who leads is looked up anew if it does not."""
        if isinstance(error, asyncio.CancelledError):
            # By us, if it is forgotten already; otherwise by who made it.
            return error if call in self._calls else nobody()
        if not isinstance(error, grpc.aio.AioRpcError):
            return error
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            self._address = ""
        return explain(error).to_error()

    def moved(self, address: str = "") -> None:
        """Another one leads: what is under way at the one before is made again."""
        self._address = address
        calls, self._calls = self._calls, set()
        for call in calls:
            call.cancel()

    async def follow(self, database: Database) -> None:
        """Learn from the database who leads, until cancelled."""
        news = asyncio.Event()
        async with database.listen(news.set):
            while True:
                await news.wait()
                news.clear()
                address = await self._leader()
                if self._address and address and address != self._address:
                    self.moved(address)
                await asyncio.sleep(_BREATH)


def _caller(context: Any) -> tuple[tuple[str, str], ...]:
    who = current_principal()
    issued = who.certificate_time
    if who.kind is CallerKind.AGENT and issued is None:
        (pem,) = context.auth_context()["x509_pem_cert"]
        issued = pki.issued(pem)
    return onbehalf.metadata(who.spiffe, issued)


def nobody() -> Unavailable:
    """What is answered while no replica leads."""
    return Unavailable("no replica leads now: call again in a moment", reason="NO_LEADER")


class Switch:
    """A servicer that is here while this process leads, and elsewhere otherwise."""

    def __init__(self, service: str, stub: type[Any], here: Here, relay: Relay) -> None:
        self._service = service
        self._stub = stub
        self._here = here
        self._relay = relay
        contract = descriptor_pool.Default().FindServiceByName(service)
        self._methods: dict[str, MethodDescriptor] = {m.name: m for m in contract.methods}

    def __getattr__(self, name: str) -> Callable[[Any, Any], Awaitable[Any]]:
        method = self._methods.get(name)
        if method is None:
            raise AttributeError(f"{self._service} has no method {name}")
        return self._many(method) if method.server_streaming else self._one(method)

    def _one(self, method: MethodDescriptor) -> Callable[[Any, Any], Awaitable[Any]]:
        async def one(request: Any, context: Any) -> Any:
            servicer = self._here(self._service)
            if servicer is not None:
                return await getattr(servicer, method.name)(request, context)
            call = await self._relay.call(self._stub, method.name, request, context)
            try:
                return await call
            except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
                raise self._relay.failed(call, error) from error
            finally:
                self._relay.done(call)

        return one

    def _many(self, method: MethodDescriptor) -> Callable[[Any, Any], Awaitable[None]]:
        async def many(request: Any, context: Any) -> None:
            servicer = self._here(self._service)
            if servicer is not None:
                await _write(getattr(servicer, method.name)(request, context), context)
                return
            call = await self._relay.call(self._stub, method.name, request, context)
            try:
                async for response in call:
                    await context.write(response)
            except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
                raise self._relay.failed(call, error) from error
            finally:
                self._relay.done(call)

        return many


async def _write(result: Any, context: Any) -> None:
    """Send what a servicer yields; one that writes by its context is only awaited."""
    if not hasattr(result, "__aiter__"):
        await result
        return
    async with aclosing(result) as responses:
        async for response in responses:
            await context.write(response)
