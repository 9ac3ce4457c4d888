"""One stream of one agent.

Only this side's writer writes and only its reader reads. Of each Cell at most one Want is
unanswered; whatever is wanted meanwhile is one Want afterwards, made from what is wanted then. The
base of a Want is what the agent has said that it has; where that is not known, both sides compare.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from cellplane.api.agent.v1 import link_pb2
from cellplane.cell.problem import CellplaneError, FailedPrecondition, Invalid
from cellplane.placement import convert
from cellplane.placement.desired import Desired
from cellplane.placement.link import messages
from cellplane.placement.link.hub import Hub
from cellplane.placement.planes import BEAT, Planes
from cellplane.placement.reporter import Reporter
from cellplane.placement.rollout.bundle import Bundle, since
from cellplane.placement.slots import Slot
from cellplane.placement.status.observed import DONE
from cellplane.runtime.clock import Clock
from cellplane.runtime.linkdigest import BLOB_LIMIT, PROTOCOL

_MISMATCHES = 3
"""So often in a row a refused base is answered by comparing; then only a new revision helps."""

Write = Callable[[link_pb2.SyncResponse], Awaitable[None]]


class Context(Protocol):
    """Where a stream is written to."""

    async def write(self, message: link_pb2.SyncResponse, /) -> None:
        """Send one message."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A Want that is not answered yet."""

    nonce: str
    revision: int
    digest: str


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
        self._bases: dict[str, int] = {}
        """What the agent has, by Cell; what is not named it does not have."""
        self._pending: dict[str, Pending] = {}
        self._due: dict[str, None] = {}
        self._compared = False
        self._ask_compare = False
        self._mismatches: dict[str, int] = {}
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stir = asyncio.Event()
        self._log = structlog.get_logger().bind(data_plane=data_plane, session=self._id)

    def want(self, cell: str) -> None:
        """Something is wanted of a Cell."""
        self._due[cell] = None
        self._stir.set()

    def end(self, error: CellplaneError) -> None:
        """End the stream."""
        if not self._ended.done():
            self._ended.set_exception(error)

    async def run(
        self,
        hello: link_pb2.Hello,
        requests: AsyncIterator[link_pb2.SyncRequest],
        context: Context,
    ) -> None:
        """Carry the stream until either side ends it."""
        self._check(hello)
        self._agent_version = hello.agent_version
        self._hub.enter(self._data_plane, self)
        self._log.info("link.connected", agent=hello.agent_version, instance=hello.instance)
        try:
            await self._planes.heard(self._data_plane)
            await self._welcome(hello, context)
            reader = asyncio.create_task(self._read(requests))
            writer = asyncio.create_task(self._write(context.write))
            drain = asyncio.create_task(self._hub.draining.wait())
            tasks: set[asyncio.Task[Any]] = {reader, writer, drain}
            try:
                waited: set[asyncio.Future[Any]] = {*tasks, self._ended}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if drain.done() and not writer.done():
                    writer.cancel()
                    await asyncio.wait({writer})
                    await context.write(_drain("the control plane restarts"))
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

    async def _welcome(self, hello: link_pb2.Hello, context: Context) -> None:
        slots = self._desired.delivered(self._data_plane)
        equal = hello.root_digest == self._desired.root_digest(self._data_plane)
        same = equal and all(slot.settled for slot in slots)
        # As they are now: one that is wanted anew while Welcome is written, the agent has not.
        agreed = [(slot.cell, slot.bundle.revision, slot.digest) for slot in slots]
        entry = self._planes.get(self._data_plane)
        facts = entry.membership.facts if entry is not None and entry.membership else None
        ways = link_pb2.Welcome.Resume
        await context.write(
            link_pb2.SyncResponse(
                welcome=link_pb2.Welcome(
                    session=self._id,
                    protocol=PROTOCOL,
                    epoch=self._epoch,
                    resume=ways.SAME if same else ways.COMPARE,
                    beat_interval_millis=round(BEAT.total_seconds() * 1000),
                    facts_digest=facts.digest if facts is not None else "",
                )
            )
        )
        if same:
            self._compared = True
            for cell, revision, digest in agreed:
                self._agree(cell, revision, digest)
            self._stir.set()
        else:
            await context.write(link_pb2.SyncResponse(compare=link_pb2.Compare()))

    def _agree(self, cell: str, revision: int, digest: str) -> None:
        self._bases[cell] = revision
        self._desired.accepted(cell, self._data_plane, revision, digest)

    async def _read(self, requests: AsyncIterator[link_pb2.SyncRequest]) -> None:
        async for request in requests:
            await self._planes.heard(self._data_plane)
            match request.WhichOneof("message"):
                case "inventory":
                    self._take_inventory(request.inventory)
                case "reply":
                    self._take_reply(request.reply)
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

    def _take_inventory(self, inventory: link_pb2.Inventory) -> None:
        stored = {c.cell: c for c in inventory.cells}
        self._bases.clear()
        self._pending.clear()
        for slot in self._desired.delivered(self._data_plane):
            known = stored.pop(slot.cell, None)
            seen = slot.observed
            if known is None:
                self._desired.accepted(slot.cell, self._data_plane, 0, "")
            elif (known.revision, known.digest) == (slot.bundle.revision, slot.digest):
                self._agree(slot.cell, slot.bundle.revision, slot.digest)
                if known.applied and not slot.bundle.removed:
                    self._desired.applied(
                        slot.cell, self._data_plane, known.revision, (), complete=True
                    )
                continue
            elif (known.revision, known.digest) == (seen.accepted_revision, seen.accepted_digest):
                self._bases[slot.cell] = known.revision
            self._due[slot.cell] = None
        for cell, has in stored.items():
            # Absence never deletes: somebody has to look at these.
            self._log.warning("link.unknown_cell", cell=cell, revision=has.revision)
        self._compared = True
        self._stir.set()

    def _take_reply(self, reply: link_pb2.Reply) -> None:
        pending = self._pending.get(reply.cell)
        if pending is None or pending.nonce != reply.nonce:
            return
        del self._pending[reply.cell]
        verdicts = link_pb2.Reply.Verdict
        match reply.verdict:
            case verdicts.ACCEPTED:
                self._bases[reply.cell] = pending.revision
                self._mismatches.pop(reply.cell, None)
                self._desired.accepted(
                    reply.cell, self._data_plane, pending.revision, pending.digest
                )
                self.want(reply.cell)
            case verdicts.REJECTED:
                failures = tuple(messages.failure_of(r) for r in reply.results)
                self._log.warning("link.rejected", cell=reply.cell, revision=reply.revision)
                self._desired.rejected(reply.cell, self._data_plane, pending.revision, failures)
                slot = self._desired.slot(reply.cell, self._data_plane)
                if slot is not None and slot.bundle.revision != pending.revision:
                    self.want(reply.cell)
            case _:
                self._log.info("link.base_mismatch", cell=reply.cell, stored=reply.stored_revision)
                count = self._mismatches.get(reply.cell, 0) + 1
                self._mismatches[reply.cell] = count
                if count <= _MISMATCHES:
                    self._compared = False
                    self._ask_compare = True
                    self._stir.set()

    async def _take_applied(self, applied: link_pb2.Applied) -> None:
        slot = self._placed(applied.cell, "applied")
        if slot is None:
            return
        if applied.removed:
            self._bases.pop(applied.cell, None)
            gone = await self._desired.forget(
                applied.cell, self._data_plane, revision=applied.revision
            )
            if gone:
                self._reporter.removed(applied.cell, self._data_plane)
            else:
                # It was wanted again meanwhile.
                self.want(applied.cell)
            return
        results = (messages.failure_of(r) for r in applied.results)
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
            self._log.warning("link.not_placed_here", cell=cell, dropped=what)
            return None
        return slot

    async def _write(self, write: Write) -> None:
        beat = self._clock.monotonic() + BEAT.total_seconds()
        while True:
            if self._ask_compare:
                self._ask_compare = False
                await write(link_pb2.SyncResponse(compare=link_pb2.Compare()))
            if self._compared:
                await self._write_wants(write)
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

    async def _write_wants(self, write: Write) -> None:
        while self._due and self._compared:
            cell = next(iter(self._due))
            del self._due[cell]
            slot = self._desired.slot(cell, self._data_plane)
            if slot is None or not slot.bundle.revision or cell in self._pending:
                continue
            if self._bases.get(cell, 0) != slot.bundle.revision:
                await self._write_want(slot, write)

    async def _write_want(self, slot: Slot, write: Write) -> None:
        bundle, digest = slot.bundle, slot.digest
        base = self._bases.get(slot.cell, 0)
        delta = since(bundle, base)
        digests = [o.digest for o in delta.changed]
        contents = await self._desired.contents(digests)
        missing = [d for d in digests if d not in contents]
        if missing:
            # Replaced while it was read: what replaced it is due already.
            self._log.warning("link.contents_missing", cell=slot.cell, count=len(missing))
            if slot.bundle is not bundle:
                self._due[slot.cell] = None
            return
        nonce = uuid.uuid4().hex
        self._pending[slot.cell] = Pending(nonce=nonce, revision=bundle.revision, digest=digest)
        for blob in blobs(list(dict.fromkeys(digests)), contents):
            await write(link_pb2.SyncResponse(blob=blob))
        want = want_of(slot, bundle, digest, base, nonce)
        want.objects.extend(messages.object_to_wire(o) for o in delta.changed)
        want.removals.extend(messages.key_to_wire(k) for k in delta.removals)
        await write(link_pb2.SyncResponse(want=want))


def want_of(slot: Slot, bundle: Bundle, digest: str, base: int, nonce: str) -> link_pb2.Want:
    """A Want without its objects."""
    return link_pb2.Want(
        cell=slot.cell,
        revision=bundle.revision,
        base_revision=base,
        nonce=nonce,
        digest=digest,
        namespace=slot.namespace,
        removed=bundle.removed,
    )


def blobs(digests: list[str], contents: dict[str, bytes]) -> list[link_pb2.Blob]:
    """Contents, in messages of a limited size."""
    found: list[link_pb2.Blob] = []
    size = BLOB_LIMIT
    for digest in digests:
        content = contents[digest]
        if size + len(content) > BLOB_LIMIT:
            found.append(link_pb2.Blob())
            size = 0
        found[-1].contents.append(content)
        size += len(content)
    return found


def _drain(reason: str) -> link_pb2.SyncResponse:
    return link_pb2.SyncResponse(drain=link_pb2.Drain(reason=reason))
