"""The observability service's gRPC faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cellplane.api.observability.v1 import health_pb2, health_pb2_grpc, telemetry_pb2_grpc
from cellplane.api.type.v1 import compile_pb2
from cellplane.cell.problem import NotFound
from cellplane.observability.convert import (
    HealthCodec,
    cell_of_health,
    cell_of_parent,
    compile_adapter,
    read_cursor,
    read_event_name,
    write_cursor,
)
from cellplane.observability.repository import Repository
from cellplane.resource.lists import page, read_query
from cellplane.rpc.pagination import Cursor, PageTokens
from cellplane.runtime.clock import Clock


class TelemetryService(telemetry_pb2_grpc.TelemetryServiceServicer):
    """Compiles the telemetry settings of Cells."""

    def __init__(self) -> None:
        self._compile = compile_adapter()

    async def Compile(  # noqa: N802 - the contract's name
        self, request: compile_pb2.CompileRequest, context: Any
    ) -> compile_pb2.CompileResponse:
        """See ``observability/v1/telemetry.proto``."""
        del context
        return self._compile.answer(request)


class HealthService(health_pb2_grpc.HealthServiceServicer):
    """Tells how Cells are and what happened to them; see ``observability/v1/health.proto``."""

    def __init__(self, repository: Repository, tokens: PageTokens, clock: Clock) -> None:
        self._repository = repository
        self._tokens = tokens
        self._clock = clock
        self._codec = HealthCodec()

    async def GetCellHealth(  # noqa: N802
        self, request: health_pb2.GetCellHealthRequest, context: Any
    ) -> health_pb2.CellHealth:
        """Answer what is known; nothing is known of a Cell that no data plane reported."""
        del context
        cell = cell_of_health(request.name)
        return self._codec.health(cell, await self._repository.health(cell))

    async def ReportCellHealth(  # noqa: N802
        self, request: health_pb2.ReportCellHealthRequest, context: Any
    ) -> health_pb2.ReportCellHealthResponse:
        """Note a report; the same one twice is noted once."""
        del context
        await self._repository.note(
            cell_of_health(request.name),
            self._codec.report(request),
            self._codec.given(request),
            delta=request.delta,
            removed=request.removed,
            now=self._clock.now(),
        )
        return health_pb2.ReportCellHealthResponse()

    async def GetEvent(  # noqa: N802
        self, request: health_pb2.GetEventRequest, context: Any
    ) -> health_pb2.Event:
        """Answer one event."""
        del context
        found = await self._repository.event(*read_event_name(request.name))
        if found is None:
            raise NotFound(f"{request.name} does not exist", metadata={"name": request.name})
        return self._codec.event(found)

    async def ListEvents(  # noqa: N802
        self, request: health_pb2.ListEventsRequest, context: Any
    ) -> health_pb2.ListEventsResponse:
        """Answer a page of events, newest first."""
        del context
        cell = cell_of_parent(request.parent)
        query = read_query(request, health_pb2.Event.DESCRIPTOR)
        source = _Events(cell, self._repository, self._codec)
        events, token = await page(source, request, query, self._tokens, parent=cell)
        return health_pb2.ListEventsResponse(events=events, next_page_token=token)


class _Events:
    """The events of a Cell, newest first."""

    ordered = False
    exact = False

    def __init__(self, cell: str, repository: Repository, codec: HealthCodec) -> None:
        self._cell = cell
        self._repository = repository
        self._codec = codec

    async def read(self, after: Cursor, limit: int) -> Sequence[tuple[Cursor, health_pb2.Event]]:
        """Read a stretch."""
        found = await self._repository.events(self._cell, limit=limit, before=read_cursor(after))
        return [(write_cursor(*place), self._codec.event(event)) for event, place in found]
