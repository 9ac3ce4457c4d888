"""What the agent says of a Cell, as values; made when they are sent, so that the latest wins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cellplane.agent.objects import Result
from cellplane.agent.rollup import Component
from cellplane.cell.condition import Cause, Health
from cellplane.cell.manifest import ObjectKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of a revision's objects."""

    cell: str
    revision: int
    complete: bool
    results: tuple[Result, ...] = ()
    removed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReport:
    """How an object is; ``UNSPECIFIED`` when it is gone."""

    key: ObjectKey
    part: str
    owner: str
    health: Health
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellReport:
    """How a Cell is."""

    cell: str
    revision: int
    health: Health
    cause: Cause | None
    components: tuple[Component, ...]
    objects: tuple[ObjectReport, ...]
    full: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Somebody changed, or removed, what was applied."""

    cell: str
    key: ObjectKey
    part: str
    fields: tuple[str, ...]
    repaired: bool
    seen_time: datetime


class Outbox(Protocol):
    """Is told that there is something to say; asks for it when it can be sent."""

    def applied_due(self, cell: str) -> None:
        """``Applied`` is to be sent now."""
        ...

    def report_due(self, cell: str) -> None:
        """``CellReport`` is to be sent now."""
        ...

    def drifted(self, drift: Drift) -> None:
        """``Drift`` is to be sent."""
        ...

    def facts_due(self) -> None:
        """``Facts`` are to be sent, if others were."""
        ...
