"""What happened to resources, on the wire: who changed which fields, and when."""

from __future__ import annotations

from collections.abc import Mapping
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
from cellplane.rpc.pagination import Listing, PageTokens
from cellplane.store.database import Database
from cellplane.store.history import Event, History
from cellplane.store.resources import ChangeType

_SEGMENT: Final = "/resourceChanges/"
_MOST: Final = 1024 * 1024
"""Bytes in one page, about: what a resource is created with can be long."""
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
        listing = Listing(
            method="ListResourceChanges", parent=request.parent, filter=str(request.recursive)
        )
        page = self._tokens.read(listing, size=request.page_size, token=request.page_token)
        async with self._database.snapshot() as tx:
            events = await self._history.events(
                tx,
                request.parent,
                recursive=request.recursive,
                before=int(page.cursor[0]) if page.cursor else None,
                limit=page.size + 1,
            )
        answer, weight = pb.ListResourceChangesResponse(), 0
        for event in events:
            if len(answer.resource_changes) == page.size or weight > _MOST:
                last = answer.resource_changes[-1].name.rpartition("/")[2]
                answer.next_page_token = self._tokens.next(listing, (last,))
                break
            one = told(event)
            weight += one.ByteSize()
            answer.resource_changes.append(one)
        return answer


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
