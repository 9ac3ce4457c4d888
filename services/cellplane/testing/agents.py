"""A simulated agent: the real protocol over real mTLS, with a cluster that does what it is told.

Everything of the link is real: the join, the certificates, the stream, the counted messages. Only
the cluster behind it is a table in memory, which says of each object that it was applied. It says
so itself: its data plane has the label ``cellplane.dev/simulated`` and enforcement ``SIMULATED``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from cellplane.api.agent.v1 import link_pb2, link_pb2_grpc
from cellplane.api.type.v1 import compile_pb2, condition_pb2
from cellplane.rpc.tls import Pem, client_credentials
from cellplane.runtime.linkdigest import PROTOCOL, DigestedObject, objects_digest, root_digest
from cellplane.runtime.linkorder import FIRST_BITS, Incoming, Outgoing
from cellplane.testing.joining import DEADLINE, VERSION, Credentials, ProtocolBroken, require

SIMULATED = {"cellplane.dev/simulated": "true"}
CAPABILITIES = ("cert-manager", "gateway", "gateway.envoy", "networkpolicy.cilium")

Key = tuple[str, str, str, str]


@dataclass(slots=True)
class Stored:
    """A Cell as this agent has stored it."""

    revision: int = 0
    digest: str = ""
    applied: bool = False
    removing: bool = False
    objects: dict[Key, link_pb2.WantedObject] = field(default_factory=dict)


class Agent:
    """One agent. What it stored outlives its streams, as the file of a real one does."""

    def __init__(
        self, credentials: Credentials, *, enforcement: str = "SIMULATED", settle: bool = True
    ) -> None:
        """With ``settle`` it applies and reports ready at once; otherwise only when asked."""
        self.credentials = credentials
        self.settle = settle
        self.facts = link_pb2.Facts(
            digest=f"{1:032x}",
            kubernetes_version="v1.34.0",
            enforcement=compile_pb2.Enforcement.Value(f"ENFORCEMENT_{enforcement}"),
            capabilities=CAPABILITIES,
            labels={"topology.kubernetes.io/region": "eu", **SIMULATED},
            node_count=1,
        )
        self.stored: dict[str, Stored] = {}
        self.removed: list[str] = []
        """Cells that were removed, in order."""
        self.blobs: dict[str, bytes] = {}
        self.wants: list[link_pb2.Want] = []
        """Every Want that came."""
        self.welcomes: list[link_pb2.Welcome] = []
        self.compares = 0
        self.sent = 0
        """Bytes that were sent on the current stream."""
        self.received = 0
        self.drained: list[str] = []
        self.epoch = 0
        self.answer: Callable[[link_pb2.Want], link_pb2.Reply.Verdict.ValueType] | None = None
        """Decides on a Want in place of the agent."""
        self._welcomed = False
        self.counts = True
        """Whether it counts its messages, as agents since 0.2 do."""
        self._out, self._in = Outgoing(0), Incoming()
        self._one_at_a_time = asyncio.Lock()
        self.mute = False
        """While it is set, Wants are neither stored nor answered."""
        self._changed = asyncio.Condition()
        self._call: grpc.aio.StreamStreamCall[link_pb2.SyncRequest, link_pb2.SyncResponse] | None
        self._call = None
        self._channel: grpc.aio.Channel | None = None
        self._task: asyncio.Task[None] | None = None
        self.error: grpc.aio.AioRpcError | None = None

    async def __aenter__(self) -> Agent:
        await self.connect()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.disconnect()

    async def connect(self, **hello: object) -> None:
        """Open a stream, and return once it was welcomed, or has ended."""
        await self.disconnect()
        self.error = None
        pem = Pem(
            ca=self.credentials.authority,
            cert=self.credentials.certificate,
            key=self.credentials.key,
        )
        self._channel = grpc.aio.secure_channel(
            self.credentials.link_address,
            client_credentials(pem),
            options=[
                ("grpc.initial_reconnect_backoff_ms", 50),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )
        sync: Any = link_pb2_grpc.LinkServiceStub(self._channel).Sync
        self._call = sync()
        self._out = Outgoing((random.getrandbits(FIRST_BITS) or 1) if self.counts else 0)
        self._in = Incoming()
        self._welcomed = False
        self.sent = self.received = 0
        seen = len(self.welcomes)
        self._task = asyncio.create_task(self._run(hello))
        await self.until(lambda: len(self.welcomes) > seen or self.error is not None)

    @property
    def is_connected(self) -> bool:
        """Whether its stream was welcomed, and is there."""
        return self._welcomed and self._task is not None and not self._task.done()

    def cut(self) -> None:
        """Break the stream off, as a network does."""
        if self._call is not None:
            self._call.cancel()

    async def stay(self, rng: random.Random) -> None:
        """Connect again and again, as agents do, until cancelled; never at the same time as others.

        Pauses are as short as a real agent's: most ends are restarts.
        """
        attempt = 0
        while True:
            with contextlib.suppress(TimeoutError):
                await self.connect()
            if self.is_connected:
                attempt = 0
                await self._beat(rng)
            ceiling = min(0.1 * 1.6**attempt, 4.0)
            await asyncio.sleep(rng.uniform(ceiling / 3, ceiling))
            attempt += 1

    async def _beat(self, rng: random.Random) -> None:
        """Say now and then that it is alive, until the stream ends."""
        beat = self.welcomes[-1].beat_interval_millis / 1000
        task = self._task
        while task is not None and not task.done():
            await asyncio.wait({task}, timeout=beat * rng.uniform(0.8, 1.0))
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                if not task.done():
                    await self.say(beat=link_pb2.Beat())

    async def disconnect(self) -> None:
        """Drop the stream, as a cut does."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        if self._channel is not None:
            await self._channel.close(None)
            self._channel = None

    async def until(self, holds: Callable[[], bool], seconds: float = DEADLINE) -> None:
        """Wait until something holds of this agent."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(holds)

    async def say(self, **message: object) -> None:
        """Send one message."""
        request = link_pb2.SyncRequest(**message)  # type: ignore[arg-type]
        if self._call is None:
            raise ProtocolBroken("the agent has no stream")
        async with self._one_at_a_time:
            request.sequence = self._out.number()
            self.sent += request.ByteSize()
            await self._call.write(request)

    async def applied(self, cell: str, *, complete: bool = True, **more: object) -> None:
        """Say that what is stored of a Cell is applied."""
        stored = self.stored[cell]
        stored.applied = complete
        await self.say(
            applied=link_pb2.Applied(
                cell=cell,
                revision=stored.revision,
                complete=complete,
                **more,  # type: ignore[arg-type]
            )
        )

    async def report(
        self, cell: str, health: str = "READY", *, full: bool = True, **more: object
    ) -> None:
        """Say how a Cell is, with its components the same."""
        stored = self.stored[cell]
        value = condition_pb2.Health.Value(f"HEALTH_{health}")
        parts = sorted({o.part for o in stored.objects.values() if o.part})
        await self.say(
            report=link_pb2.CellReport(
                cell=cell,
                revision=stored.revision,
                health=value,
                components=[
                    link_pb2.ComponentReport(
                        component=part, health=value, ready_replica_count=1, replica_count=1
                    )
                    for part in parts
                ],
                objects=[
                    link_pb2.ObjectReport(object=o.object, part=o.part, health=value)
                    for o in stored.objects.values()
                ],
                full=full,
                **more,  # type: ignore[arg-type]
            )
        )

    def digest(self) -> str:
        """Digest over what is stored."""
        return root_digest((c, s.revision, s.digest) for c, s in self.stored.items())

    async def _run(self, hello: dict[str, object]) -> None:
        call = self._call
        if call is None:
            return
        opening: dict[str, object] = {
            "instance": str(uuid.uuid4()),
            "min_protocol": PROTOCOL,
            "max_protocol": PROTOCOL,
            "epoch": self.epoch,
            "root_digest": self.digest(),
            "agent_version": VERSION,
            "facts_digest": self.facts.digest,
        }
        try:
            await self.say(hello=link_pb2.Hello(**(opening | hello)))  # type: ignore[arg-type]
            async for response in call:
                self.received += response.ByteSize()
                if not self._in.take(response.sequence):
                    continue
                await self._take(response)
                async with self._changed:
                    self._changed.notify_all()
        except grpc.aio.AioRpcError as error:
            self.error = error
        except asyncio.InvalidStateError:
            self.error = None
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def _take(self, response: link_pb2.SyncResponse) -> None:
        match response.WhichOneof("message"):
            case "welcome":
                self.welcomes.append(response.welcome)
                self._welcomed = True
                self.epoch = response.welcome.epoch
                if response.welcome.facts_digest != self.facts.digest:
                    await self.say(facts=self.facts)
            case "compare":
                self.compares += 1
                await self._inventory()
            case "blob":
                for content in response.blob.contents:
                    self.blobs[hashlib.sha256(content).hexdigest()] = content
            case "want":
                await self._want(response.want)
            case "drain":
                self.drained.append(response.drain.reason)

    async def _inventory(self) -> None:
        await self.say(
            inventory=link_pb2.Inventory(
                cells=[
                    link_pb2.StoredCell(
                        cell=cell, revision=s.revision, digest=s.digest, applied=s.applied
                    )
                    for cell, s in self.stored.items()
                ]
            )
        )
        for cell, stored in list(self.stored.items()):
            if stored.applied and self.settle:
                await self.applied(cell)
                await self.report(cell)

    async def _want(self, want: link_pb2.Want) -> None:
        self.wants.append(want)
        verdicts = link_pb2.Reply.Verdict
        have = self.stored.get(want.cell, Stored())
        if self.mute:
            return
        verdict = verdicts.ACCEPTED
        if self.answer is not None:
            verdict = self.answer(want)
        elif want.base_revision not in (0, have.revision):
            verdict = verdicts.BASE_MISMATCH
        if verdict == verdicts.ACCEPTED:
            self._store(want, have)
        results = [
            link_pb2.ObjectResult(
                object=o.object,
                part=o.part,
                outcome=link_pb2.ObjectResult.FORBIDDEN,
                message="this kind is not allowed here",
            )
            for o in want.objects[:1]
            if verdict == verdicts.REJECTED
        ]
        stored = self.stored.get(want.cell, Stored()).revision
        await self.say(
            reply=link_pb2.Reply(
                nonce=want.nonce,
                cell=want.cell,
                revision=want.revision,
                verdict=verdict,
                stored_revision=stored,
                results=results,
            )
        )
        if verdict != verdicts.ACCEPTED or not self.settle:
            return
        if want.removed:
            await self.finish_removal(want.cell)
        else:
            await self.applied(want.cell)
            await self.report(want.cell)

    def _store(self, want: link_pb2.Want, have: Stored) -> None:
        objects = dict(have.objects)
        for reference in want.removals:
            objects.pop(_key(reference), None)
        for wanted in want.objects:
            require(wanted.digest in self.blobs, "a blob comes before the want that refers to it")
            objects[_key(wanted.object)] = wanted
        digest = _digest(objects)
        if not want.removed:
            require(digest == want.digest, f"{want.cell} has its digest at {want.revision}")
        self.stored[want.cell] = Stored(
            revision=want.revision,
            digest=want.digest,
            removing=want.removed,
            objects=objects,
        )

    async def finish_removal(self, cell: str) -> None:
        """Say that a Cell is gone."""
        stored = self.stored.pop(cell)
        require(not stored.objects, "nothing is removed that a Want does not name")
        self.removed.append(cell)
        await self.say(
            applied=link_pb2.Applied(
                cell=cell, revision=stored.revision, complete=True, removed=True
            )
        )


def _key(reference: link_pb2.ObjectReference) -> Key:
    return reference.api_version, reference.kind, reference.namespace, reference.object


def _digest(objects: dict[Key, link_pb2.WantedObject]) -> str:
    return objects_digest(
        DigestedObject(
            api_version=o.object.api_version,
            kind=o.object.kind,
            namespace=o.object.namespace,
            object=o.object.object,
            phase=compile_pb2.Phase.Name(o.phase).removeprefix("PHASE_"),
            part=o.part,
            digest=o.digest,
        )
        for o in objects.values()
    )
