"""One stream of one agent.

Only this side's writer writes and only its reader reads. Messages are counted on both sides, so
that none is taken twice, late or from another stream. What the agent is to get is in ``wanting``.
"""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator
from typing import Any, Protocol

import structlog

from cellplane.api.agent.v1 import link_pb2
from cellplane.cell.problem import CellplaneError, FailedPrecondition, Invalid
from cellplane.placement import convert
from cellplane.placement.desired import Desired
from cellplane.placement.link import messages
from cellplane.placement.link.hub import Hub
from cellplane.placement.link.wanting import Wanting, Write
from cellplane.placement.planes import BEAT, Planes
from cellplane.placement.reporter import Reporter
from cellplane.placement.slots import Slot
from cellplane.placement.status.observed import DONE, Outcome
from cellplane.runtime.clock import Clock
from cellplane.runtime.linkdigest import PROTOCOL
from cellplane.runtime.linkorder import FIRST_BITS, Incoming, Outgoing


class Context(Protocol):
    """Where a stream is written to."""

    async def write(self, message: link_pb2.SyncResponse, /) -> None:
        """Send one message."""
        ...


class Session:
    """Keeps one data plane in sync."""

    def __init__(
        self,
        *,
        data_plane: str,
        epoch: int,
        desired: Desired,
        planes: Planes,
        reporter: Reporter,
        hub: Hub,
        clock: Clock,
    ) -> None:
        self._data_plane = data_plane
        self._epoch = epoch
        self._desired = desired
        self._planes = planes
        self._reporter = reporter
        self._hub = hub
        self._clock = clock
        self._id = str(uuid.uuid4())
        self._agent_version = ""
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stir = asyncio.Event()
        self._log = structlog.get_logger().bind(data_plane=data_plane, session=self._id)
        self._wanting = Wanting(data_plane, desired, self._stir.set, self._log)
        self._in = Incoming()
        self._out = Outgoing(0)

    def want(self, cell: str) -> None:
        """Something is wanted of a Cell."""
        self._wanting.want(cell)

    def end(self, error: CellplaneError) -> None:
        """End the stream."""
        if not self._ended.done():
            self._ended.set_exception(error)

    async def run(
        self,
        first: link_pb2.SyncRequest,
        requests: AsyncIterator[link_pb2.SyncRequest],
        context: Context,
    ) -> None:
        """Carry the stream until either side ends it.

        Args:
            first: Hello, which the agent opened it with.
            requests: What the agent says after that.
            context: Where to answer.
        """
        hello = first.hello
        self._check(hello)
        self._in.take(first.sequence)
        self._out = Outgoing((secrets.randbits(FIRST_BITS) or 1) if first.sequence else 0)
        self._agent_version = hello.agent_version
        self._hub.enter(self._data_plane, self)
        self._log.info("link.connected", agent=hello.agent_version, instance=hello.instance)
        try:
            await self._planes.heard(self._data_plane)

            async def write(message: link_pb2.SyncResponse) -> None:
                message.sequence = self._out.number()
                await context.write(message)

            await self._welcome(hello, write, tail=bool(first.sequence))
            reader = asyncio.create_task(self._read(requests))
            writer = asyncio.create_task(self._write(write))
            drain = asyncio.create_task(self._hub.draining.wait())
            tasks: set[asyncio.Task[Any]] = {reader, writer, drain}
            try:
                waited: set[asyncio.Future[Any]] = {*tasks, self._ended}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if drain.done() and not writer.done():
                    writer.cancel()
                    await asyncio.wait({writer})
                    await write(_drain("the control plane restarts"))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
            ends: tuple[asyncio.Future[Any], ...] = (self._ended, reader, writer)
            for end in ends:
                if end.done() and not end.cancelled():
                    end.result()
        finally:
            self._hub.leave(self._data_plane, self)
            self._ended.cancel()
            self._log.info("link.disconnected")

    def _check(self, hello: link_pb2.Hello) -> None:
        if not hello.min_protocol <= PROTOCOL <= hello.max_protocol:
            raise FailedPrecondition(
                f"agent speaks protocol {hello.min_protocol} to {hello.max_protocol}, and this "
                f"control plane {PROTOCOL}: upgrade the older one",
                reason="PROTOCOL_UNSUPPORTED",
            )
        if hello.epoch > self._epoch:
            raise FailedPrecondition(
                f"agent has seen epoch {hello.epoch}, and this control plane is of {self._epoch}: "
                "another one leads",
                reason="EPOCH_BEHIND",
                metadata={"epoch": str(self._epoch)},
            )

    async def _welcome(self, hello: link_pb2.Hello, write: Write, *, tail: bool) -> None:
        slots = self._desired.delivered(self._data_plane)
        equal = hello.root_digest == self._desired.root_digest(self._data_plane)
        same = equal and all(slot.settled for slot in slots)
        # As they are now: one that is wanted anew while Welcome is written, the agent has not.
        agreed = [(slot.cell, slot.bundle.revision, slot.digest) for slot in slots]
        entry = self._planes.get(self._data_plane)
        facts = entry.membership.facts if entry is not None and entry.membership else None
        ways = link_pb2.Welcome.Resume
        resume = ways.SAME if same else ways.COMPARE
        if not same and not equal and tail and self._wanting.resume(hello.root_digest):
            resume = ways.TAIL
        await write(
            link_pb2.SyncResponse(
                welcome=link_pb2.Welcome(
                    session=self._id,
                    protocol=PROTOCOL,
                    epoch=self._epoch,
                    resume=resume,
                    beat_interval_millis=round(BEAT.total_seconds() * 1000),
                    facts_digest=facts.digest if facts is not None else "",
                )
            )
        )
        if resume == ways.SAME:
            self._wanting.agree(agreed)
        elif resume == ways.COMPARE:
            await write(link_pb2.SyncResponse(compare=link_pb2.Compare()))

    async def _read(self, requests: AsyncIterator[link_pb2.SyncRequest]) -> None:
        async for request in requests:
            if self._ended.done():
                # Another stream of this identity counts by now, or none at all.
                return
            await self._planes.heard(self._data_plane)
            if not self._in.take(request.sequence):
                continue
            match request.WhichOneof("message"):
                case "inventory":
                    self._wanting.take_inventory(request.inventory)
                case "reply":
                    self._wanting.take_reply(request.reply)
                case "applied":
                    await self._take_applied(request.applied)
                case "report":
                    self._take_report(request.report)
                case "facts":
                    await self._planes.learn(
                        self._data_plane, messages.facts_of(request.facts), self._agent_version
                    )
                case "drift":
                    if self._placed(request.drift.cell, "drift"):
                        self._reporter.drift(self._data_plane, request.drift)
                case "hello":
                    raise Invalid("hello opens a stream, and was said twice", reason="HELLO_TWICE")
                case _:
                    pass

    async def _take_applied(self, applied: link_pb2.Applied) -> None:
        slot = self._placed(applied.cell, "applied")
        if slot is None:
            return
        if applied.removed:
            self._wanting.forget(applied.cell)
            gone = await self._desired.forget(
                applied.cell, self._data_plane, revision=applied.revision
            )
            if gone:
                self._reporter.removed(applied.cell, self._data_plane)
            else:
                # It was wanted again meanwhile.
                self.want(applied.cell)
            return
        results = [messages.failure_of(r) for r in applied.results]
        for kept in (r for r in results if r.outcome is Outcome.KEPT):
            self._reporter.event(
                applied.cell,
                self._data_plane,
                component=kept.part,
                reference=f"{kept.key.kind}/{kept.key.object}",
                reason="DataKept",
                message=kept.message,
            )
        failures = tuple(r for r in results if r.outcome not in DONE)
        self._desired.applied(
            applied.cell,
            self._data_plane,
            applied.revision,
            failures,
            complete=applied.complete,
        )

    def _take_report(self, report: link_pb2.CellReport) -> None:
        if self._placed(report.cell, "report") is None:
            return
        self._desired.reported(
            report.cell,
            self._data_plane,
            report.revision,
            convert.health_of(report.health),
            convert.cause_of(report.cause) if report.HasField("cause") else None,
            tuple(messages.component_report_of(c) for c in report.components),
        )
        self._reporter.objects(self._data_plane, report)

    def _placed(self, cell: str, what: str) -> Slot | None:
        slot = self._desired.slot(cell, self._data_plane)
        if slot is None or not slot.bundle.revision:
            self._log.warning("link.not_placed_here", cell=cell, dropped=what, audit=True)
            return None
        return slot

    async def _write(self, write: Write) -> None:
        beat = self._clock.monotonic() + BEAT.total_seconds()
        while True:
            await self._wanting.write(write)
            left = beat - self._clock.monotonic()
            if left <= 0:
                await write(link_pb2.SyncResponse(beat=link_pb2.Beat()))
                beat = self._clock.monotonic() + BEAT.total_seconds()
                continue
            try:
                async with asyncio.timeout(left):
                    await self._stir.wait()
            except TimeoutError:
                continue
            self._stir.clear()


def _drain(reason: str) -> link_pb2.SyncResponse:
    return link_pb2.SyncResponse(drain=link_pb2.Drain(reason=reason))
