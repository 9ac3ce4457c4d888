"""Create, get, list, update and delete, for one collection.

Every write is one transaction: read, merge, default and validate (the service's hook), store, and
what follows from it (another hook). The rules of the contract are checked on the resource as it
would be stored, for a request may give a part of it. ``validate_only`` takes the same path and
rolls back at its end, so that it cannot answer anything else than the real call (AIP-163).
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from cellplane.cell.problem import (
    Conflict,
    FailedPrecondition,
    Findings,
    Invalid,
    NotFound,
    Precondition,
)
from cellplane.resource import wire
from cellplane.resource.batches import batch
from cellplane.resource.fields import clear_input, clear_output, immutable_changes, merge
from cellplane.resource.filter.document import document_of
from cellplane.resource.lists import page, read_query
from cellplane.resource.names import Collection
from cellplane.resource.once import run
from cellplane.resource.stored import StoredSource, computed_fields
from cellplane.rpc.identity import current_principal
from cellplane.rpc.pagination import PageTokens
from cellplane.rpc.validation import Requests
from cellplane.runtime.clock import Clock
from cellplane.store.database import Database, Transaction
from cellplane.store.reads import Reads
from cellplane.store.resources import Resources, Stored, parent_of

M = TypeVar("M", bound=Message)
_REFERRERS = 10


async def _nothing(*_: Any) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What is special about a collection. All run inside of the transaction."""

    before_write: Callable[[Transaction, Any, Any], Awaitable[None]] = _nothing
    """``(tx, new, old or None)``: default and validate *new* in place; raise all findings."""
    after_write: Callable[[Transaction, Any, Any, Stored], Awaitable[None]] = _nothing
    """``(tx, new, old or None, stored)``: what follows from it."""
    before_delete: Callable[[Transaction, Any, bool], Awaitable[None]] = _nothing
    """``(tx, old, force)``: refuse, naming what stands in the way."""
    after_delete: Callable[[Transaction, Any], Awaitable[None]] = _nothing
    """``(tx, old)``: what follows from it."""
    on_read: Callable[[Transaction, Sequence[Any]], Awaitable[None]] = _nothing
    """``(tx, messages)``: fill in what is not stored."""


def etag_of(revision: int) -> str:
    """The entity tag of a revision, quoted (RFC 7232)."""
    return f'"{revision}"'


def revision_of(etag: str) -> int | None:
    """The revision that an entity tag demands; ``None`` if it demands nothing."""
    if not etag:
        return None
    text = etag.strip('"')
    # A tag of anybody else's making matches no revision.
    return int(text) if text.isdigit() else -1


class StandardMethods:
    """The standard methods of one collection, on its generated request messages."""

    def __init__(
        self,
        *,
        database: Database,
        resources: Resources,
        collection: Collection,
        tokens: PageTokens,
        clock: Clock,
        hooks: Hooks | None = None,
    ) -> None:
        self._database = database
        self._resources = resources
        self.collection = collection
        self._tokens = tokens
        self._clock = clock
        self._hooks = hooks or Hooks()
        self._rules = Requests()
        # Etags are revisions, and in no payload.
        reads = self._hooks.on_read is not _nothing
        self._computed = {"etag", *(computed_fields(collection.message) if reads else ())}
        self._reads = Reads(database, resources)
        etag: Any = collection.message.DESCRIPTOR.fields_by_name["etag"]
        self._etag_key = wire.tag(etag.number, wire.LENGTH)

    async def create(self, request: Any) -> Any:
        """AIP-133."""
        c = self.collection
        parent = getattr(request, "parent", "")
        c.parse_parent(parent, across=False)
        id_field = f"{c.field}_id"
        new = c.message()
        new.CopyFrom(getattr(request, c.field))
        own = getattr(request, id_field) or f"{c.field[0]}-{uuid.uuid4().hex[:10]}"
        name = c.name(parent, own)
        c.parse(name, field=id_field)
        clear_output(new)

        async def work(tx: Transaction) -> Any:
            await self._require_parent(tx, parent)
            return await self._write(tx, name, new, None, expected=0)

        return await self._run(request, work, c.message)

    async def get(self, request: Any) -> Any:
        """AIP-131; where nothing is to be filled in, the answer is bytes that are the message."""
        self.collection.parse(request.name)
        if self._hooks.on_read is _nothing:
            return await self._raw(request.name)
        async with self._database.snapshot() as tx:
            found = await self.read(tx, request.name)
            await self._hooks.on_read(tx, [found])
        return found

    async def _raw(self, name: str) -> bytes:
        """A resource as it is answered, without reading what it says."""
        found = await self._reads.get(name)
        if found is None or found[0] != self.collection.kind:
            raise self._missing(name)
        _, revision, payload = found
        # Fields of a message may follow each other in any order (protobuf, encoding).
        return payload + self._etag_key + wire.text(etag_of(revision))

    async def list(self, request: Any, response: M) -> M:
        """AIP-132, 158 and 160; fills *response*."""
        c = self.collection
        parent = getattr(request, "parent", "")
        if c.parent_pattern:
            c.parse_parent(parent, across=True)
        descriptor: Any = c.message.DESCRIPTOR
        query = read_query(request, descriptor)
        async with self._database.snapshot() as tx:

            async def view(rows: Sequence[Stored]) -> Sequence[Any]:
                messages = [self.to_message(stored) for stored in rows]
                await self._hooks.on_read(tx, messages)
                return messages

            source = StoredSource(
                tx=tx,
                database=self._database,
                resources=self._resources,
                collection=c,
                parent=parent,
                query=query,
                view=view,
                computed=self._computed,
            )
            found, token = await page(source, request, query, self._tokens, parent=parent)
        answer: Any = response
        getattr(answer, response.DESCRIPTOR.fields[0].name).extend(found)
        answer.next_page_token = token
        return response

    async def batch_get(self, request: Any, response: M) -> M:
        """AIP-231; fills *response*."""
        async with self._database.snapshot() as tx:
            found = await batch(tx, self._resources, self.collection, request)
            messages = [self.to_message(stored) for stored in found]
            await self._hooks.on_read(tx, messages)
        getattr(response, response.DESCRIPTOR.fields[0].name).extend(messages)
        return response

    async def update(self, request: Any) -> Any:
        """AIP-134; with ``allow_missing``, creates."""
        c = self.collection
        given = getattr(request, c.field)
        c.parse(given.name, field=f"{c.field}.name")

        async def work(tx: Transaction) -> Any:
            stored = await self._resources.get(tx, given.name)
            if stored is None:
                if not request.allow_missing:
                    raise self._missing(given.name)
                fresh = c.message()
                fresh.CopyFrom(given)
                clear_output(fresh)
                await self._require_parent(tx, parent_of(given.name))
                return await self._write(tx, given.name, fresh, None, expected=0)
            _require_etag(given.etag, stored)
            old = self.to_message(stored)
            new = merge(old, given, request.update_mask.paths)
            return await self._write(tx, given.name, new, stored, expected=stored.revision)

        return await self._run(request, work, c.message)

    async def delete(self, request: Any) -> Empty:
        """AIP-135."""
        self.collection.parse(request.name)
        force = bool(getattr(request, "force", False))

        async def work(tx: Transaction) -> Any:
            stored = await self._resources.get(tx, request.name)
            if stored is None:
                if request.allow_missing:
                    return Empty()
                raise self._missing(request.name)
            _require_etag(request.etag, stored)
            await self.remove(tx, stored, force=force)
            return Empty()

        answer: Empty = await self._run(request, work, Empty)
        return answer

    async def remove(self, tx: Transaction, stored: Stored, *, force: bool) -> None:
        """Delete one, and with *force* all that is below it, in a transaction of the caller's."""
        old = self.to_message(stored)
        await self._hooks.before_delete(tx, old, force)
        if not force:
            children = await self._resources.children(tx, stored.name, limit=_REFERRERS)
            if children:
                raise in_the_way(stored.name, children)
        now = self._clock.now()
        who = current_principal().spiffe
        for child in await self._resources.below(tx, stored.name, ()):
            if child.name != stored.name:
                await self._resources.delete(tx, child.name, time=now, actor=who)
        await self._resources.delete(tx, stored.name, time=now, actor=who)
        await self._hooks.after_delete(tx, old)

    async def read(self, tx: Transaction, name: str) -> Any:
        """Read one as it is stored; raises ``NotFound``."""
        stored = await self._resources.get(tx, name)
        if stored is None or stored.kind != self.collection.kind:
            raise self._missing(name)
        return self.to_message(stored)

    async def put(
        self,
        tx: Transaction,
        name: str,
        new: Any,
        stored: Stored | None,
        *,
        field: str | None = None,
    ) -> Any:
        """Write one in a transaction of the caller's, by the same rules.

        Args:
            tx: The transaction.
            name: Its name; the one in *new* does not count.
            new: The whole resource.
            stored: As it is now; ``None`` where it must not exist.
            field: Where the request has the resource: findings are below it.
        """
        expected = 0 if stored is None else stored.revision
        return await self._write(tx, name, new, stored, expected=expected, field=field)

    def to_message(self, stored: Stored) -> Any:
        """A resource as it is answered."""
        message: Any = self.collection.message()
        message.ParseFromString(stored.payload)
        message.name = stored.name
        message.etag = etag_of(stored.revision)
        return message

    async def _write(
        self,
        tx: Transaction,
        name: str,
        new: Any,
        stored: Stored | None,
        *,
        expected: int,
        field: str | None = None,
    ) -> Any:
        old = None if stored is None else self.to_message(stored)
        new.name = name
        self._check(new, old, self.collection.field if field is None else field)
        await self._hooks.before_write(tx, new, old)
        clear_input(new)
        now = self._clock.now()
        if old is not None:
            new.uid = old.uid
            new.create_time.CopyFrom(old.create_time)
            new.update_time.CopyFrom(old.update_time)
            new.etag = old.etag
            if stored is not None and new == old:
                await self._hooks.on_read(tx, [old])
                return old
        else:
            new.uid = str(uuid.uuid4())
            new.create_time.FromDatetime(now)
        new.update_time.FromDatetime(now)
        new.etag = ""
        document = document_of(new)
        written = await self._resources.put(
            tx,
            Stored(
                name=name,
                kind=self.collection.kind,
                uid=new.uid,
                create_time=stored.create_time if stored else now,
                update_time=now,
                payload=new.SerializeToString(deterministic=True),
                fields=document.fields,
                lists=document.lists,
            ),
            expected_revision=expected,
            actor=current_principal().spiffe,
        )
        new.etag = etag_of(written.revision)
        await self._hooks.after_write(tx, new, old, written)
        await self._hooks.on_read(tx, [new])
        return new

    def _check(self, new: Any, old: Any, field: str) -> None:
        """Check the rules of the contract; findings are at paths below *field*."""
        findings = Findings(path=field)
        if old is not None:
            immutable_changes(old, new, findings)
        problems = list(findings.problems)
        try:
            self._rules.check(new)
        except Invalid as invalid:
            problems += [
                replace(p, field=f"{field}.{p.field}" if field and p.field else field or p.field)
                for p in invalid.problems
            ]
        if problems:
            first, more = problems[0], f" (and {len(problems) - 1} more)" if problems[1:] else ""
            raise Invalid(
                f"{self.collection.kind} is invalid: {first.field}: {first.message}{more}",
                problems=problems,
                reason="RESOURCE_INVALID",
            )

    async def _require_parent(self, tx: Transaction, parent: str) -> None:
        here = parent and self.collection.parent_is_here
        if here and await self._resources.get(tx, parent) is None:
            raise self._missing(parent)

    async def _run(
        self,
        request: Any,
        work: Callable[[Transaction], Awaitable[Any]],
        answer_type: type[Message],
    ) -> Any:
        return await run(
            self._database,
            self._resources,
            self._clock,
            request,
            work,
            answer_type,
        )

    @staticmethod
    def _missing(name: str) -> NotFound:
        return NotFound(f"{name} does not exist", metadata={"name": name})


def _require_etag(etag: str, stored: Stored) -> None:
    expected = revision_of(etag)
    if expected is not None and expected != stored.revision:
        raise Conflict(
            f"{stored.name} has changed since it was read: read it again, and apply the change "
            "to that",
            metadata={"name": stored.name},
        )


def in_the_way(name: str, referrers: Sequence[str]) -> FailedPrecondition:
    """Refuse to delete *name*, naming what belongs to it or refers to it."""
    shown = ", ".join(referrers)
    more = " and more" if len(referrers) >= _REFERRERS else ""
    return FailedPrecondition(
        f"{name} is needed by {shown}{more}: delete those first, or force it",
        preconditions=[
            Precondition(type="REFERRER", subject=referrer, description=f"{referrer} needs {name}")
            for referrer in referrers
        ],
        reason="RESOURCE_IN_USE",
        metadata={"name": name, "referrers": shown},
    )
