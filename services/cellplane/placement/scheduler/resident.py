"""One Cell of a fleet, what became of it, and the work that was done for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cellplane.cell.requirement import Spread
from cellplane.placement.scheduler.decide import Decision
from cellplane.placement.scheduler.feasible import Feasible
from cellplane.placement.scheduler.snapshot import Demand


@dataclass(slots=True, kw_only=True)
class Resident:
    """One Cell of the fleet."""

    demand: Demand
    bound: Demand
    feasible: Feasible
    decision: Decision | None = None
    spreads: tuple[Spread, ...] = ()
    leaving: dict[str, str] = field(default_factory=dict)
    """Data planes that it has to leave, and why."""
    taken: dict[str, dict[str, int]] = field(default_factory=dict)
    """By data plane, what it takes there, or has reserved."""
    restored: bool = False
    """Whether it was only read from a store: what it asks for is not known yet."""
    intends: tuple[tuple[str, str], ...] = ()
    """Cells whose place it is about to take, and where."""
    said: bool = False
    """Whether everybody can know of that."""

    @property
    def data_planes(self) -> tuple[str, ...]:
        """Where it is to be, or stays."""
        return self.decision.data_planes if self.decision is not None else ()

    @property
    def priority(self) -> int:
        """Cells with more are decided first."""
        return self.demand.requirement.priority or 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A decision that is another than the one before."""

    cell: str
    before: tuple[str, ...]
    decision: Decision
    causes: Mapping[str, str] = field(default_factory=dict)
    """By data plane that it leaves, why: the word of the rule."""
    preempts: tuple[tuple[str, str], ...] = ()
    """Cells that had to go for it, and from where."""
    announces: tuple[tuple[str, str], ...] = ()
    """Cells that have to go for it next, unless there is room by then."""


@dataclass(slots=True, kw_only=True)
class Counters:
    """Work done."""

    evaluated: int = 0
    """Decisions made."""
    affected: int = 0
    """Decisions that differ from the ones before."""
    moved: int = 0
    """Copies that had to leave a data plane."""
    parked: int = 0
    """Cells that could not be placed any more, or not at all."""
    woken: int = 0
    """Cells that something happened to."""
