"""A cluster that does not take what it is given for an hour, on virtual time."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from cellplane.agent.cells import Cells
from cellplane.agent.objects import Outcome, Verdict, Wanted
from cellplane.agent.outbox import DueOutbox
from cellplane.agent.store import Store
from cellplane.agent.target import Attempt
from cellplane.cell.condition import Health
from cellplane.cell.manifest import ObjectKey
from cellplane.testing import virtual
from cellplane.testing.virtual import LoopClock
from tests.unit.agent.memory import MemoryTarget
from tests.unit.agent.test_apply import NAME, _object, _want

HOUR = 3600.0


class AwayTarget(MemoryTarget):
    """A cluster that answers every write with a failure, until its time has come."""

    def __init__(self, message: str, until: float) -> None:
        super().__init__()
        self.tries: Counter[ObjectKey] = Counter()
        self._message = message
        self._until = until

    async def apply(self, wanted: Wanted, *, force: bool, before: int) -> Attempt:
        """Write it, once the cluster is back."""
        self.tries[wanted.key] += 1
        if asyncio.get_running_loop().time() < self._until:
            return Attempt(outcome=Outcome.FAILED, message=self._message)
        return await super().apply(wanted, force=force, before=before)


async def outage(folder: Path, message: str, names: Sequence[str]) -> AwayTarget:
    """Want objects, wait for the end of the hour and some more; answers the cluster."""
    clock, rng = LoopClock(), random.Random(1)  # noqa: S311 - a seed
    target = AwayTarget(message, clock.monotonic() + HOUR)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store(folder / "agent.db"))
        outbox = DueOutbox()
        cells = Cells(
            target=target, store=store, outbox=outbox, clock=clock, rng=rng, plane=lambda: "east"
        )
        await cells.load()
        run = asyncio.create_task(cells.run())
        stack.push_async_callback(_end, run)
        want, contents = _want(1, *(_object(name, "1") for name in names))
        assert (await cells.accept(want, contents)).verdict is Verdict.ACCEPTED
        await clock.sleep(HOUR / 2)
        report = cells.take_report(NAME)
        assert report is not None
        assert report.health is Health.PROGRESSING
        assert report.cause is not None
        assert message in report.cause.message
        await clock.sleep(HOUR / 2)
        for _ in range(1000):
            # The store's thread takes real time, which the loop's may run past.
            if len(target.objects) == len(names) and cells.inventory()[0].applied_revision:
                break
            await clock.sleep(1)
        assert {key.object for key in target.objects} == set(names)
        applied = cells.take_applied(NAME)
        assert applied is not None
        assert applied.complete
    return target


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("connection refused", id="case_80_its_api_is_away"),
        pytest.param(
            "unable to create new content in namespace because it is being terminated",
            id="case_86_its_namespace_does_not_end",
        ),
    ],
)
def test_cases_80_and_86_an_outage_of_an_hour_is_said_and_made_good(
    tmp_path: Path, message: str
) -> None:
    """The cause is reported, tries grow further apart, and all is there soon after the end."""
    target = virtual.run(outage(tmp_path, message, ("a", "b", "c")))
    # At most one try in half a minute, after the first few.
    assert all(5 < count < HOUR / 20 for count in target.tries.values())
