"""Applies many resources at once: all of them, or none, with everything that is wrong.

References may point at each other within one request, in any order: the batch is checked as the
world would be after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import DecodeError

from cellplane.api.model.v1.api_schema_pb2 import ApiSchema
from cellplane.cell.problem import Conflict, Findings, Invalid, Problem
from cellplane.model.batch import Batch, Change, complete
from cellplane.model.catalog.convert import take_schemas
from cellplane.model.check import Checker
from cellplane.model.convert import MESSAGES, Codecs
from cellplane.model.domain.kinds import APPLICABLE, Kind, ids, organization_of, project_of
from cellplane.model.effects import Effects
from cellplane.model.records import Record, Records
from cellplane.model.types import Types
from cellplane.resource.fields import clear_output, immutable_changes
from cellplane.resource.standard import etag_of
from cellplane.rpc.validation import Requests
from cellplane.store.database import Transaction

_UNREADABLE = frozenset({"REQUIRED", "ENUM_NOT_IN", "ENUM_DEFINED_ONLY"})
_TYPE_PREFIX = "cellplane.api.model.v1."


class Outcome(Enum):
    """What was done; the values are those of the contract."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    UNCHANGED = "UNCHANGED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of one resource."""

    outcome: Outcome
    resource: Any
    previous: Any
    warnings: tuple[Problem, ...] = ()
    """What is stored, but should be known."""


@dataclass(slots=True, kw_only=True)
class _Item:
    index: int
    kind: Kind
    message: Any
    record: Record | None = None
    uploads: Mapping[str, ApiSchema] = field(default_factory=dict)
    """Schemas that came along, by their place."""
    is_changed: bool = True
    is_readable: bool = True
    """Whether it means anything: required fields and enums have values."""


class Applier:
    """Applies batches inside of transactions."""

    def __init__(
        self, codecs: Codecs, records: Records, checker: Checker, effects: Effects, types: Types
    ) -> None:
        self._types = types
        self._codecs = codecs
        self._records = records
        self._checker = checker
        self._effects = effects
        self._rules = Requests()

    async def apply(self, tx: Transaction, packed: Sequence[Packed]) -> list[Applied]:
        """Bring about what is asked for.

        Raises:
            Invalid: with every finding, each at ``resources[i]…``.
            Conflict: an etag is stale.
        """
        problems: list[Problem] = []
        items = self._unpack(packed, problems)
        names = {item.message.name for item in items}
        above = {
            parent
            for item in items
            if item.kind is Kind.COMPONENT and ids(item.kind, item.message.name)
            for parent in (project_of(item.message.name), organization_of(item.message.name))
        } - names
        found = await self._records.get_many(tx, names | above)
        for item in items:
            self._prepare(item, found.get(item.message.name), problems)
        followed = await self._types.resolve(
            tx,
            [
                (item.kind, item.record.message if item.record else None, item.message)
                for item in items
                if item.is_readable
            ],
        )
        for item in items:
            complete(self._codecs, item.kind, item.message)
            item.is_changed = item.record is None or item.record.message != item.message
        changes = [
            Change(
                kind=item.kind,
                name=item.message.name,
                old=item.record.message if item.record else None,
                new=item.message,
            )
            for item in items
            if item.is_changed and item.is_readable
        ]
        uploads = {item.message.name: item.uploads for item in items if item.uploads}
        read = {name: found.get(name) for name in above}
        batch = Batch(
            self._codecs,
            self._records,
            [*changes, *followed.changes],
            uploads,
            followed.versions,
            read=read,
        )
        wrong = await self._checker.check(tx, batch)
        index_of = {item.message.name: item.index for item in items}
        for name, some in wrong.items():
            problems += [_placed(p, index_of[name]) if name in index_of else p for p in some]
        if problems:
            raise invalid(problems)
        for item in sorted(items, key=lambda i: APPLICABLE.index(i.kind)):
            if item.is_changed:
                before = item.record.stored if item.record else None
                stored = await self._records.write(tx, item.message, before)
                item.message.etag = etag_of(stored.revision)
        await self._types.write(tx, followed)
        try:
            await self._effects.apply(tx, batch)
        except Invalid as error:
            raise invalid(
                [
                    _placed(p, index_of[p.resource]) if p.resource in index_of else p
                    for p in error.problems
                ]
            ) from error
        return [_applied(item, batch.warnings) for item in items]

    def _unpack(self, packed: Sequence[Packed], problems: list[Problem]) -> list[_Item]:
        items: list[_Item] = []
        seen: dict[str, int] = {}
        for index, one in enumerate(packed):
            at = Findings(problems, f"resources[{index}]")
            type_name = one.type_url.rsplit("/", 1)[-1]
            kind = next((k for k in APPLICABLE if f"{_TYPE_PREFIX}{k.value}" == type_name), None)
            if kind is None:
                there = ", ".join(k.value for k in APPLICABLE)
                at.add(
                    "KIND_UNKNOWN",
                    f'"{type_name}" cannot be applied: apply one of {there}',
                    value=type_name,
                )
                continue
            try:
                message: Any = MESSAGES[kind].FromString(one.value)
            except DecodeError:
                at.add("RESOURCE_UNREADABLE", f"the bytes are not a {kind.value}")
                continue
            if message.name in seen:
                at.at("name").add(
                    "NAME_DUPLICATE",
                    f'"{message.name}" is resources[{seen[message.name]}], too: keep one',
                    value=message.name,
                )
                continue
            seen[message.name] = index
            try:
                self._rules.check(message)
            except Invalid as error:
                problems += [
                    replace(_placed(p, index), resource=message.name) for p in error.problems
                ]
                broken = any(p.reason in _UNREADABLE for p in error.problems)
                items.append(_Item(index=index, kind=kind, message=message, is_readable=not broken))
            else:
                items.append(_Item(index=index, kind=kind, message=message))
        return items

    def _prepare(self, item: _Item, record: Record | None, problems: list[Problem]) -> None:
        """Make the message whole, as it would be stored, and see whether that is a change."""
        message = item.message
        item.record = record
        if message.etag and (record is None or message.etag != etag_of(record.stored.revision)):
            raise Conflict(
                f"{message.name} has changed since it was read: read it again, or apply it "
                "without an etag",
                metadata={"name": message.name},
            )
        old = record.message if record is not None and record.kind is item.kind else None
        clear_output(message)
        message.ClearField("etag")
        if old is not None:
            findings = Findings(problems, f"resources[{item.index}]", message.name)
            immutable_changes(old, message, findings)
            message.uid = old.uid
            message.create_time.CopyFrom(old.create_time)
            message.update_time.CopyFrom(old.update_time)
        if item.kind is Kind.COMPONENT:
            item.uploads = take_schemas(message)


def _placed(problem: Problem, index: int) -> Problem:
    return replace(problem, field=f"resources[{index}].{problem.field}".removesuffix("."))


def invalid(problems: Sequence[Problem]) -> Invalid:
    """One error for many findings; its message names the first."""
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    where = f"{first.field}: " if first.field else ""
    return Invalid(
        f"nothing was stored: {where}{first.message}{more}",
        problems=problems,
        reason="RESOURCE_INVALID",
    )


def _applied(item: _Item, warnings: Iterable[Problem]) -> Applied:
    record = item.record
    resource, previous = item.message, None
    if record is not None:
        previous = type(item.message)()
        previous.CopyFrom(record.message)
        previous.etag = etag_of(record.stored.revision)
        if not item.is_changed:
            resource = previous
    outcome = (
        Outcome.CREATED
        if record is None
        else Outcome.UPDATED
        if item.is_changed
        else Outcome.UNCHANGED
    )
    return Applied(
        outcome=outcome,
        resource=resource,
        previous=previous,
        warnings=tuple(w for w in warnings if w.resource == item.message.name),
    )
