"""A control plane for tests of the agent: speaks the link's protocol over real mutual TLS.

It decides nothing: a test says what is wanted, and reads what the agent said. It keeps the rules
that agents rely on: an epoch that grows, blobs before the Want that refers to them, explicit
removals.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from cellplane.api.agent.v1 import join_pb2, join_pb2_grpc, link_pb2, link_pb2_grpc
from cellplane.api.type.v1 import compile_pb2
from cellplane.cell.manifest import Manifest, ObjectKey
from cellplane.rpc.identity import agent_uri, service_uri
from cellplane.rpc.server import Server, ServerOptions
from cellplane.rpc.tls import ServerTLS
from cellplane.runtime import grant
from cellplane.runtime.linkdigest import DigestedObject, objects_digest, root_digest
from cellplane.runtime.pki import Authority, digest_of, validity

DEADLINE = 60.0
TRUST_DOMAIN = "cellplane.local"
DATA_PLANE = "organizations/acme/dataPlanes/east"
GRANT = "organizations/acme/joinGrants/east"
LINK_SERVICE = "cellplane.api.agent.v1.LinkService"
JOIN_SERVICE = "cellplane.api.agent.v1.JoinService"


@dataclass(slots=True)
class Cell:
    """What is wanted of one Cell, and what the agent has."""

    revision: int = 0
    acked: int = 0
    objects: dict[ObjectKey, Manifest] = field(default_factory=dict)
    base: dict[ObjectKey, Manifest] = field(default_factory=dict)
    removals: dict[ObjectKey, None] = field(default_factory=dict)
    removed: bool = False

    @property
    def digest(self) -> str:
        """Digest over its objects."""
        return objects_digest(
            DigestedObject(
                api_version=m.api_version,
                kind=m.kind,
                namespace=m.namespace,
                object=m.object,
                phase=m.phase.value,
                part=m.part,
                digest=m.digest,
            )
            for m in self.objects.values()
        )


class Control(link_pb2_grpc.LinkServiceServicer, join_pb2_grpc.JoinServiceServicer):
    """One control plane with one agent; its ports stay the same when it starts again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.create("agents")
        self.ca, _ = self.authority.save(folder)
        self.token = grant.new_token("east")
        self.epoch = 0
        self.lifetime = timedelta(hours=24)
        self._said: dict[str, list[Any]] = {}
        self._reports: dict[str, link_pb2.CellReport] = {}
        self._complete: dict[tuple[str, int], link_pb2.Applied] = {}
        self.joins = 0
        self.renewals = 0
        self.cells: dict[str, Cell] = {}
        self.facts_digest = ""
        self.streams = 0
        self.resumes: list[str] = []
        self.beat_millis = 15_000
        self.join_address = ""
        self.link_address = ""
        self._news = asyncio.Condition()
        self._out: asyncio.Queue[link_pb2.SyncResponse] | None = None
        self._running: list[Server] = []
        cert, key = self.authority.issue(
            uri=service_uri(TRUST_DOMAIN, "placement"),
            dns=["localhost"],
            ips=["127.0.0.1"],
            server=True,
        ).save(folder, "server")
        self._tls = (cert, key)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Control]:
        """Serve until left."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def start(self) -> None:
        """Start, as a new leader: on the ports from before, if there were any."""
        self.epoch += 1
        cert, key = self._tls
        for name in ("link", "join"):
            before = getattr(self, f"{name}_address") or "127.0.0.1:0"
            server = Server(
                ServerOptions(
                    listen=before,
                    admin_listen="",
                    admin_grpc_listen="",
                    reflection=False,
                    notice=timedelta(0),
                    grace=timedelta(seconds=0.1),
                    tls=ServerTLS(ca=self.ca, cert=cert, key=key, require_client=name == "link"),
                )
            )
            if name == "link":
                server.add(LINK_SERVICE, link_pb2_grpc.add_LinkServiceServicer_to_server, self)
            else:
                server.add(JOIN_SERVICE, join_pb2_grpc.add_JoinServiceServicer_to_server, self)
            bound = await server.start()
            setattr(self, f"{name}_address", f"127.0.0.1:{bound.grpc}")
            self._running.append(server)

    async def stop(self) -> None:
        """Stop; what is wanted stays."""
        for server in self._running:
            await server.stop()
        self._running.clear()

    # What the agent calls.

    async def GetAuthority(  # noqa: N802
        self, request: Any, context: Any
    ) -> join_pb2.GetAuthorityResponse:
        """Answer the authority."""
        await self._tell()
        return join_pb2.GetAuthorityResponse(authority_pem=self.authority.cert_pem)

    async def Join(  # noqa: N802
        self, request: join_pb2.JoinRequest, context: Any
    ) -> join_pb2.JoinResponse:
        """Sign, if the proof is right."""
        assert grant.is_proof(
            request.proof,
            grant.derive_key(self.token.secret),
            certificate_request_pem=request.certificate_request_pem,
            authority_pem=self.authority.cert_pem,
            cluster_uid=request.cluster_uid,
        )
        self.joins += 1
        return join_pb2.JoinResponse(
            certificate_pem=self._sign(request.certificate_request_pem),
            data_plane=DATA_PLANE,
            link_address=self.link_address,
        )

    async def RenewCertificate(  # noqa: N802
        self, request: link_pb2.RenewCertificateRequest, context: Any
    ) -> link_pb2.RenewCertificateResponse:
        """Sign again."""
        self.renewals += 1
        certificate = self._sign(request.certificate_request_pem)
        response = link_pb2.RenewCertificateResponse(
            certificate_pem=certificate, authority_pem=self.authority.cert_pem
        )
        response.expire_time.FromDatetime(validity(certificate)[1])
        await self._tell()
        return response

    async def Sync(  # noqa: N802
        self, requests: AsyncIterator[link_pb2.SyncRequest], context: Any
    ) -> AsyncIterator[link_pb2.SyncResponse]:
        """Carry a stream."""
        first = await anext(aiter(requests))
        hello = first.hello
        self._keep(first)
        out: asyncio.Queue[link_pb2.SyncResponse] = asyncio.Queue()
        mine = root_digest((n, c.revision, c.digest) for n, c in self.cells.items())
        same = hello.root_digest == mine
        self.resumes.append("SAME" if same else "COMPARE")
        yield link_pb2.SyncResponse(
            welcome=link_pb2.Welcome(
                session=str(uuid.uuid4()),
                protocol=1,
                epoch=self.epoch,
                resume=link_pb2.Welcome.SAME if same else link_pb2.Welcome.COMPARE,
                beat_interval_millis=self.beat_millis,
                facts_digest=self.facts_digest,
            )
        )
        if not same:
            yield link_pb2.SyncResponse(compare=link_pb2.Compare())
        self._out = out
        self.streams += 1
        await self._tell()
        reader = asyncio.create_task(self._read(requests))
        try:
            while not reader.done():
                getter = asyncio.create_task(out.get())
                try:
                    await asyncio.wait({getter, reader}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not getter.done():
                        getter.cancel()
                if not getter.done():
                    break
                yield getter.result()
        finally:
            reader.cancel()
            if self._out is out:
                self._out = None
            await asyncio.wait({reader})

    async def _read(self, requests: AsyncIterator[link_pb2.SyncRequest]) -> None:
        async for request in requests:
            self._keep(request)
            match request.WhichOneof("message"):
                case "inventory":
                    self._compare(request.inventory)
                case "facts":
                    self.facts_digest = request.facts.digest
                case "reply":
                    self._take_reply(request.reply)
                case "applied" if request.applied.removed:
                    self.cells.pop(request.applied.cell, None)
            await self._tell()

    def _keep(self, request: link_pb2.SyncRequest) -> None:
        kind = request.WhichOneof("message") or ""
        message = getattr(request, kind)
        self._said.setdefault(kind, []).append(message)
        if kind == "report":
            self._reports[message.cell] = message
        if kind == "applied" and message.complete:
            self._complete[message.cell, message.revision] = message

    def _compare(self, inventory: link_pb2.Inventory) -> None:
        has = {c.cell: c for c in inventory.cells}
        for name, cell in self.cells.items():
            stored = has.get(name)
            if stored is not None and (stored.revision, stored.digest) == (
                cell.revision,
                cell.digest,
            ):
                cell.acked, cell.base = cell.revision, dict(cell.objects)
            else:
                self._send(name, base=0)

    def _take_reply(self, reply: link_pb2.Reply) -> None:
        cell = self.cells.get(reply.cell)
        if cell is not None and reply.verdict == link_pb2.Reply.ACCEPTED:
            cell.acked = reply.revision
            if reply.revision == cell.revision:
                cell.base = dict(cell.objects)

    # What a test calls.

    def want(
        self, name: str, manifests: Iterable[Manifest], *, removals: bool = True
    ) -> link_pb2.Want | None:
        """Want exactly these objects; what is not among them is removed, if *removals* says so."""
        cell = self.cells.setdefault(name, Cell())
        before = dict(cell.objects)
        cell.objects = {m.key: m for m in manifests}
        cell.revision += 1
        if removals:
            cell.removals |= {key: None for key in before if key not in cell.objects}
        for key in cell.objects:
            cell.removals.pop(key, None)
        return self._send(name, base=cell.acked if cell.base == before else 0)

    def remove(self, name: str) -> None:
        """Want the Cell gone."""
        cell = self.cells[name]
        cell.removed = True
        self.want(name, ())

    def send(self, message: link_pb2.SyncResponse) -> None:
        """Say anything."""
        if self._out is not None:
            self._out.put_nowait(message)

    def _send(self, name: str, *, base: int) -> link_pb2.Want | None:
        cell = self.cells[name]
        old = cell.base if base else {}
        changed = [m for key, m in cell.objects.items() if old.get(key) != m]
        if changed:
            self.send(
                link_pb2.SyncResponse(blob=link_pb2.Blob(contents=[m.content for m in changed]))
            )
        want = link_pb2.Want(
            cell=name,
            revision=cell.revision,
            base_revision=base,
            nonce=uuid.uuid4().hex,
            objects=[wanted_object(m) for m in changed],
            removals=[reference(key) for key in cell.removals],
            digest=cell.digest,
            removed=cell.removed,
        )
        self.send(link_pb2.SyncResponse(want=want))
        return want

    async def until(self, found: Callable[[], Any], what: str = "") -> Any:
        """Wait until something holds, and answer it."""
        try:
            async with asyncio.timeout(DEADLINE), self._news:
                while not (answer := found()):
                    await self._news.wait()
                return answer
        except TimeoutError:
            tail = "\n".join(f"{kind}: {str(m[-1])[:400]}" for kind, m in self._said.items())
            raise AssertionError(f"not within {DEADLINE} s: {what}\n{tail}") from None

    def of(self, kind: str) -> list[Any]:
        """All that was said of one kind, oldest first."""
        return self._said.get(kind, [])

    async def applied(self, name: str, revision: int | None = None) -> link_pb2.Applied:
        """Wait until a revision is applied in full."""
        wanted = revision or self.cells[name].revision
        return await self.until(
            lambda: self._complete.get((name, wanted)), f"{name} applied at {wanted}"
        )

    async def reported(
        self, name: str, health: int, revision: int | None = None
    ) -> link_pb2.CellReport:
        """Wait until a Cell's last report is this."""
        wanted = revision or self.cells[name].revision

        def found() -> link_pb2.CellReport | None:
            last = self._reports.get(name)
            return last if last and (last.health, last.revision) == (health, wanted) else None

        return await self.until(found, f"{name} reported {health} at {wanted}")

    async def connected(self, streams: int = 1) -> None:
        """Wait until the agent has opened so many streams, and one is open."""
        await self.until(lambda: self.streams >= streams and self._out is not None, "a stream")

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    def _sign(self, request: bytes) -> bytes:
        uri = agent_uri(TRUST_DOMAIN, "acme", "11111111-2222-3333-4444-555555555555")
        return self.authority.sign_csr(request, uri=uri, lifetime=self.lifetime)

    @property
    def authority_digest(self) -> str:
        """By what the agent knows its authority."""
        return digest_of(self.authority.cert_pem)


def reference(key: ObjectKey) -> link_pb2.ObjectReference:
    """Name an object."""
    return link_pb2.ObjectReference(
        api_version=key.api_version, kind=key.kind, namespace=key.namespace, object=key.object
    )


def wanted_object(m: Manifest) -> link_pb2.WantedObject:
    """Want an object."""
    return link_pb2.WantedObject(
        object=reference(m.key),
        digest=m.digest,
        phase=compile_pb2.Phase.Value(f"PHASE_{m.phase.value}"),
        part=m.part,
    )
