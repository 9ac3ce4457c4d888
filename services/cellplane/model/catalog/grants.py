"""Grants: a consumer asks, the owner decides, and only what is in force opens a path.

The table ``grants`` holds what is in force alone: resolution reads nothing else. Every change of it
resolves both sides again, in its own transaction. The provider stops to let a caller in even where
the caller's Cell keeps its last whole revision, and what a broken Cell keeps is closed, too.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp

from cellplane.api.model.v1 import access_grant_pb2
from cellplane.cell.names import last_segment
from cellplane.cell.problem import (
    Conflict,
    FailedPrecondition,
    Findings,
    Invalid,
    NotFound,
    Precondition,
)
from cellplane.model.batch import Batch
from cellplane.model.catalog.in_force import EVERYWHERE
from cellplane.model.closing import Closer
from cellplane.model.convert import Codecs
from cellplane.model.domain.close import Path
from cellplane.model.domain.kinds import (
    Kind,
    check_reference,
    ids,
    organization_of,
    parent_of,
    project_of,
)
from cellplane.model.records import Record, Records
from cellplane.model.resolution import Resolver, Shift
from cellplane.model.tables import calls, grants
from cellplane.resource.standard import revision_of
from cellplane.rpc.identity import current_principal
from cellplane.store.database import Transaction

State = access_grant_pb2.AccessGrant
_WORDS: Final = {
    State.ACTIVE: "approved",
    State.DENIED: "denied",
    State.REVOKED: "revoked",
    State.EXPIRED: "expired",
}
_FROM: Final = {
    State.ACTIVE: (State.PENDING, State.DENIED),
    State.DENIED: (State.PENDING,),
    State.REVOKED: (State.ACTIVE,),
    State.EXPIRED: (State.ACTIVE,),
}


class GrantRows:
    """The grants that are in force, as rows; and a bell for whoever waits for the next to end."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()

    async def write(self, tx: Transaction, grant: State) -> None:
        """Put a grant in force."""
        await self.forget(tx, grant.name)
        expires = grant.HasField("expire_time")
        own = {
            "name": grant.name,
            "provider": parent_of(grant.name),
            "endpoint": grant.endpoint,
            "consumer": grant.consumer,
            "expire_time": _time(grant.expire_time) if expires else None,
        }
        rows = [own | {"environment": e} for e in (grant.environments or [EVERYWHERE])]
        await tx.execute(sa.insert(grants), rows)
        tx.after_commit(self.changed.set)

    async def forget(self, tx: Transaction, name: str) -> None:
        """Put a grant out of force."""
        await tx.execute(sa.delete(grants).where(grants.c.name == name))

    async def forget_consumer(self, tx: Transaction, project: str) -> None:
        """Put every grant of a consumer that goes out of force: another may come by its name."""
        await tx.execute(sa.delete(grants).where(grants.c.consumer == project))

    async def due(self, tx: Transaction, now: datetime) -> list[str]:
        """Names of grants whose time is over."""
        query = sa.select(grants.c.name).where(grants.c.expire_time <= now).distinct()
        return sorted((await tx.execute(query)).scalars())

    async def next_end(self, tx: Transaction) -> datetime | None:
        """When the next grant ends, if any does."""
        query = sa.select(grants.c.expire_time).where(grants.c.expire_time.is_not(None))
        rows = await tx.execute(query.order_by(grants.c.expire_time).limit(1))
        found: datetime | None = rows.scalar_one_or_none()
        return found

    async def used(self, tx: Transaction, grant: State) -> list[tuple[str, str]]:
        """Environment and caller of every connection that a grant is about."""
        c = calls.c
        query = sa.select(c.environment, c.caller).where(
            c.target == parent_of(grant.name),
            c.endpoint == grant.endpoint,
            # "0" follows "/": a range of names.
            c.caller >= f"{grant.consumer}/",
            c.caller < f"{grant.consumer}0",
        )
        return [(row.environment, row.caller) for row in (await tx.execute(query)).all()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What somebody decided of a grant."""

    state: State.State.ValueType
    comment: str = ""
    etag: str = ""
    expire_time: Timestamp | None = field(default=None)


class Grants:
    """Asks for grants and decides on them, inside of transactions."""

    def __init__(
        self,
        codecs: Codecs,
        records: Records,
        resolver: Resolver,
        closer: Closer,
        rows: GrantRows,
    ) -> None:
        self._codecs = codecs
        self._records = records
        self._resolver = resolver
        self._closer = closer
        self.rows = rows

    async def ask(
        self, tx: Transaction, parent: str, own_id: str, asked: access_grant_pb2.AccessGrant
    ) -> Record:
        """Note that a consumer asks.

        Raises:
            NotFound: there is no such component.
            Invalid: with every finding.
        """
        provider = await self._records.get(tx, parent)
        if provider is None:
            raise NotFound(f"{parent} does not exist", metadata={"name": parent})
        grant = access_grant_pb2.AccessGrant()
        grant.CopyFrom(asked)
        grant.name = f"{parent}/accessGrants/{own_id or 'g-' + uuid.uuid4().hex[:12]}"
        grant.state = State.PENDING
        grant.requester = current_principal().name
        for output in ("decider", "decide_time", "decision_comment", "reconciling"):
            grant.ClearField(output)
        findings = Findings(path="access_grant")
        await self._check(tx, grant, provider, findings)
        if findings.problems:
            raise Invalid(
                f"nothing was stored: {findings.problems[0].message}",
                problems=findings.problems,
                reason="RESOURCE_INVALID",
            )
        stored = await self._records.write(tx, grant, None)
        return Record(stored=stored, message=grant)

    async def _check(
        self,
        tx: Transaction,
        grant: access_grant_pb2.AccessGrant,
        provider: Record,
        findings: Findings,
    ) -> None:
        parent = parent_of(grant.name)
        endpoint = next(
            (e for e in provider.message.endpoints if e.endpoint == grant.endpoint), None
        )
        if endpoint is None or not endpoint.requires_grant:
            guarded = [e.endpoint for e in provider.message.endpoints if e.requires_grant]
            findings.at("endpoint").add(
                "ENDPOINT_NOT_FOUND" if endpoint is None else "GRANT_NOT_NEEDED",
                f'component "{parent}" has no endpoint "{grant.endpoint}" that needs a grant: '
                f"those that do are {', '.join(guarded) or 'none'}",
                value=grant.endpoint,
            )
        organization = organization_of(parent)
        named = [(Kind.PROJECT, grant.consumer, findings.at("consumer"))]
        named += [
            (Kind.ENVIRONMENT, name, findings.at("environments").at(index))
            for index, name in enumerate(grant.environments)
        ]
        there = await self._records.get_many(tx, {name for _, name, _ in named})
        for kind, name, at in named:
            if check_reference(kind, name, organization, at) and name not in there:
                at.add("REFERENCE_NOT_FOUND", f'{kind.value} "{name}" does not exist', value=name)
        if grant.consumer == project_of(parent):
            findings.at("consumer").add(
                "GRANT_NOT_NEEDED",
                f'"{grant.consumer}" is the endpoint\'s own project, which needs no grant',
                value=grant.consumer,
            )
        self._check_end(grant, findings)

    def _check_end(self, grant: access_grant_pb2.AccessGrant, findings: Findings) -> None:
        if grant.HasField("expire_time") and _time(grant.expire_time) <= self._records.clock.now():
            findings.at("expire_time").add(
                "TIME_PAST", "is over already: name a time that is to come, or none"
            )

    async def decide(self, tx: Transaction, name: str, decision: Decision) -> Record:
        """Decide on a grant, and resolve again whom that touches.

        Raises:
            NotFound: there is no such grant.
            Conflict: the etag is stale.
            FailedPrecondition: it is in no state that this decision is for.
        """
        record = await self._get(tx, name)
        if decision.etag and revision_of(decision.etag) != record.stored.revision:
            raise Conflict(
                f"{name} has changed since it was read: read it again, then decide",
                metadata={"name": name},
            )
        grant = access_grant_pb2.AccessGrant()
        grant.CopyFrom(record.message)
        if grant.state not in _FROM[decision.state]:
            raise _not_now(grant, decision.state)
        if decision.expire_time is not None:
            grant.expire_time.CopyFrom(decision.expire_time)
        if decision.state == State.ACTIVE:
            findings = Findings()
            self._check_end(grant, findings)
            if findings.problems:
                raise Invalid(
                    f"expire_time {findings.problems[0].message}", problems=findings.problems
                )
        grant.state = decision.state
        grant.decider = current_principal().name
        grant.decide_time.FromDatetime(self._records.clock.now())
        grant.decision_comment = decision.comment
        stored = await self._records.write(tx, grant, record.stored)
        if decision.state == State.ACTIVE:
            await self.rows.write(tx, grant)
        else:
            await self.rows.forget(tx, name)
        if State.ACTIVE in (decision.state, record.message.state):
            await self._resolve(tx, grant)
        return Record(stored=stored, message=grant)

    async def remove(self, tx: Transaction, record: Record) -> None:
        """Delete a grant; what it opened is closed."""
        await self._records.remove(tx, record.stored.name)
        await self.rows.forget(tx, record.stored.name)
        if record.message.state == State.ACTIVE:
            ended = State()
            ended.CopyFrom(record.message)
            ended.state = State.REVOKED
            await self._resolve(tx, ended)

    async def expire(self, tx: Transaction) -> None:
        """End the grants whose time is over."""
        for name in await self.rows.due(tx, self._records.clock.now()):
            if await self._records.get(tx, name) is None:
                await self.rows.forget(tx, name)
            else:
                await self.decide(tx, name, Decision(state=State.EXPIRED))

    async def _resolve(self, tx: Transaction, grant: access_grant_pb2.AccessGrant) -> None:
        touched: dict[str, set[str]] = defaultdict(set)
        for environment, caller in await self.rows.used(tx, grant):
            if not grant.environments or environment in grant.environments:
                touched[environment] |= {caller, parent_of(grant.name)}
        shifts = {e: Shift(again=frozenset(names)) for e, names in touched.items()}
        await self._resolver.settle(tx, Batch(self._codecs, self._records, []), shifts)
        if grant.state != State.ACTIVE:
            await self._close(tx, grant)

    async def _close(self, tx: Transaction, grant: access_grant_pb2.AccessGrant) -> None:
        """Close it in Cells that could not be resolved, too."""
        provider = parent_of(grant.name)
        environments: Collection[str] = grant.environments
        if not environments:
            organization = organization_of(provider)
            found = await self._records.below(tx, organization, [Kind.ENVIRONMENT])
            environments = [record.stored.name for record in found]
        path = Path(provider=provider, endpoint=grant.endpoint, consumer=grant.consumer)
        # What was settled is read anew.
        batch = Batch(self._codecs, self._records, [])
        await self._closer.close(tx, batch, path, environments)

    async def _get(self, tx: Transaction, name: str) -> Record:
        found = await self._records.get(tx, name) if ids(Kind.ACCESS_GRANT, name) else None
        if found is None:
            raise NotFound(f"{name} does not exist", metadata={"name": name})
        return found


async def end_in_time(grants: Grants, transactions: Any) -> None:
    """End each grant when its time is over; runs as long as the service does."""
    longest = 30.0  # another replica's grants ring no bell here
    while True:
        grants.rows.changed.clear()
        async with transactions.database.snapshot() as tx:
            end = await grants.rows.next_end(tx)
        wait = longest
        if end is not None:
            wait = (end - transactions.clock.now()).total_seconds()
        if wait <= 0:
            async with transactions.database.transaction() as tx:
                await grants.expire(tx)
            continue
        try:
            async with asyncio.timeout(min(wait, longest)):
                await grants.rows.changed.wait()
        except TimeoutError:
            continue


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


def _not_now(
    grant: access_grant_pb2.AccessGrant, wanted: State.State.ValueType
) -> FailedPrecondition:
    now = State.State.Name(grant.state)
    able = " or ".join(State.State.Name(s) for s in _FROM[wanted])
    return FailedPrecondition(
        f"access grant {last_segment(grant.name)} is {now}, and only one that is {able} can be "
        f"{_WORDS[wanted]}: ask for a new one",
        reason="GRANT_STATE",
        preconditions=[
            Precondition(type="GRANT_STATE", subject=grant.name, description=f"must be {able}")
        ],
        metadata={"name": grant.name, "state": now},
    )
