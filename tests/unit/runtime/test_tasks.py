"""Loops that fail and come back, and a main that ends on a signal."""

from __future__ import annotations

import asyncio
import os
import random
import signal

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from cellplane.runtime.clock import SystemClock
from cellplane.runtime.tasks import Backoff, Loop, run_until_signal


def seeded(seed: int) -> random.Random:
    """The same jitter every time."""
    return random.Random(seed)  # noqa: S311


class JumpingClock(SystemClock):
    """Time passes only by sleeping, at once."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


@given(st.integers(min_value=0, max_value=10_000), st.integers())
def test_a_delay_keeps_its_bounds(attempt: int, seed: int) -> None:
    """A delay is never negative, and never past the maximum."""
    backoff = Backoff(initial=0.1, maximum=30.0)
    assert 0.0 <= backoff.delay(attempt, seeded(seed)) <= backoff.ceiling(attempt) <= 30.0


@pytest.mark.asyncio
async def test_a_loop_survives_its_failures() -> None:
    """A loop that fails is started again, each failure is logged once, and it recovers."""
    clock, runs = JumpingClock(), 0

    async def body() -> None:
        nonlocal runs
        runs += 1
        if runs < 5:
            raise RuntimeError(f"failure {runs}")

    with structlog.testing.capture_logs() as logged:
        await Loop(name="feed", body=body, clock=clock, rng=seeded(1)).run()
    failures = [entry for entry in logged if entry["event"] == "loop.failed"]
    assert [entry["error"] for entry in failures] == [
        f"RuntimeError: failure {i}" for i in range(1, 5)
    ]
    assert [entry["event"] for entry in logged][-1] == "loop.recovered"
    assert len(clock.slept) == 4


@pytest.mark.asyncio
async def test_a_long_run_starts_the_backoff_anew() -> None:
    """A failure after a long good run is the first again."""
    clock, loop_failures = JumpingClock(), list[int]()

    async def body() -> None:
        loop_failures.append(loop.failures)
        if len(loop_failures) == 4:
            return
        clock.time += 100
        raise RuntimeError("x")

    loop = Loop(name="feed", body=body, clock=clock, rng=seeded(1))
    await loop.run()
    assert loop_failures == [0, 1, 1, 1]


@pytest.mark.asyncio
async def test_a_periodic_loop_is_cancelled_with_its_group() -> None:
    """A loop with a period runs again and again, and ends with its task group."""
    clock, runs, enough = JumpingClock(), 0, asyncio.Event()

    async def body() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            enough.set()

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        task = group.create_task(Loop(name="tick", body=body, every=7.0, clock=clock).run())
        await enough.wait()
        task.cancel()
    assert clock.slept[:2] == [7.0, 7.0]


def test_a_signal_stops_main_in_order() -> None:
    """SIGTERM sets the stop event, main ends by itself, and the exit code is 0."""
    ended = []

    async def main(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            await stop.wait()
        ended.append(True)

    assert run_until_signal(main) == 0
    assert ended == [True]


def test_a_second_signal_cancels() -> None:
    """A main that doesn't stop is cancelled by a second signal, which the exit code names."""

    async def main(stop: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(10):
            await stop.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()

    assert run_until_signal(main) == 128 + signal.SIGTERM
