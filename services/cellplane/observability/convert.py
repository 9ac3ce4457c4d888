"""Between the wire and the domain of the observability service."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from cellplane.api.observability.v1 import health_pb2
from cellplane.cell.names import CellName
from cellplane.cell.problem import Invalid, Problem
from cellplane.observability.analysis.transitions import DataPlaneHealth, Event
from cellplane.observability.compiler.compile import compile as compile_telemetry
from cellplane.rpc.codec import Codec
from cellplane.rpc.compile import CompileAdapter
from cellplane.rpc.pagination import Cursor

_HEALTH = "/health"


def compile_adapter() -> CompileAdapter:
    """Serve the compiler of telemetry settings."""
    return CompileAdapter(compile_telemetry, reads=("component", "kind"))


class HealthCodec:
    """Converts health and events."""

    __slots__ = ("_event", "_plane")

    def __init__(self) -> None:
        self._plane = Codec(DataPlaneHealth, health_pb2.DataPlaneHealth)
        self._event = Codec(Event, health_pb2.Event)

    def report(self, request: health_pb2.ReportCellHealthRequest) -> DataPlaneHealth:
        """Read what is reported; raises ``Invalid`` if it names no data plane."""
        if not request.health.data_plane:
            raise _invalid("health.data_plane", "health names no data plane: say which it is of")
        return self._plane.to_domain(request.health)

    def given(self, request: health_pb2.ReportCellHealthRequest) -> tuple[Event, ...]:
        """Read the events that came with a report."""
        return tuple(self._event.to_domain(event) for event in request.events)

    def health(self, cell: str, planes: Iterable[DataPlaneHealth]) -> health_pb2.CellHealth:
        """Write the health of a Cell."""
        return health_pb2.CellHealth(
            name=f"{cell}{_HEALTH}", data_planes=[self._plane.to_wire(plane) for plane in planes]
        )

    def event(self, event: Event) -> health_pb2.Event:
        """Write an event."""
        return self._event.to_wire(event)


_EVENT = re.compile(r"(?P<cell>.+)/events/e(?P<number>\d{1,18})")


def cell_of_health(name: str) -> str:
    """Read the Cell's name out of its health's; raises ``Invalid`` if it is none."""
    cell = CellName.parse(name.removesuffix(_HEALTH)) if name.endswith(_HEALTH) else None
    if cell is None:
        raise _invalid(
            "name", f'"{name}" does not name the health of a Cell: '
            "organizations/*/projects/*/cells/*/health", name
        )  # fmt: skip
    return str(cell)


def cell_of_parent(parent: str) -> str:
    """Read the name of a Cell; raises ``Invalid`` if it is none."""
    cell = CellName.parse(parent)
    if cell is None:
        raise _invalid(
            "parent", f'"{parent}" does not name a Cell: organizations/*/projects/*/cells/*', parent
        )
    return str(cell)


def read_event_name(name: str) -> tuple[str, int]:
    """Read the Cell and the number out of an event's name; raises ``Invalid`` if it is none."""
    found = _EVENT.fullmatch(name)
    if found is None or CellName.parse(found["cell"]) is None:
        raise _invalid(
            "name",
            f'"{name}" does not name an event: organizations/*/projects/*/cells/*/events/*',
            name,
        )
    return found["cell"], int(found["number"])


def write_cursor(time: datetime, sequence: int) -> Cursor:
    """Write the place behind an event, for a page token."""
    return time.isoformat(), sequence


def read_cursor(cursor: Cursor) -> tuple[datetime, int] | None:
    """Read what ``write_cursor`` wrote; ``None`` for the first page."""
    if not cursor:
        return None
    time, sequence = cursor
    return datetime.fromisoformat(str(time)), int(sequence)


def _invalid(field: str, message: str, value: str = "") -> Invalid:
    problem = Problem(reason="FIELD_INVALID", message=message, field=field, value=value)
    return Invalid(message, problems=[problem], reason=problem.reason)
