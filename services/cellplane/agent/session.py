"""The agent's side of the link: one stream at a time, opened again whenever it ends.

Nothing is decided here: Wants go to the Cells, what is due comes from the outbox. A control plane
of a lower epoch than was seen is refused. What was said shortly before a stream ended may be
lost, and is said again.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol

import grpc
import grpc.aio
import structlog

from cellplane.agent import convert, facts
from cellplane.agent.cells import Cells
from cellplane.agent.join import AGENT_VERSION, Identity
from cellplane.agent.outbox import DueOutbox
from cellplane.agent.store import Store
from cellplane.api.agent.v1 import link_pb2, link_pb2_grpc
from cellplane.cell.problem import CellplaneError, FailedPrecondition, Unavailable
from cellplane.rpc.client import Channels, explain
from cellplane.runtime.clock import Clock
from cellplane.runtime.linkdigest import PROTOCOL
from cellplane.runtime.linkorder import FIRST_BITS, Incoming, Outgoing

_PATIENCE: Final = 10.0
"""Seconds to wait for Welcome."""
_MISSED_BEATS: Final = 3
_PING: Final = 15.0
"""Seconds between pings; ten more without an answer end a connection that leads nowhere."""
_DOUBT: Final = 60.0
"""Seconds for which what was said may be lost when the stream ends."""
_SLOW: Final = frozenset({"DATA_PLANE_GONE", "STREAM_REPLACED", "PROTOCOL_UNSUPPORTED"})
_MAX_MESSAGE: Final = 64 * 1024 * 1024

# The published types miss it.
_EOF: Final[Any] = vars(grpc.aio)["EOF"]

Write = Callable[[link_pb2.SyncRequest], Awaitable[None]]


class Call(Protocol):
    """One stream, as gRPC has it."""

    async def write(self, message: link_pb2.SyncRequest, /) -> None:
        """Send one message."""
        ...

    async def read(self) -> Any:
        """The next message, or ``grpc.aio.EOF``."""
        ...

    def cancel(self) -> Any:
        """End it."""
        ...


Dial = Callable[[], AbstractAsyncContextManager[Call]]
"""Opens a stream; see ``over_grpc``."""


class _Drained(Exception):
    """The control plane asks to connect again."""


class Link:
    """Keeps the data plane in touch with the control plane."""

    def __init__(
        self,
        *,
        dial: Dial,
        cells: Cells,
        store: Store,
        outbox: DueOutbox,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self.connected = asyncio.Event()
        """Set for as long as the control plane is there."""
        self._dial = dial
        self._cells = cells
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._rng = rng
        self._instance = str(uuid.uuid4())
        self._stream_epoch = 0
        self._said: dict[str, float] = {}
        self._contents: dict[str, bytes] = {}
        self._heard = 0.0
        self._known_facts = ""
        self._out, self._in = Outgoing(0), Incoming()
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Connect again and again, until cancelled."""
        down_since, attempt, said = self._clock.monotonic(), 0, ""
        while True:
            reason = ""
            try:
                await self._stream()
            except _Drained as drained:
                self._log.info("link.drained", reason=str(drained))
            except CellplaneError as error:
                reason = error.reason
                if error.message != said:
                    self._log.warning("link.failed", error=error.message, reason=reason)
                    said = error.message
            if self.connected.is_set():
                self.connected.clear()
                down_since, attempt, said = self._clock.monotonic(), 0, ""
            await self._clock.sleep(self._pause(attempt, down_since, reason))
            attempt += 1

    def _pause(self, attempt: int, down_since: float, reason: str) -> float:
        """Short at first, as most ends are restarts; never the same for two agents."""
        if reason in _SLOW:
            return self._rng.uniform(5.0, 15.0)
        down = self._clock.monotonic() - down_since
        ceiling = 0.1 * 1.6 ** min(attempt, 30)
        ceiling = min(ceiling, 0.3 if down < 20 else max(0.3, min(4.0, down / 20)))
        return self._rng.uniform(ceiling / 3, ceiling)

    async def _stream(self) -> None:
        """Carry one stream to its end. Raises ``CellplaneError`` with why it ended."""
        async with self._dial() as call:
            try:
                await self._talk(call)
            except grpc.aio.AioRpcError as error:
                raise explain(error).to_error() from error
            except asyncio.InvalidStateError as error:
                raise Unavailable("stream broke off") from error
            finally:
                call.cancel()

    async def _talk(self, call: Call) -> None:
        self._out = Outgoing(self._rng.getrandbits(FIRST_BITS) or 1)
        self._in = Incoming()
        welcome = await self._open(call)
        beat = max(1.0, welcome.beat_interval_millis / 1000)
        self._heard = self._clock.monotonic()
        self._contents.clear()
        one_at_a_time = asyncio.Lock()

        async def write(message: link_pb2.SyncRequest) -> None:
            async with one_at_a_time:
                message.sequence = self._out.number()
                await call.write(message)

        tasks = [
            asyncio.create_task(self._read(call, write)),
            asyncio.create_task(self._write(write)),
            asyncio.create_task(self._beat(write, beat)),
        ]
        self.connected.set()
        self._log.info("link.connected", session=welcome.session, epoch=welcome.epoch)
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        # What ended the stream comes first; what broke because of it is heard, too.
        ended = [
            t.exception() for t in sorted(tasks, key=lambda t: t not in done) if not t.cancelled()
        ]
        for error in filter(None, ended):
            raise _root(error)

    async def _open(self, call: Call) -> link_pb2.Welcome:
        now = self._cells.facts
        await call.write(
            link_pb2.SyncRequest(
                sequence=self._out.number(),
                hello=link_pb2.Hello(
                    instance=self._instance,
                    min_protocol=PROTOCOL,
                    max_protocol=PROTOCOL,
                    epoch=await self._store.epoch(),
                    root_digest=self._cells.root_digest(),
                    agent_version=AGENT_VERSION,
                    facts_digest=facts.digest_of(now) if now is not None else "",
                ),
            )
        )
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = await self._next(call)
        except TimeoutError:
            raise Unavailable(f"no welcome within {_PATIENCE:.0f} s") from None
        if answer.WhichOneof("message") != "welcome":
            raise FailedPrecondition("control plane did not answer hello with welcome")
        welcome = answer.welcome
        seen = await self._store.epoch()
        if welcome.epoch < seen:
            raise FailedPrecondition(
                f"control plane is of epoch {welcome.epoch}, and {seen} was seen: refused",
                reason="EPOCH_BEHIND",
            )
        if welcome.epoch > seen:
            await self._store.save_epoch(welcome.epoch)
        self._known_facts = welcome.facts_digest
        self._outbox.facts_due()
        if welcome.resume in (link_pb2.Welcome.SAME, link_pb2.Welcome.TAIL):
            self._say_again(welcome.epoch)
        self._stream_epoch = welcome.epoch
        return welcome

    def _say_again(self, epoch: int) -> None:
        """Both have the same, but the last words may not have arrived."""
        if self._stream_epoch not in (0, epoch):
            self._cells.resend()
            return
        before = self._clock.monotonic() - _DOUBT
        self._cells.resend([cell for cell, time in self._said.items() if time > before])

    async def _next(self, call: Call) -> link_pb2.SyncResponse:
        while True:
            message = await call.read()
            if message is _EOF:
                raise Unavailable("control plane ended the stream")
            self._heard = self._clock.monotonic()
            answer: link_pb2.SyncResponse = message
            if self._in.take(answer.sequence):
                return answer

    async def _read(self, call: Call, write: Write) -> None:
        # Cells are stored side by side: one sync of the disk does for many.
        async with asyncio.TaskGroup() as group:
            while True:
                message = await self._next(call)
                match message.WhichOneof("message"):
                    case "blob":
                        for content in message.blob.contents:
                            self._contents[hashlib.sha256(content).hexdigest()] = content
                    case "want":
                        group.create_task(self._take(message.want, write))
                    case "compare":
                        await write(convert.inventory_to_wire(self._cells.inventory()))
                        self._cells.resend()
                    case "drain":
                        raise _Drained(message.drain.reason)
                    case _:
                        pass

    async def _take(self, message: link_pb2.Want, write: Write) -> None:
        want = convert.want_of(message)
        contents = {
            wanted.digest: self._contents[wanted.digest]
            for wanted in want.objects
            if wanted.digest in self._contents
        }
        answer = await self._cells.accept(want, contents)
        for digest in contents:
            self._contents.pop(digest, None)
        await write(convert.reply_to_wire(want, answer))

    async def _write(self, write: Write) -> None:
        outbox = self._outbox
        while True:
            outbox.stir.clear()
            await self._write_facts(write)
            while outbox.applied:
                cell = next(iter(outbox.applied))
                del outbox.applied[cell]
                applied = self._cells.take_applied(cell)
                if applied is not None:
                    self._said[cell] = self._clock.monotonic()
                    await write(convert.applied_to_wire(applied))
            while outbox.drifts:
                await write(convert.drift_to_wire(outbox.drifts[0]))
                outbox.drifts.popleft()
            while outbox.reports and not outbox.applied:
                cell = next(iter(outbox.reports))
                del outbox.reports[cell]
                report = self._cells.take_report(cell)
                if report is not None:
                    self._said[cell] = self._clock.monotonic()
                    await write(convert.report_to_wire(report))
            if not outbox.applied:
                await outbox.stir.wait()

    async def _write_facts(self, write: Write) -> None:
        now = self._cells.facts
        if not self._outbox.facts or now is None:
            return
        self._outbox.facts = False
        digest = facts.digest_of(now)
        if digest != self._known_facts:
            await write(convert.facts_to_wire(now))
            self._known_facts = digest

    async def _beat(self, write: Write, interval: float) -> None:
        while True:
            await self._clock.sleep(interval)
            silence = self._clock.monotonic() - self._heard
            if silence > _MISSED_BEATS * interval:
                raise Unavailable(f"control plane has been silent for {silence:.0f} s")
            before = self._clock.monotonic() - _DOUBT
            self._said = {cell: time for cell, time in self._said.items() if time > before}
            await write(link_pb2.SyncRequest(beat=link_pb2.Beat()))


def over_grpc(identity: Identity) -> Dial:
    """Open streams to the control plane, each on a connection of its own."""

    @asynccontextmanager
    async def dial() -> AsyncIterator[Call]:
        async with Channels(
            identity.tls(), max_message_bytes=_MAX_MESSAGE, keepalive_seconds=_PING
        ) as channels:
            stub = link_pb2_grpc.LinkServiceStub(channels.channel(identity.link_address))
            sync: Any = stub.Sync
            yield sync()

    return dial


def _root(error: BaseException) -> BaseException:
    """What went wrong first in a group of tasks."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
