"""Both sides of one link in one process: the real ones, with a line between them that fails.

The control plane's side is the session, what is desired and its database; the agent's side is the
link, its Cells and its store. Only gRPC is left out, and the cluster is one in memory. The line
checks what each side says before anything happens to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import grpc.aio

from cellplane.agent.cells import Cells
from cellplane.agent.objects import Wanted
from cellplane.agent.outbox import DueOutbox
from cellplane.agent.session import Link
from cellplane.agent.store import Store
from cellplane.agent.target import Attempt, Removed
from cellplane.api.agent.v1 import link_pb2
from cellplane.cell.manifest import ObjectKey
from cellplane.cell.problem import CellplaneError, Unavailable
from cellplane.placement.__main__ import MIGRATIONS
from cellplane.placement.desired import Desired
from cellplane.placement.link.hub import Hub
from cellplane.placement.link.session import Session
from cellplane.placement.planes import Planes
from cellplane.placement.records import DataPlane, Membership
from cellplane.placement.repository import Repository
from cellplane.placement.rollout.brake import Limits
from cellplane.placement.scheduler.snapshot import PlaneState
from cellplane.runtime.tasks import Loop
from cellplane.store.database import Database
from cellplane.testing.faults import Faults, Line
from cellplane.testing.virtual import LoopClock
from tests.unit.agent.memory import MemoryTarget

PLANE = "organizations/acme/dataPlanes/europe-1"
_EOF: Any = vars(grpc.aio)["EOF"]
_NO_BRAKE = Limits(objects=1_000_000)


@dataclass(slots=True)
class Witness:
    """What was said and done, and what is wrong with it."""

    messages: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    streams: int = 0
    accepted: dict[str, int] = field(default_factory=dict)
    named: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    """By Cell, what was named to be removed."""
    numbers: dict[ObjectKey, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def said(self, message: link_pb2.SyncRequest) -> None:
        """The agent says something."""
        self._count(message)
        reply = message.reply
        if message.HasField("reply") and reply.verdict == link_pb2.Reply.ACCEPTED:
            before = self.accepted.get(reply.cell, 0)
            if reply.revision < before:
                self.faults.append(f"{reply.cell}: {reply.revision} over {before}")
            self.accepted[reply.cell] = reply.revision

    def told(self, message: link_pb2.SyncResponse) -> None:
        """The control plane says something."""
        self._count(message)
        if message.HasField("want"):
            named = self.named.setdefault(message.want.cell, set())
            named |= {(r.kind, r.object) for r in message.want.removals}

    def wrote(self, wanted: Wanted, number: int) -> None:
        """The agent writes an object, which was made by the edit of that number."""
        if number < self.numbers.get(wanted.key, 0):
            self.faults.append(f"{wanted.key}: {number} over {self.numbers[wanted.key]}")
        self.numbers[wanted.key] = number

    def removes(self, cell: str, key: ObjectKey) -> None:
        """The agent removes an object."""
        if (key.kind, key.object) not in self.named.get(cell, set()):
            self.faults.append(f"{key} of {cell} was removed, and nobody named it")

    def _count(self, message: link_pb2.SyncRequest | link_pb2.SyncResponse) -> None:
        self.messages += 1
        self.kinds[message.WhichOneof("message") or ""] += 1


class WatchedTarget(MemoryTarget):
    """A cluster in memory that tells the witness what is done to it."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self._witness = witness

    async def apply(self, wanted: Wanted, *, force: bool, before: int) -> Attempt:
        """Write an object."""
        attempt = await super().apply(wanted, force=force, before=before)
        data = (attempt.live or {}).get("data", {})
        self._witness.wrote(wanted, int(data.get("edit", 0)))
        self.writes.clear()
        return attempt

    async def remove(self, cell: str, key: ObjectKey) -> tuple[Removed, str]:
        """Remove an object."""
        self._witness.removes(cell, key)
        return await super().remove(cell, key)


class Wire:
    """One stream, and what happens to its messages."""

    def __init__(self, witness: Witness, up: Faults, down: Faults, rng: random.Random) -> None:
        self.ended = asyncio.Event()
        self._witness = witness
        self._up: asyncio.Queue[link_pb2.SyncRequest | None] = asyncio.Queue()
        self._down: asyncio.Queue[link_pb2.SyncResponse | None] = asyncio.Queue()
        self._upwards = Line[link_pb2.SyncRequest](up, rng)
        self._downwards = Line[link_pb2.SyncResponse](down, rng)

    def become(self, up: Faults, down: Faults) -> None:
        """Change what goes wrong."""
        self._upwards.faults, self._downwards.faults = up, down

    def end(self) -> None:
        """Break off; what is under way is lost."""
        if not self.ended.is_set():
            self.ended.set()
            self._up.put_nowait(None)
            self._down.put_nowait(None)

    cancel = end

    # The agent's side.

    async def write(self, message: link_pb2.SyncRequest, /) -> None:
        """Send to the control plane."""
        if self.ended.is_set():
            raise asyncio.InvalidStateError
        self._witness.said(message)
        copied = link_pb2.SyncRequest()
        copied.CopyFrom(message)
        for arriving in self._upwards.take(copied):
            self._up.put_nowait(arriving)
        if self._upwards.is_cut:
            self.end()

    async def read(self) -> Any:
        """What the control plane said."""
        message = await self._down.get()
        return _EOF if message is None or self.ended.is_set() else message

    # The control plane's side.

    async def requests(self) -> AsyncIterator[link_pb2.SyncRequest]:
        """What the agent said."""
        while (message := await self._up.get()) is not None and not self.ended.is_set():
            yield message

    async def respond(self, message: link_pb2.SyncResponse) -> None:
        """Send to the agent."""
        if self.ended.is_set():
            raise Unavailable("the stream has ended")
        self._witness.told(message)
        copied = link_pb2.SyncResponse()
        copied.CopyFrom(message)
        for arriving in self._downwards.take(copied):
            self._down.put_nowait(arriving)
        if self._downwards.is_cut:
            self.end()


@dataclass(slots=True)
class _Context:
    wire: Wire

    async def write(self, message: link_pb2.SyncResponse, /) -> None:
        await self.wire.respond(message)


class _Silent:
    """Takes what placement would tell other services."""

    def objects(self, *_said: object) -> None:
        """How objects are."""

    def drift(self, *_said: object) -> None:
        """Who changed what."""

    def removed(self, *_said: object) -> None:
        """What is gone."""


class Control:
    """The control plane's side; starts again from its database."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.clock = LoopClock()
        self.desired: Desired
        self.epoch = 0
        self._database: Database
        self._planes: Planes
        self._hub: Hub
        self._streams: dict[asyncio.Task[None], Wire] = {}
        self._keeper: asyncio.Task[None]
        self.is_up = False

    async def start(self) -> None:
        """Take what is stored, as the next leader."""
        path = self._folder / "placement.db"
        self._database = await Database.open(
            "", service="placement", migrations=MIGRATIONS, path=path
        )
        repository = Repository(self._database)
        self.epoch = await repository.next_epoch()
        self.desired = Desired(repository, self.clock, limits=_NO_BRAKE)
        self.desired.load(await repository.read_slots(), await repository.read_floors())
        self._planes = Planes(repository, self.clock, "test")
        member = Membership(cluster_uid="memory", join_time=datetime(2030, 1, 1, tzinfo=UTC))
        plane = DataPlane(name=PLANE, uid="uid")
        self._planes.load([(plane, member, PlaneState.READY, None)])
        self._hub = Hub(self.desired, self._planes, asyncio.Event())
        keep = Loop(name="observed", body=self.desired.keep, clock=self.clock)
        self._keeper = asyncio.create_task(keep.run())
        self.is_up = True

    async def kill(self) -> None:
        """End in the middle of whatever happens; what was not stored is lost."""
        self.is_up = False
        tasks = [*self._streams, self._keeper]
        for wire in self._streams.values():
            wire.end()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await self._database.close()

    def serve(self, wire: Wire) -> None:
        """Take a stream."""
        task = asyncio.create_task(self._serve(wire))
        self._streams[task] = wire
        task.add_done_callback(lambda done: self._streams.pop(done, None))

    def cut(self) -> None:
        """Break every stream off."""
        for wire in list(self._streams.values()):
            wire.end()

    async def _serve(self, wire: Wire) -> None:
        requests = wire.requests()
        try:
            first = await anext(requests, None)
            if first is None or not first.HasField("hello"):
                return
            session = Session(
                data_plane=PLANE,
                epoch=self.epoch,
                desired=self.desired,
                planes=self._planes,
                reporter=cast("Any", _Silent()),
                hub=self._hub,
                clock=self.clock,
            )
            with contextlib.suppress(CellplaneError):
                await session.run(first, requests, _Context(wire))
        finally:
            wire.end()


class AgentSide:
    """The agent's side; starts again from its store."""

    def __init__(
        self, folder: Path, control: Control, witness: Witness, rng: random.Random
    ) -> None:
        self._path = folder / "agent.db"
        self._control = control
        self._witness = witness
        self._rng = rng
        self._faults = Faults(), Faults()
        self._wire: Wire | None = None
        self.target = WatchedTarget(witness)
        self.cells: Cells
        self._task: asyncio.Task[None]

    async def start(self) -> None:
        """Take what is stored, and connect."""
        ready = asyncio.Event()
        self._task = asyncio.create_task(self._run(ready))
        await ready.wait()

    def become(self, up: Faults, down: Faults) -> None:
        """Change what goes wrong each way, on the stream that is there, too."""
        self._faults = up, down
        if self._wire is not None:
            self._wire.become(up, down)

    async def kill(self, *, lose_disk: bool = False) -> None:
        """End in the middle of whatever happens."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if lose_disk:
            await asyncio.to_thread(self._lose_disk)

    def _lose_disk(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)

    async def _run(self, ready: asyncio.Event) -> None:
        clock, outbox = LoopClock(), DueOutbox()
        async with Store(self._path) as store:
            self.cells = Cells(
                target=self.target,
                store=store,
                outbox=outbox,
                clock=clock,
                rng=self._rng,
                plane=lambda: "europe-1",
            )
            await self.cells.load()
            link = Link(
                dial=self._dial,
                cells=self.cells,
                store=store,
                outbox=outbox,
                clock=clock,
                rng=self._rng,
            )
            ready.set()
            async with asyncio.TaskGroup() as group:
                group.create_task(self.cells.run())
                group.create_task(Loop(name="link", body=link.run, clock=clock).run())

    @asynccontextmanager
    async def _dial(self) -> AsyncIterator[Wire]:
        if not self._control.is_up:
            raise Unavailable("nobody answers")
        wire = self._wire = Wire(self._witness, *self._faults, self._rng)
        self._witness.streams += 1
        self._control.serve(wire)
        try:
            yield wire
        finally:
            wire.end()
