"""A loop whose time goes on at once when nobody has anything to do, so that waiting costs nothing.

Sockets, files and threads are real: before time is skipped, they have a moment to be ready. A
thread that takes longer than that sees time run past it, as on a machine that is slow.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

_MOMENT = 0.0005
_START = datetime(2030, 1, 1, tzinfo=UTC)


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        found = super().select(min(timeout, _MOMENT))
        if not found and timeout > _MOMENT:
            self.skipped += timeout - _MOMENT
        return found


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that skips what it would sleep."""

    def __init__(self) -> None:
        self._skipping = _Selector()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Seconds, with those that were skipped."""
        return super().time() + self._skipping.skipped


class LoopClock:
    """The clock of the loop that runs."""

    def now(self) -> datetime:
        """A time of day that goes on as the loop's does."""
        return _START + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """The loop's time."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` of the loop's time."""
        await asyncio.sleep(seconds)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end, as ``asyncio.run`` does."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
