"""Resources of any kind, as a service keeps them: by name, with every change of them.

The payload is the serialized message: fields that a newer peer wrote survive an older one. Each
write appends to ``changes``, whose sequence is the resource's revision, so a revision is never used
twice, not even by a later resource of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any

import sqlalchemy as sa

from cellplane.cell.problem import AlreadyExists, Conflict, NotFound
from cellplane.store.database import Database, Transaction
from cellplane.store.prepared import OneOf, Prepared
from cellplane.store.types import Counter, Json, Name, UtcTime
from cellplane.store.written import Writing


class ChangeType(Enum):
    """What happened to a resource."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A resource as it is stored. ``revision`` is 0 until it was written."""

    name: str
    kind: str
    uid: str
    create_time: datetime
    update_time: datetime
    payload: bytes
    revision: int = 0
    fields: Mapping[str, Any] | None = None
    """Only to write: what can be asked for of what is there once; ``None`` if nothing can."""
    lists: Mapping[str, Any] | None = None
    """The same of what is behind lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One change. ``payload`` is the resource behind it; of a deleted one, as it last was."""

    sequence: int
    type: ChangeType
    name: str
    kind: str
    time: datetime
    actor: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """A request that was answered."""

    method: str
    digest: str
    response: bytes


class ResourceTables:
    """The tables, in a service's own metadata."""

    def __init__(self, metadata: sa.MetaData, *, version: int = 2) -> None:
        """*version* is for migrations: the first knew no documents."""
        documents = (sa.Column("fields", Json), sa.Column("lists", Json)) if version > 1 else ()
        self.resources = sa.Table(
            "resources",
            metadata,
            sa.Column("name", Name, primary_key=True),
            sa.Column("kind", sa.Text, nullable=False),
            sa.Column("parent", Name, nullable=False),
            sa.Column("uid", sa.Text, nullable=False),
            sa.Column("revision", Counter, nullable=False),
            sa.Column("create_time", UtcTime, nullable=False),
            sa.Column("update_time", UtcTime, nullable=False),
            sa.Column("payload", sa.LargeBinary, nullable=False),
            *documents,
            sa.Index("resources_by_parent", "kind", "parent", "name"),
            sa.Index("resources_by_kind", "kind", "name"),
        )
        self.changes = sa.Table(
            "changes",
            metadata,
            sa.Column("sequence", Counter, primary_key=True, autoincrement=True),
            sa.Column("type", sa.Text, nullable=False),
            sa.Column("name", Name, nullable=False),
            sa.Column("kind", sa.Text, nullable=False),
            sa.Column("time", UtcTime, nullable=False),
            sa.Column("actor", sa.Text, nullable=False),
            sa.Column("payload", sa.LargeBinary, nullable=False),
            sa.Index("changes_by_name", "name", "sequence"),
            sa.Index("changes_by_time", "time", "sequence"),
            # A sequence is never given twice, not even that of a pruned row.
            sqlite_autoincrement=True,
        )
        self.requests = sa.Table(
            "requests",
            metadata,
            sa.Column("request", sa.Text, primary_key=True),
            sa.Column("method", sa.Text, nullable=False),
            sa.Column("digest", sa.Text, nullable=False),
            sa.Column("response", sa.LargeBinary, nullable=False),
            sa.Column("expire_time", UtcTime, nullable=False, index=True),
        )

    @property
    def columns(self) -> Sequence[sa.Column[Any]]:
        """Columns of a resource that are read: documents are only asked."""
        return [c for c in self.resources.c if c.name not in ("fields", "lists")]

    def all(self) -> tuple[sa.Table, ...]:
        """Every table, for a migration."""
        return self.resources, self.changes, self.requests


def parent_of(name: str) -> str:
    """The parent of a resource name; empty at the top."""
    return "/".join(name.split("/")[:-2])


class Resources:
    """Reads and writes resources inside of transactions."""

    def __init__(self, tables: ResourceTables) -> None:
        self.tables = tables
        self._t = tables.resources
        self._changes = tables.changes
        self._requests = tables.requests
        c = tables.changes.c
        self._news = (
            sa.select(c.sequence, c.type, c.name, c.kind, c.time, c.actor, c.payload)
            .where(c.sequence > sa.bindparam("behind", type_=sa.BigInteger))
            .order_by(c.sequence)
            .limit(sa.bindparam("most", type_=sa.Integer))
        )
        self.on_commit: list[Callable[[], None]] = []
        """Called without arguments once a write holds; a feed registers here."""
        t = tables.resources
        one, some = t.c.name == sa.bindparam("of"), OneOf(t.c.name, "of")
        self._one = Prepared(sa.select(*tables.columns).where(one))
        self._some = Prepared(sa.select(*tables.columns).where(some))
        self._revision = Prepared(sa.select(t.c.revision).where(one))
        self._writing = Writing(tables)

    async def get(self, tx: Transaction, name: str) -> Stored | None:
        """Read one."""
        rows = await tx.fetch(self._one, {"of": name})
        return _stored(rows[0]) if rows else None

    async def get_many(self, tx: Transaction, names: Iterable[str]) -> dict[str, Stored]:
        """Read those of *names* that exist."""
        rows = await tx.fetch(self._some, {"of": sorted(set(names))})
        return {row.name: _stored(row) for row in rows}

    async def list(
        self, tx: Transaction, *, kind: str, parent: str = "", after: str = "", limit: int = 500
    ) -> Sequence[Stored]:
        """Read a page, by name. ``-`` for an id in *parent* reads across."""
        t = self._t
        query = sa.select(*self.tables.columns).where(t.c.kind == kind, t.c.name > after)
        if "-" in parent.split("/"):
            pattern = "/".join("%" if part == "-" else _literal(part) for part in parent.split("/"))
            query = query.where(t.c.parent.like(pattern, escape="\\"))
        elif parent:
            query = query.where(t.c.parent == parent)
        rows = (await tx.execute(query.order_by(t.c.name).limit(limit))).all()
        return [_stored(row) for row in rows]

    async def below(self, tx: Transaction, parent: str, kinds: Sequence[str]) -> Sequence[Stored]:
        """Read everything at or below *parent*; all there is if it is empty."""
        t = self._t
        query = sa.select(*self.tables.columns)
        if parent:
            query = query.where(sa.or_(t.c.name == parent, sa.and_(*_below(t, parent))))
        if kinds:
            query = query.where(t.c.kind.in_(kinds))
        return [_stored(row) for row in (await tx.execute(query.order_by(t.c.name))).all()]

    async def children(self, tx: Transaction, name: str, *, limit: int = 10) -> Sequence[str]:
        """Name what is below a resource, the first *limit* of them."""
        t = self._t
        query = sa.select(t.c.name).where(*_below(t, name)).order_by(t.c.name).limit(limit)
        return list((await tx.execute(query)).scalars().all())

    async def put(
        self,
        tx: Transaction,
        stored: Stored,
        *,
        expected_revision: int | None = None,
        actor: str = "",
    ) -> Stored:
        """Write one; answers it with its new revision.

        Args:
            tx: The transaction.
            stored: What to write.
            expected_revision: ``0``: it must not exist; ``n``: it must be at that revision;
                ``None``: whatever is there is replaced.
            actor: Who did it, for the history.

        Raises:
            AlreadyExists: it exists, and must not.
            Conflict: it is at another revision.
        """
        at = expected_revision
        if at is None:
            rows = await tx.fetch(self._revision, {"of": stored.name})
            at = rows[0].revision if rows else 0
        row = _told(ChangeType.UPDATED if at else ChangeType.CREATED, stored, actor) | {
            "parent": parent_of(stored.name),
            "uid": stored.uid,
            "create_time": stored.create_time,
            "update_time": stored.update_time,
            "fields": stored.fields,
            "lists": stored.lists,
        }
        writing = self._writing
        revision = await (writing.replace(tx, row, at) if at else writing.create(tx, row))
        if revision is None and at:
            raise _stale(stored.name)
        if revision is None:
            raise AlreadyExists(
                f"{stored.name} exists already: update it, or choose another id",
                metadata={"name": stored.name},
            )
        await self._announce(tx)
        return replace(stored, revision=revision)

    async def delete(
        self,
        tx: Transaction,
        name: str,
        *,
        time: datetime,
        expected_revision: int | None = None,
        actor: str = "",
    ) -> Stored:
        """Delete one; answers it as it was.

        Raises:
            NotFound: it does not exist.
            Conflict: it is at another revision.
        """
        stored = await self.get(tx, name)
        if stored is None:
            raise NotFound(f"{name} does not exist", metadata={"name": name})
        if expected_revision is not None and stored.revision != expected_revision:
            raise _stale(name)
        gone = _told(ChangeType.DELETED, replace(stored, update_time=time), actor)
        await tx.fetch(self._writing.tell, gone)
        await self._announce(tx)
        await tx.execute(sa.delete(self._t).where(self._t.c.name == name))
        return stored

    async def changes_after(
        self, tx: Transaction, sequence: int, *, limit: int = 1000
    ) -> Sequence[Recorded]:
        """Read what happened behind a sequence, oldest first."""
        c = self._changes
        query = sa.select(c).where(c.c.sequence > sequence).order_by(c.c.sequence).limit(limit)
        return [
            Recorded(
                sequence=row.sequence,
                type=ChangeType(row.type),
                name=row.name,
                kind=row.kind,
                time=row.time,
                actor=row.actor,
                payload=row.payload,
            )
            for row in (await tx.execute(query)).all()
        ]

    async def news(self, database: Database, sequence: int, *, limit: int) -> Sequence[Recorded]:
        """The same by one statement alone, which is the quickest."""
        rows = await database.rows(self._news, {"behind": sequence, "most": limit})
        return [
            Recorded(
                sequence=number,
                type=ChangeType(word),
                name=name,
                kind=kind,
                time=time,
                actor=actor,
                payload=payload,
            )
            for number, word, name, kind, time, actor, payload in rows
        ]

    async def span(self, tx: Transaction) -> tuple[int, int]:
        """The first and the last sequence that are known; ``(0, 0)`` while there is none."""
        c = self._changes.c.sequence
        row: Any = (await tx.execute(sa.select(sa.func.min(c), sa.func.max(c)))).one()
        return row[0] or 0, row[1] or 0

    async def last_before(self, tx: Transaction, time: datetime) -> int:
        """The last sequence of before *time*; 0 if there is none."""
        c = self._changes.c
        query = (
            sa.select(c.sequence).where(c.time < time).order_by(c.time.desc(), c.sequence.desc())
        )
        return (await tx.execute(query.limit(1))).scalar_one_or_none() or 0

    async def prune(self, tx: Transaction, before: int) -> None:
        """Forget changes up to a sequence; who resumes from there starts anew."""
        await tx.execute(sa.delete(self._changes).where(self._changes.c.sequence <= before))

    async def remembered(self, tx: Transaction, request: str, now: datetime) -> Remembered | None:
        """Find a request that was answered not long ago."""
        r = self._requests
        query = sa.select(r).where(r.c.request == request, r.c.expire_time > now)
        row = (await tx.execute(query)).one_or_none()
        if row is None:
            return None
        return Remembered(method=row.method, digest=row.digest, response=row.response)

    async def remember(
        self, tx: Transaction, request: str, answer: Remembered, *, now: datetime, until: datetime
    ) -> None:
        """Keep an answer, and forget those that are too old."""
        r = self._requests
        await tx.execute(sa.delete(r).where(r.c.expire_time <= now))
        await tx.execute(
            sa.insert(r).values(
                request=request,
                method=answer.method,
                digest=answer.digest,
                response=answer.response,
                expire_time=until,
            )
        )

    async def _announce(self, tx: Transaction) -> None:
        for call in self.on_commit:
            if call not in tx.after:
                tx.after_commit(call)
        await tx.announce()


def _told(change: ChangeType, stored: Stored, actor: str) -> dict[str, Any]:
    return {
        "type": change.value,
        "name": stored.name,
        "kind": stored.kind,
        "time": stored.update_time,
        "actor": actor,
        "payload": stored.payload,
    }


def _below(table: sa.Table, name: str) -> tuple[sa.ColumnElement[bool], ...]:
    # "0" follows "/": a range, so that the index serves it.
    return table.c.name >= f"{name}/", table.c.name < f"{name}0"


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _stale(name: str) -> Conflict:
    return Conflict(
        f"{name} has changed since it was read: read it again, and apply the change to that",
        metadata={"name": name},
    )


def _stored(row: Any) -> Stored:
    return Stored(
        name=row.name,
        kind=row.kind,
        uid=row.uid,
        revision=row.revision,
        create_time=row.create_time,
        update_time=row.update_time,
        payload=row.payload,
    )
