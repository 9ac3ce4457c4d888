"""When and what the agent says of one Cell: what is news, at once; how it is, a little later.

Nothing is said of what is only being looked at for the first time since a start, as it means
nothing yet. A large Cell is reported less often, so that reporting never takes much of the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from cellplane.agent.objects import Result
from cellplane.agent.reports import CellReport, Outbox
from cellplane.cell.manifest import ObjectKey
from cellplane.runtime.clock import Clock

COALESCE: Final = 0.02
"""Seconds that a report waits for more to say."""
PACE: Final = 0.25
"""Least seconds between two reports: a rollout is many changes, and says them together."""
_SHARE: Final = 10
"""A report waits for so many times what the last one took."""
_LONGEST: Final = 0.5
_NEVER: Final = float("-inf")


class Teller:
    """What is still to be said of one Cell."""

    def __init__(self, cell: str, outbox: Outbox, clock: Clock, *, said: bool) -> None:
        """``said`` if the stored revision was said to be applied before."""
        self._cell = cell
        self._outbox = outbox
        self._clock = clock
        self._results: dict[ObjectKey, Result] = {}
        self._said = said
        self._full = True
        self._muted = True
        self._waiting = False
        self._took = 0.0
        self._reported = _NEVER

    def begin(self) -> None:
        """Another revision is wanted."""
        self._said = False
        self._muted = False
        self.report_due()

    def unmute(self) -> None:
        """Everything was looked at: what is seen means something now."""
        self._muted = False
        if not self._said:
            self._outbox.applied_due(self._cell)
        self.report_due()

    def say_again(self, failures: Mapping[ObjectKey, Result]) -> None:
        """What was said may be lost."""
        self._full = True
        self._said = False
        self._results |= failures
        if not self._muted:
            self._outbox.applied_due(self._cell)
            self._outbox.report_due(self._cell)

    def note(self, result: Result) -> None:
        """Something became of an object."""
        self._results[result.key] = result

    def forget(self, key: ObjectKey) -> None:
        """What became of an object is of no interest any more."""
        self._results.pop(key, None)

    def offer(self, *, complete: bool) -> None:
        """Say what was noted, and that all is applied if that is news."""
        if self._results or (complete and not self._said):
            self._outbox.applied_due(self._cell)
            self.report_due()

    def take_results(self, *, complete: bool) -> tuple[Result, ...] | None:
        """What to say now; ``None`` if there is no news."""
        if not self._results and (self._said or not complete):
            return None
        results, self._results = tuple(self._results.values()), {}
        self._said = complete
        return results

    def take_report(self, make: Callable[[bool], CellReport | None]) -> CellReport | None:
        """The report to send now; *make* is asked for all of it if *full*."""
        if self._muted:
            return None
        full, self._full = self._full, False
        began = self._clock.monotonic()
        report = make(full)
        self._took = self._clock.monotonic() - began
        return report

    def report_due(self) -> None:
        """Something that is reported changed."""
        if self._waiting or self._muted:
            return
        self._waiting = True
        paced = self._reported + PACE - self._clock.monotonic()
        wait = min(_LONGEST, max(COALESCE, paced, _SHARE * self._took))
        asyncio.get_running_loop().call_later(wait, self._report)

    def _report(self) -> None:
        self._waiting = False
        self._reported = self._clock.monotonic()
        self._outbox.report_due(self._cell)
