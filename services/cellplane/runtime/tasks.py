"""Long-running work: supervised loops inside a ``TaskGroup``, and a main that ends on a signal.

A loop that fails is logged once per failure and started again after a delay that grows, with full
jitter, so that many of them never come back together (AWS, "Exponential backoff and jitter").
"""

from __future__ import annotations

import asyncio
import gc
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from cellplane.runtime.clock import Clock, SystemClock

_COLLECT = (20_000, 20, 20)
"""What comes between two collections of each generation (``gc.set_threshold``)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before attempt ``n``; seconds."""

    initial: float = 0.1
    maximum: float = 30.0
    factor: float = 2.0

    def ceiling(self, attempt: int) -> float:
        """The longest wait before attempt ``attempt``, which counts from 0."""
        return min(self.maximum, self.initial * self.factor ** min(attempt, 64))

    def delay(self, attempt: int, rng: random.Random) -> float:
        """A wait between nothing and the ceiling (full jitter)."""
        return rng.uniform(0.0, self.ceiling(attempt))


@dataclass(slots=True, kw_only=True)
class Loop:
    """A named coroutine that is started again when it fails, or every ``every`` seconds.

    Ends when ``body`` returns and ``every`` is not set, or when it is cancelled.
    """

    name: str
    body: Callable[[], Awaitable[None]]
    every: float | None = None
    backoff: Backoff = Backoff()
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.Random)
    failures: int = 0
    """Failures in a row; a run that lasts longer than the backoff's maximum starts anew."""
    last_error: str = ""

    async def run(self) -> None:
        """Run until cancelled or done: ``group.create_task(loop.run(), name=loop.name)``."""
        log = structlog.get_logger().bind(loop=self.name)
        while True:
            started = self.clock.monotonic()
            try:
                await self.body()
            except Exception as error:
                self._count(error, self.clock.monotonic() - started)
                delay = self.backoff.delay(self.failures - 1, self.rng)
                log.error(  # noqa: TRY400 - the traceback once is enough
                    "loop.failed",
                    failures=self.failures,
                    retry_in=round(delay, 3),
                    error=self.last_error,
                    exc_info=self.failures == 1,
                )
                await self.clock.sleep(delay)
                continue
            if self.failures:
                log.info("loop.recovered", failures=self.failures)
                self.failures, self.last_error = 0, ""
            if self.every is None:
                return
            await self.clock.sleep(self.every)

    def _count(self, error: Exception, lasted: float) -> None:
        self.failures = 1 if lasted > self.backoff.maximum else self.failures + 1
        self.last_error = f"{type(error).__name__}: {error}"


def run_until_signal(main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run ``main(stop)``; SIGTERM and SIGINT set ``stop``, a second one cancels.

    Returns the exit code of the process: 0 after an orderly stop, 128 + signal after a forced one.
    """
    forced = 0

    # What was imported lives as long as the process. Left to the collector it is walked again and
    # again, in pauses that an edit on its way to a cluster would wait for.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)

    async def supervise() -> None:
        stop = asyncio.Event()
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def on_signal(number: signal.Signals) -> None:
            nonlocal forced
            if not stop.is_set():
                structlog.get_logger().info("process.stopping", signal=number.name)
                stop.set()
            elif task is not None:
                forced = 128 + number
                task.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal, number)
        try:
            await main(stop)
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    try:
        asyncio.run(supervise())
    except asyncio.CancelledError:
        return forced or 1
    return 0
