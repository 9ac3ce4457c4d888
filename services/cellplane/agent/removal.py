"""Removes what a Cell is to lose: one phase after the other, from the end.

Pods are gone before the policies that held them. What a component may still need, as it is not in
place itself, is kept until it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

from cellplane.agent.backlog import NEVER
from cellplane.agent.objects import Outcome, Removal, Result
from cellplane.agent.target import Removed
from cellplane.cell.manifest import PHASE_ORDER, ObjectKey
from cellplane.runtime.clock import Clock

_RECHECK: Final = 2.0
"""Seconds after which to look again at what is going, if nobody said that it is gone."""

Remove = Callable[[ObjectKey], Awaitable[tuple[Removed, str]]]
Done = Callable[[Result], None]


class Remover:
    """What is going, of one Cell."""

    def __init__(self, remove: Remove, clock: Clock) -> None:
        self._remove = remove
        self._clock = clock
        self._going: dict[ObjectKey, float] = {}
        self._failed: dict[ObjectKey, str] = {}

    def gone(self, key: ObjectKey) -> None:
        """Somebody says that an object is gone: look at once."""
        self._going.pop(key, None)

    def forget(self, key: ObjectKey) -> None:
        """An object is wanted again, or gone for good."""
        self._going.pop(key, None)
        self._failed.pop(key, None)

    def next_due(self, removals: Mapping[ObjectKey, Removal], held: Collection[str]) -> float:
        """When to look again; ``NEVER`` while nothing is going."""
        times = [
            self._going[key]
            for key, removal in removals.items()
            if key in self._going and removal.part not in held
        ]
        return min(times, default=NEVER)

    async def work(
        self, removals: Mapping[ObjectKey, Removal], held: Collection[str], done: Done
    ) -> None:
        """Go on as far as it goes now. *done* gets what is finished, or failed for the first time.

        Args:
            removals: What is to go; *done* takes out of it what is gone.
            held: Parts that are to keep what they have, for now.
            done: Is told of each object.
        """
        while left := [r for r in removals.values() if r.part not in held]:
            last = max(PHASE_ORDER[r.phase] for r in left)
            stage = [r for r in left if PHASE_ORDER[r.phase] == last]
            now = self._clock.monotonic()
            due = [r for r in stage if self._going.get(r.key, 0.0) <= now]
            await asyncio.gather(*(self._one(removal, done) for removal in due))
            if any(r.key in removals for r in stage):
                return

    async def _one(self, removal: Removal, done: Done) -> None:
        key = removal.key
        found, message = await self._remove(key)
        match found:
            case Removed.GONE:
                done(Result(key=key, outcome=Outcome.REMOVED, part=removal.part))
            case Removed.NOT_OURS:
                done(Result(key=key, outcome=Outcome.CONFLICT, message=message, part=removal.part))
            case Removed.KEPT:
                done(Result(key=key, outcome=Outcome.KEPT, message=message, part=removal.part))
            case Removed.GOING:
                self._going[key] = self._clock.monotonic() + _RECHECK
            case Removed.FAILED:
                self._going[key] = self._clock.monotonic() + _RECHECK
                if self._failed.get(key) != message:
                    self._failed[key] = message
                    done(
                        Result(key=key, outcome=Outcome.FAILED, message=message, part=removal.part)
                    )
