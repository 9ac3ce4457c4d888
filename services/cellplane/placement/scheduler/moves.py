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
