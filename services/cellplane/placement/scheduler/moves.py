"""Make before break: the steps of one copy of a Cell from one data plane to another.

Reserved with the decision; made on the new plane; traffic cut over once it is ready there; the old
one drained; then removed. Until the cut-over, a plane that comes back cancels the move.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final


class Step(Enum):
    """How far a move is."""

    RESERVED = "RESERVED"
    MAKING = "MAKING"
    CUT_OVER = "CUT_OVER"
    DRAINING = "DRAINING"
    DONE = "DONE"
    CANCELLED = "CANCELLED"


NEXT: Final = {
    Step.RESERVED: Step.MAKING,
    Step.MAKING: Step.CUT_OVER,
    Step.CUT_OVER: Step.DRAINING,
    Step.DRAINING: Step.DONE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One copy on its way."""

    cell: str
    leaves: str
    """Empty for a copy that is new."""
    comes: str
    """Empty for a copy that is not wanted any more."""
    reason: str
    step: Step = Step.RESERVED
    times: tuple[tuple[Step, float], ...] = ()
    """When each step began."""

    @property
    def over(self) -> bool:
        """Whether nothing follows."""
        return self.step in (Step.DONE, Step.CANCELLED)

    @property
    def can_be_cancelled(self) -> bool:
        """Whether all traffic is still where it was."""
        return self.step in (Step.RESERVED, Step.MAKING)

    def begin(self, now: float) -> Move:
        """Note when it was reserved."""
        return replace(self, times=((Step.RESERVED, now),))

    def proceed(self, now: float) -> Move:
        """The next step."""
        return self._to(NEXT[self.step], now)

    def cancel(self, now: float) -> Move:
        """Stay where it was."""
        return self._to(Step.CANCELLED, now)

    def _to(self, step: Step, now: float) -> Move:
        return replace(self, step=step, times=(*self.times, (step, now)))


def moves_of(
    cell: str, before: tuple[str, ...], after: tuple[str, ...], causes: dict[str, str]
) -> list[Move]:
    """What has to be moved for a decision: each plane that is left for one that comes."""
    leaves = [name for name in before if name not in after]
    comes = [name for name in after if name not in before]
    found: list[Move] = []
    for at in range(max(len(leaves), len(comes))):
        left = leaves[at] if at < len(leaves) else ""
        new = comes[at] if at < len(comes) else ""
        reason = causes.get(left, "FEWER_COPIES") if left else "NEW_COPY"
        found.append(Move(cell=cell, leaves=left, comes=new, reason=reason))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long moves take, in seconds."""

    make_seconds: float = 0.0
    drain_seconds: float = 0.0


class Moves:
    """Moves that are not over, and those that just were, by Cell."""

    __slots__ = ("_by_cell",)

    def __init__(self) -> None:
        self._by_cell: dict[str, dict[tuple[str, str], Move]] = {}

    def put(self, move: Move) -> None:
        """A move began, or is further."""
        self._by_cell.setdefault(move.cell, {})[move.leaves, move.comes] = move

    def begin(self, move: Move, now: float) -> None:
        """A move begins; one that left where it comes to is not wanted any more."""
        for older in self.of(move.cell):
            if older.leaves and older.leaves == move.comes:
                self.take(older)
        self.put(move.begin(now))

    def get(self, cell: str, leaves: str, comes: str) -> Move | None:
        """One move."""
        return self._by_cell.get(cell, {}).get((leaves, comes))

    def of(self, cell: str) -> tuple[Move, ...]:
        """The moves of a Cell that are not over, by the plane that is left."""
        mine = (m for m in self._by_cell.get(cell, {}).values() if not m.over)
        return tuple(sorted(mine, key=lambda m: (m.leaves, m.comes)))

    def every(self) -> list[Move]:
        """All of them."""
        return [move for mine in self._by_cell.values() for move in mine.values()]

    def take(self, move: Move) -> None:
        """Forget one."""
        mine = self._by_cell.get(move.cell, {})
        mine.pop((move.leaves, move.comes), None)
        if not mine:
            self._by_cell.pop(move.cell, None)

    def forget(self, cell: str) -> None:
        """Forget all of a Cell."""
        self._by_cell.pop(cell, None)

    def instead(self, move: Move) -> Move:
        """A copy that had not arrived goes elsewhere: it comes from where it still is."""
        for other in self.of(move.cell) if move.leaves and move.comes else ():
            if other.comes == move.leaves and other.can_be_cancelled:
                self.take(other)
                return replace(move, leaves=other.leaves, reason=other.reason)
        return move
