"""Who has to be decided on, and who waits for what could help.

Cells that cannot be placed wait by signature: an event wakes the first of those that it could help,
and the next one only once that one got a place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heappop, heappush

from cellplane.placement.scheduler.decide import Placed, Unplaceable
from cellplane.placement.scheduler.feasible import Feasible
from cellplane.placement.scheduler.resident import Counters, Resident


class Waiting:
    """The Cells that are due, and those that are parked."""

    __slots__ = ("_cells", "_due", "_parked", "_queue", "_seen", "counters", "on", "relieved")

    def __init__(self, cells: Mapping[str, Resident], counters: Counters) -> None:
        """*cells* and *counters* are the fleet's own."""
        self._cells = cells
        self.counters = counters
        self.on: dict[str, dict[str, None]] = {}
        """By data plane, the Cells that take something of it."""
        self.relieved: dict[str, None] = {}
        """Data planes on which something got better for those that are blocked there."""
        self._parked: dict[Feasible, set[str]] = {}
        self._seen: dict[Feasible, int] = {}
        """By signature with parked Cells, the planes that were open when one was tried last."""
        self._due: dict[str, None] = {}
        self._queue: list[tuple[int, str]] = []

    def wake(self, cell: str) -> None:
        """Decide on a Cell again; not on one of which it is not known what it asks for."""
        resident = self._cells.get(cell)
        if resident is not None and not resident.restored and cell not in self._due:
            self._due[cell] = None
            self.counters.woken += 1
            heappush(self._queue, (-resident.priority, cell))

    def settle(self, cell: str) -> None:
        """A Cell does not have to be decided on any more."""
        self._due.pop(cell, None)

    def next(self) -> str | None:
        """Take out the Cell that is decided on next."""
        while self._queue or self.help():
            _, cell = heappop(self._queue)
            if cell in self._due:
                del self._due[cell]
                return cell
        return None

    def is_due(self, cell: str) -> bool:
        """Whether a Cell has to be decided on."""
        return cell in self._due

    def due(self) -> list[str]:
        """The Cells that have to be decided on, sorted."""
        self.help()
        return sorted(self._due)

    def parked(self) -> list[str]:
        """Cells that cannot be placed, sorted."""
        return sorted(cell for cells in self._parked.values() for cell in cells)

    def help(self) -> bool:
        """Wake those of the blocked and parked that what happened can help; tell if there are."""
        for name in self.relieved:
            for cell in self.on.get(name, ()):
                if isinstance(self._cells[cell].decision, Unplaceable):
                    self.wake(cell)
        self.relieved.clear()
        for feasible, waiting in self._parked.items():
            feasible.refresh()
            opened, seen = feasible.fresh & feasible.fits, self._seen.get(feasible, 0)
            self._seen[feasible] = opened
            # A group that is gone makes a skew smaller, too.
            if opened & ~seen or (opened != seen and feasible.skewed):
                self._wake_some(waiting)
        return bool(self._queue)

    def next_parked(self, resident: Resident) -> None:
        """One of a signature has got a place: there may be one for the next, too."""
        if isinstance(resident.decision, Placed):
            self._wake_some(self._parked.get(resident.feasible, ()))

    def _wake_some(self, cells: Iterable[str]) -> None:
        """Wake those that are somewhere, and the first of those that are nowhere.

        The others ask for the same: they wait for whether it finds a place.
        """
        nowhere: list[tuple[int, str]] = []
        for cell in cells:
            if self._cells[cell].data_planes:
                self.wake(cell)
            elif not self._cells[cell].restored:
                nowhere.append((-self._cells[cell].priority, cell))
        if nowhere:
            self.wake(min(nowhere)[1])

    def park(self, resident: Resident) -> None:
        """A Cell cannot be placed: it waits for what can help it."""
        feasible = resident.feasible
        self._parked.setdefault(feasible, set()).add(resident.demand.cell)
        feasible.refresh()
        self._seen[feasible] = feasible.fresh & feasible.fits

    def unpark(self, cell: str) -> None:
        """A Cell does not wait any more."""
        feasible = self._cells[cell].feasible
        waiting = self._parked.get(feasible)
        if waiting is not None:
            waiting.discard(cell)
            if not waiting:
                del self._parked[feasible]
                self._seen.pop(feasible, None)
