"""The standard methods of what people write, with the rules of the model in their hooks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar, cast

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from cellplane.cell.problem import Conflict, Invalid, NotFound, Problem
from cellplane.model.apply import invalid
from cellplane.model.batch import Batch, Change, complete
from cellplane.model.catalog.convert import inline_schemas, take_schemas
from cellplane.model.catalog.library import Library
from cellplane.model.check import Checker
from cellplane.model.convert import MESSAGES, Codecs
from cellplane.model.delete import Deleter
from cellplane.model.domain.kinds import COLLECTIONS, Kind
from cellplane.model.effects import Effects
from cellplane.model.records import Records
from cellplane.model.transactions import Transactions
from cellplane.model.types import Followed, Types
from cellplane.resource.names import Collection
from cellplane.resource.standard import Hooks, StandardMethods, revision_of
from cellplane.rpc.pagination import PageTokens
from cellplane.store.database import Transaction
from cellplane.store.resources import Stored

M = TypeVar("M", bound=Message)
R = TypeVar("R", bound=Message)

_checked: ContextVar[tuple[Batch, Followed] | None] = ContextVar(
    "cellplane_checked_batch", default=None
)
"""What the request at hand has checked and is about to store: nothing is looked up twice."""

_FIELDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "organizations": "organization",
        "environments": "environment",
        "deploymentPipelines": "deployment_pipeline",
        "componentTypes": "component_type",
        "componentTypeVersions": "component_type_version",
        "traits": "trait",
        "traitVersions": "trait_version",
        "projects": "project",
        "secretReferences": "secret_reference",
        "components": "component",
        "releases": "release",
        "deployments": "deployment",
        "promotions": "promotion",
        "cells": "cell",
        "catalogEntries": "catalog_entry",
        "apiSchemas": "api_schema",
        "accessGrants": "access_grant",
        "operations": "operation",
        "eventSubscriptions": "event_subscription",
        "previews": "preview",
        "resourceTypes": "resource_type",
        "resourceClaims": "resource_claim",
    }
)


def collection_of(kind: Kind) -> Collection:
    """How resources of a kind are named, and called in requests."""
    segments = COLLECTIONS[kind]
    return Collection(
        kind=kind.value,
        message=MESSAGES[kind],
        pattern="/".join(f"{segment}/{{{_FIELDS[segment]}}}" for segment in segments),
        field=_FIELDS[segments[-1]],
    )


class Methods(Generic[M]):
    """The standard methods of one kind, with its message's type."""

    __slots__ = ("_delete", "_prepare", "_standard")

    def __init__(
        self,
        standard: StandardMethods,
        delete: Callable[[Any], Awaitable[Empty]],
        prepare: Callable[[Any], Awaitable[None]],
    ) -> None:
        self._standard = standard
        self._delete = delete
        self._prepare = prepare

    async def create(self, request: Any) -> M:
        """AIP-133."""
        await self._prepare(request)
        return cast("M", await self._standard.create(request))

    async def get(self, request: Any) -> M:
        """AIP-131."""
        return cast("M", await self._standard.get(request))

    async def list(self, request: Any, response: R) -> R:
        """AIP-132."""
        return await self._standard.list(request, response)

    async def batch_get(self, request: Any, response: R) -> R:
        """AIP-231."""
        return await self._standard.batch_get(request, response)

    async def update(self, request: Any) -> M:
        """AIP-134."""
        await self._prepare(request)
        return cast("M", await self._standard.update(request))

    async def delete(self, request: Any) -> Empty:
        """AIP-135."""
        return await self._delete(request)


class Writes:
    """Makes the standard methods of each kind."""

    def __init__(
        self,
        *,
        transactions: Transactions,
        tokens: PageTokens,
        codecs: Codecs,
        records: Records,
        checker: Checker,
        effects: Effects,
        deleter: Deleter,
        library: Library,
        types: Types,
    ) -> None:
        self._library = library
        self._types = types
        self._transactions = transactions
        self._tokens = tokens
        self._codecs = codecs
        self._records = records
        self._checker = checker
        self._effects = effects
        self._deleter = deleter

    def reads(self, kind: Kind, message: type[M]) -> Methods[M]:
        """Methods of a kind that nobody writes directly."""
        return self._methods(kind, message, Hooks())

    def methods(self, kind: Kind, message: type[M], hooks: Hooks | None = None) -> Methods[M]:
        """Methods of a kind that people write; other *hooks* call those that it has anyway."""
        return self._methods(kind, message, hooks or self.hooks(kind))

    def hooks(self, kind: Kind) -> Hooks:
        """What comes with every write of a kind."""
        return Hooks(before_write=self._before(kind), after_write=self._after(kind))

    def _methods(self, kind: Kind, message: type[M], hooks: Hooks) -> Methods[M]:
        del message
        standard = StandardMethods(
            database=self._transactions.database,
            resources=self._transactions.resources,
            collection=collection_of(kind),
            tokens=self._tokens,
            clock=self._transactions.clock,
            hooks=hooks,
        )
        field = collection_of(kind).field

        async def prepare(request: Any) -> None:
            # What takes time happens before any transaction.
            await self._library.prepare(inline_schemas([getattr(request, field)]))

        return Methods(standard, lambda request: self._delete(kind, request), prepare)

    async def _delete(self, kind: Kind, request: Any) -> Empty:
        """Delete a resource (AIP-135), and with force what belongs to it."""
        collection_of(kind).parse(request.name)

        async def work(tx: Transaction) -> Empty:
            record = await self._records.get(tx, request.name)
            if record is None:
                if request.allow_missing:
                    return Empty()
                raise NotFound(f"{request.name} does not exist", metadata={"name": request.name})
            expected = revision_of(request.etag)
            if expected is not None and expected != record.stored.revision:
                raise Conflict(
                    f"{request.name} has changed since it was read: read it again, then decide",
                    metadata={"name": request.name},
                )
            force = bool(getattr(request, "force", False))
            await self._deleter.delete(tx, record, force=force)
            return Empty()

        return await self._transactions.run(request, work, Empty)

    def _before(self, kind: Kind) -> Callable[[Transaction, Any, Any], Awaitable[None]]:
        field = collection_of(kind).field

        async def before_write(tx: Transaction, new: Any, old: Any) -> None:
            uploads = {new.name: take_schemas(new)} if kind is Kind.COMPONENT else {}
            followed = await self._types.resolve(tx, [(kind, old, new)])
            complete(self._codecs, kind, new)
            change = Change(kind=kind, name=new.name, old=old, new=new)
            changes = [change, *followed.changes]
            batch = Batch(self._codecs, self._records, changes, uploads, followed.versions)
            _checked.set((batch, followed))
            wrong = await self._checker.check(tx, batch)
            problems = [
                _inside(field, p) if name == new.name else p
                for name, some in wrong.items()
                for p in some
            ]
            if problems:
                raise invalid(problems)

        return before_write

    def _after(self, kind: Kind) -> Callable[[Transaction, Any, Any, Stored], Awaitable[None]]:
        field = collection_of(kind).field

        async def after_write(tx: Transaction, new: Any, old: Any, stored: Stored) -> None:
            del old, stored
            checked = _checked.get()
            if checked is None or checked[0].changes[0].new is not new:
                raise RuntimeError(f"{new.name} was stored, but never checked")
            batch, followed = checked
            await self._types.write(tx, followed)
            try:
                await self._effects.apply(tx, batch)
            except Invalid as error:
                raise invalid([_inside(field, p) for p in error.problems]) from error

        return after_write


def _inside(field: str, problem: Problem) -> Problem:
    return replace(problem, field=f"{field}.{problem.field}")
