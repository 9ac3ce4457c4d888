"""One worker for each key, never two at once, and the latest wins.

A key that is woken while its worker runs is run once more afterwards, however often it was woken. A
run that fails is tried again after a pause that grows; waking it again skips the pause.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import structlog

from cellplane.cell.problem import Unavailable
from cellplane.runtime.tasks import Backoff


class Workers:
    """Runs ``body(key)`` for keys that were woken, a few of them at a time.

    Keys that are woken with ``soon`` go before those that are not. A key waits ``settle`` seconds
    for more to happen, and runs at most every ``pace`` seconds.
    """

    def __init__(
        self,
        name: str,
        body: Callable[[str], Awaitable[None]],
        *,
        at_once: int = 8,
        settle: float = 0.0,
        pace: float = 0.0,
        backoff: Backoff | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._name = name
        self._body = body
        self._at_once = at_once
        self._settle = settle
        self._pace = pace
        self._backoff = backoff or Backoff(initial=0.2, maximum=3.0)
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._soon: dict[str, None] = {}
        self._later: dict[str, None] = {}
        self._running: dict[str, bool] = {}
        self._failures: dict[str, int] = {}
        self._pauses: dict[str, asyncio.TimerHandle] = {}
        self._resting: dict[str, bool] = {}
        """Keys that do not run yet or again, and whether they are to."""
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._stir = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._log = structlog.get_logger()

    def wake(self, key: str, *, soon: bool = True) -> None:
        """Run a key, now or as soon as it is done running."""
        pause = self._pauses.pop(key, None)
        if pause is not None:
            pause.cancel()
        self._idle.clear()
        if key in self._running:
            self._running[key] = True
        elif key in self._resting:
            self._resting[key] = True
        elif self._settle and key not in self._soon and key not in self._later:
            self._rest(key, self._settle, woken=True)
        else:
            self._queue(key, soon=soon)

    def _queue(self, key: str, *, soon: bool) -> None:
        if soon:
            self._later.pop(key, None)
            self._soon[key] = None
        elif key not in self._soon:
            self._later[key] = None
        self._stir.set()

    def _rest(self, key: str, seconds: float, *, woken: bool) -> None:
        self._resting[key] = woken
        loop = asyncio.get_running_loop()
        self._timers[key] = loop.call_later(seconds, self._rested, key)

    def _rested(self, key: str) -> None:
        del self._timers[key]
        if self._resting.pop(key):
            self._queue(key, soon=True)
        else:
            self._notice_idle()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            try:
                while True:
                    await self._stir.wait()
                    self._stir.clear()
                    while (self._soon or self._later) and len(self._running) < self._at_once:
                        queue = self._soon or self._later
                        key = next(iter(queue))
                        del queue[key]
                        self._running[key] = False
                        group.create_task(self._one(key), name=f"{self._name} {key}")
            finally:
                for timer in (*self._pauses.values(), *self._timers.values()):
                    timer.cancel()
                self._pauses.clear()
                self._timers.clear()

    async def idle(self) -> None:
        """Return when nothing is to be done, not even later."""
        await self._idle.wait()

    async def _one(self, key: str) -> None:
        try:
            await self._body(key)
        except Exception as error:  # noqa: BLE001 - whatever it is, one key must not end all
            self._fail(key, error)
        else:
            if self._failures.pop(key, 0):
                self._log.info("worker.recovered", worker=self._name, key=key)
        again = self._running.pop(key)
        if self._pace and key not in self._pauses:
            self._rest(key, self._pace, woken=again)
        elif again:
            self.wake(key)
        self._notice_idle()
        self._stir.set()

    def _notice_idle(self) -> None:
        waiting = self._soon or self._later or self._pauses or any(self._resting.values())
        if not (self._running or waiting):
            self._idle.set()

    def _fail(self, key: str, error: Exception) -> None:
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        delay = self._backoff.delay(failures - 1, self._rng)
        expected = isinstance(error, Unavailable)
        self._log.warning(
            "worker.failed",
            worker=self._name,
            key=key,
            failures=failures,
            retry_in=round(delay, 3),
            error=f"{type(error).__name__}: {error}",
            exc_info=failures == 1 and not expected,
        )
        loop = asyncio.get_running_loop()
        self._pauses[key] = loop.call_later(delay, self.wake, key)
