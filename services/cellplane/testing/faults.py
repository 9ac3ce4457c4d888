"""What goes wrong on a bad line, message by message, from a seed.

Pure: the same seed makes the same faults of the same messages. What is held back to be late is told
with the next message, so a line that goes quiet loses it until somebody speaks again, or ends.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Generic, TypeVar

M = TypeVar("M")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often each thing happens to a message: 0 never, 1 always."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    """The message comes after the next one."""
    replay: float = 0.0
    """A message from long ago comes again."""
    cut: float = 0.0
    """The stream ends with the message."""


class Line(Generic[M]):
    """One direction of one stream."""

    _REMEMBERED = 64

    def __init__(self, faults: Faults, rng: random.Random) -> None:
        self.faults = faults
        """May be changed at any time."""
        self._rng = rng
        self._late: list[M] = []
        self._past: list[M] = []
        self.is_cut = False
        """Whether the stream is to end."""

    def take(self, message: M) -> list[M]:
        """What arrives, in order, when this is sent."""
        faults, rng = self.faults, self._rng
        if rng.random() < faults.cut:
            self.is_cut = True
            return []
        arriving: list[M] = []
        if rng.random() < faults.reorder and not self._late:
            self._late.append(message)
            return arriving
        if rng.random() >= faults.loss:
            arriving.append(message)
        if rng.random() < faults.duplicate:
            arriving.append(message)
        arriving += self._late
        self._late.clear()
        if self._past and rng.random() < faults.replay:
            arriving.append(rng.choice(self._past))
        if len(self._past) < self._REMEMBERED:
            self._past.append(message)
        else:
            self._past[rng.randrange(self._REMEMBERED)] = message
        return arriving
