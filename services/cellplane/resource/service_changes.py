"""What happened to resources, on the wire: who changed which fields, and when.

Every service that keeps resources serves this one contract, of what it keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from cellplane.api.model.v1 import resource_change_pb2 as pb
from cellplane.api.model.v1 import resource_change_pb2_grpc
from cellplane.cell.problem import Findings, Invalid, NotFound, Problem
from cellplane.resource.differences import Difference, differences
from cellplane.resource.lists import page, read_query
from cellplane.rpc.pagination import Cursor, PageTokens
from cellplane.store.database import Database, Transaction
from cellplane.store.history import Event, History
from cellplane.store.resources import ChangeType

_SEGMENT: Final = "/resourceChanges/"
_DIGITS: Final = 18
"""More digits than a database counts to."""
_TYPES: Final[Mapping[ChangeType, pb.ResourceChange.Type.ValueType]] = MappingProxyType(
    {
        ChangeType.CREATED: pb.ResourceChange.CREATED,
        ChangeType.UPDATED: pb.ResourceChange.UPDATED,
        ChangeType.DELETED: pb.ResourceChange.DELETED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """The kinds of resource that a service keeps."""

    messages: Mapping[str, type[Message]]
    """By the names of the messages."""
    collections: frozenset[tuple[str, ...]]
    """Of their names, and of what they are in: ``("organizations", "projects")``."""

    def knows(self, name: str) -> bool:
        """Whether it can be the name of a resource, or of what has some."""
        parts = name.split("/")
        return not len(parts) % 2 and tuple(parts[0::2]) in self.collections


class ResourceChangeService(resource_change_pb2_grpc.ResourceChangeServiceServicer):
    """See ``model/v1/resource_change.proto``."""

    def __init__(
        self, database: Database, history: History, tokens: PageTokens, kinds: Kinds
    ) -> None:
        self._database = database
        self._history = history
        self._tokens = tokens
        self._kinds = kinds

    async def GetResourceChange(  # noqa: N802 - the contract's name
        self, request: pb.GetResourceChangeRequest, context: Any
    ) -> pb.ResourceChange:
        """Read one change."""
        del context
        resource, number = self._parse(request.name, "name")
        async with self._database.snapshot() as tx:
            found = await self._history.named(tx, [(resource, number)])
        if not found:
            raise _missing(request.name)
        return self._told(found[0])

    async def ListResourceChanges(  # noqa: N802
        self, request: pb.ListResourceChangesRequest, context: Any
    ) -> pb.ListResourceChangesResponse:
        """List what happened to a resource, the newest first."""
        del context
        if not self._kinds.knows(request.parent):
            raise _invalid("parent", request.parent, "organizations/acme")
        query = read_query(request, pb.ResourceChange.DESCRIPTOR)
        async with self._database.snapshot() as tx:
            source = _Source(self._history, tx, request.parent, self._told)
            found, token = await page(source, request, query, self._tokens, parent=request.parent)
        answer = pb.ListResourceChangesResponse(next_page_token=token)
        answer.resource_changes.extend(found)
        return answer

    async def BatchGetResourceChanges(  # noqa: N802
        self, request: pb.BatchGetResourceChangesRequest, context: Any
    ) -> pb.BatchGetResourceChangesResponse:
        """Read several."""
        del context
        if not self._kinds.knows(request.parent):
            raise _invalid("parent", request.parent, "organizations/acme")
        keys = [self._parse(name, f"names[{i}]") for i, name in enumerate(request.names)]
        findings = Findings()
        for index, name in enumerate(request.names):
            if not name.startswith(f"{request.parent}/"):
                findings.at("names").at(index).add(
                    "PARENT_DIFFERS", f"{name} is not below {request.parent}", value=name
                )
        if findings.problems:
            first = findings.problems[0]
            raise Invalid(first.message, problems=findings.problems, reason="REQUEST_INVALID")
        async with self._database.snapshot() as tx:
            events = await self._history.named(tx, keys)
        found = {(e.change.name, e.change.sequence): self._told(e) for e in events}
        for name, key in zip(request.names, keys, strict=True):
            if key not in found:
                raise _missing(name)
        return pb.BatchGetResourceChangesResponse(resource_changes=[found[key] for key in keys])

    def _parse(self, name: str, field: str) -> tuple[str, int]:
        resource, _, number = name.rpartition(_SEGMENT)
        if not self._kinds.knows(resource) or not number.isdecimal() or len(number) > _DIGITS:
            raise _invalid(field, name, "organizations/acme/resourceChanges/7")
        return resource, int(number)

    def _told(self, event: Event) -> pb.ResourceChange:
        return told(event, self._kinds.messages)


@dataclass(frozen=True, slots=True, kw_only=False)
class _Source:
    """Changes of a resource and of what is below it, the newest first."""

    history: History
    tx: Transaction
    parent: str
    told: Callable[[Event], pb.ResourceChange]
    ordered: bool = False
    exact: bool = False

    async def read(self, after: Cursor, limit: int) -> Sequence[tuple[Cursor, Any]]:
        """Read a stretch."""
        events = await self.history.events(
            self.tx,
            self.parent,
            recursive=True,
            before=int(after[-1]) if after else None,
            limit=limit,
        )
        return [((str(event.change.sequence),), self.told(event)) for event in events]


def told(event: Event, messages: Mapping[str, type[Message]]) -> pb.ResourceChange:
    """A change as it is told, field by field."""
    change = event.change
    answer = pb.ResourceChange(
        name=f"{change.name}{_SEGMENT}{change.sequence}",
        resource_name=change.name,
        kind=change.kind,
        type=_TYPES[change.type],
        actor=change.actor,
        is_truncated=event.is_truncated,
    )
    answer.create_time.FromDatetime(change.time)
    if not event.is_truncated:
        for difference in _differences(event, messages[change.kind]):
            _add(answer.fields.add(path=difference.path), difference)
    return answer


def _differences(event: Event, message: type[Message]) -> list[Difference]:
    change = event.change
    after: Message = message.FromString(change.payload)
    match change.type:
        case ChangeType.CREATED:
            return differences(None, after)
        case ChangeType.UPDATED:
            return differences(message.FromString(event.before or b""), after)
        case ChangeType.DELETED:
            return differences(after, None)


def _add(field: pb.FieldChange, difference: Difference) -> None:
    if difference.old is not None:
        ParseDict(difference.old, field.old_value)
    if difference.new is not None:
        ParseDict(difference.new, field.new_value)


def _missing(name: str) -> NotFound:
    return NotFound(f"{name} does not exist, or is not kept any more", metadata={"name": name})


def _invalid(field: str, value: str, example: str) -> Invalid:
    problem = Problem(
        reason="NAME_INVALID",
        message=f'"{value}" is not a name: write one such as {example}',
        field=field,
        value=value,
    )
    return Invalid(problem.message, problems=[problem], reason="REQUEST_INVALID")
