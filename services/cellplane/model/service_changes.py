"""What happened to resources, on the wire: who changed which fields, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from cellplane.api.model.v1 import resource_change_pb2 as pb
from cellplane.api.model.v1 import resource_change_pb2_grpc
from cellplane.cell.problem import Invalid, NotFound, Problem
from cellplane.model.convert import MESSAGES
from cellplane.model.domain.kinds import Kind, kind_of
from cellplane.resource.differences import Difference, differences
from cellplane.resource.lists import page, read_query
from cellplane.rpc.pagination import Cursor, PageTokens
from cellplane.store.database import Database, Transaction
from cellplane.store.history import Event, History
from cellplane.store.resources import ChangeType

_SEGMENT: Final = "/resourceChanges/"
_TYPES: Final[Mapping[ChangeType, pb.ResourceChange.Type.ValueType]] = MappingProxyType(
    {
        ChangeType.CREATED: pb.ResourceChange.CREATED,
        ChangeType.UPDATED: pb.ResourceChange.UPDATED,
        ChangeType.DELETED: pb.ResourceChange.DELETED,
    }
)


class ResourceChangeService(resource_change_pb2_grpc.ResourceChangeServiceServicer):
    """See ``model/v1/resource_change.proto``."""

    def __init__(self, database: Database, history: History, tokens: PageTokens) -> None:
        self._database = database
        self._history = history
        self._tokens = tokens

    async def GetResourceChange(  # noqa: N802 - the contract's name
        self, request: pb.GetResourceChangeRequest, context: Any
    ) -> pb.ResourceChange:
        """Read one change."""
        del context
        resource, _, number = request.name.rpartition(_SEGMENT)
        if kind_of(resource) is None or not number.isdecimal():
            raise _invalid("name", request.name, "organizations/acme/resourceChanges/7")
        async with self._database.snapshot() as tx:
            event = await self._history.event(tx, resource, int(number))
        if event is None:
            raise NotFound(
                f"{request.name} does not exist, or is not kept any more",
                metadata={"name": request.name},
            )
        return told(event)

    async def ListResourceChanges(  # noqa: N802
        self, request: pb.ListResourceChangesRequest, context: Any
    ) -> pb.ListResourceChangesResponse:
        """List what happened to a resource, the newest first."""
        del context
        if kind_of(request.parent) is None:
            raise _invalid("parent", request.parent, "organizations/acme")
        query = read_query(request, pb.ResourceChange.DESCRIPTOR)
        async with self._database.snapshot() as tx:
            source = _Source(self._history, tx, request.parent)
            found, token = await page(source, request, query, self._tokens, parent=request.parent)
        answer = pb.ListResourceChangesResponse(next_page_token=token)
        answer.resource_changes.extend(found)
        return answer


@dataclass(frozen=True, slots=True, kw_only=False)
class _Source:
    """Changes of a resource and of what is below it, the newest first."""

    history: History
    tx: Transaction
    parent: str
    ordered: bool = False

    async def read(self, after: Cursor, limit: int) -> Sequence[tuple[Cursor, Any]]:
        """Read a stretch."""
        events = await self.history.events(
            self.tx,
            self.parent,
            recursive=True,
            before=int(after[-1]) if after else None,
            limit=limit,
        )
        return [((str(event.change.sequence),), told(event)) for event in events]


def told(event: Event) -> pb.ResourceChange:
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
        for difference in _differences(event):
            _add(answer.fields.add(path=difference.path), difference)
    return answer


def _differences(event: Event) -> list[Difference]:
    change = event.change
    message = MESSAGES[Kind(change.kind)]
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


def _invalid(field: str, value: str, example: str) -> Invalid:
    problem = Problem(
        reason="NAME_INVALID",
        message=f'"{value}" is not a name: write one such as {example}',
        field=field,
        value=value,
    )
    return Invalid(problem.message, problems=[problem], reason="REQUEST_INVALID")
