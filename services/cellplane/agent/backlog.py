"""What of a Cell is not in place yet, why, and when it is tried next.

An object is in place when it was applied as it is wanted and nobody changed it since. What fails is
tried again with growing pauses; what somebody changes is repaired at once, but one who changes it
again and again is not fought for every price.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cellplane.agent.objects import Outcome, Result, Wanted
from cellplane.cell.manifest import PHASE_ORDER, ObjectKey, Phase
from cellplane.runtime.tasks import Backoff

_GATES: Final = (Phase.NAMESPACE, Phase.GUARD, Phase.POLICY)
_RETRY: Final = Backoff(initial=0.5, maximum=30.0)
_LASTING_RETRY: Final = Backoff(initial=1.0, maximum=120.0)
"""Of what is refused: only a change by somebody else helps, which nobody tells."""
_FIGHT: Final = Backoff(initial=0.5, maximum=60.0)
_FREE_REPAIRS: Final = 3
_CALM: Final = 60.0
"""Seconds without a change after which a fight is over."""
NEVER: Final = float("inf")
"""A time that does not come."""


@dataclass(slots=True)
class _Retry:
    result: Result
    attempts: int
    due: float


@dataclass(slots=True)
class _Fight:
    count: int = 0
    last: float = -_CALM


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifted:
    """An object that somebody changed; no fields if it is gone."""

    fields: tuple[str, ...]
    seen_time: datetime


class Backlog:
    """The objects of one Cell that are not in place. Times are seconds of a monotonic clock."""

    def __init__(self, keys: Iterable[ObjectKey], rng: random.Random) -> None:
        self.keys = set(keys)
        self._rng = rng
        self._retries: dict[ObjectKey, _Retry] = {}
        self._drifted: dict[ObjectKey, Drifted] = {}
        self._fights: dict[ObjectKey, _Fight] = {}
        self._blocked: dict[ObjectKey, Result] = {}

    def renew(self, key: ObjectKey, *, applied: bool) -> None:
        """An object is wanted otherwise than before; *applied* if it is so already."""
        self._retries.pop(key, None)
        if not applied:
            self.keys.add(key)
            self._drifted.pop(key, None)
        elif key not in self._drifted:
            self.keys.discard(key)

    def forget(self, key: ObjectKey) -> None:
        """An object is not wanted any more."""
        self.keys.discard(key)
        for kept in (self._retries, self._drifted, self._fights, self._blocked):
            kept.pop(key, None)

    def due(self, now: float) -> set[ObjectKey]:
        """What to try now. What was blocked is looked at again each time."""
        blocked = [k for k, r in self._retries.items() if r.result.outcome is Outcome.BLOCKED]
        self._blocked = {key: self._retries.pop(key).result for key in blocked}
        return {key for key in self.keys if self._when(key) <= now}

    def next_due(self) -> float:
        """When something is to be tried next; ``NEVER`` while nothing is."""
        return min((self._when(key) for key in self.keys), default=NEVER)

    def failures(self) -> dict[ObjectKey, Result]:
        """What did not work, by object."""
        return {key: retry.result for key, retry in self._retries.items()}

    def fail(self, result: Result, now: float, retry_after: float) -> bool:
        """Something did not work; whether that is news."""
        before = self._retries.get(result.key)
        attempts = before.attempts + 1 if before is not None else 0
        refused = result.outcome in (Outcome.FORBIDDEN, Outcome.INVALID)
        backoff = _LASTING_RETRY if refused else _RETRY
        pause = max(backoff.ceiling(attempts) * self._rng.uniform(0.7, 1.0), retry_after)
        self._retries[result.key] = _Retry(result, attempts, now + pause)
        return before is None or before.result != result

    def block(self, wanted: Wanted, blocker: ObjectKey) -> Result | None:
        """Something waits for another object; what to say, if that is news."""
        result = Result(
            key=wanted.key,
            outcome=Outcome.BLOCKED,
            message=f"waits for {blocker}",
            part=wanted.part,
        )
        self._retries[wanted.key] = _Retry(result, 0, NEVER)
        return result if self._blocked.get(wanted.key) != result else None

    def closed_gates(
        self, objects: Mapping[ObjectKey, Wanted], phase: Phase
    ) -> dict[str, ObjectKey]:
        """By part, an object that must be in place before anything of *phase* may be."""
        found: dict[str, ObjectKey] = {}
        for key in self.keys:
            gate = objects[key]
            if gate.phase in _GATES and PHASE_ORDER[gate.phase] < PHASE_ORDER[phase]:
                found[gate.part] = key
        return found

    def parts(self, objects: Mapping[ObjectKey, Wanted]) -> frozenset[str]:
        """Parts that are not in place: what they are to lose may still be needed."""
        return frozenset(objects[key].part for key in self.keys)

    def try_again(self) -> None:
        """What failed may work now."""
        for retry in self._retries.values():
            retry.due = 0.0

    def is_drifted(self, key: ObjectKey) -> bool:
        """Whether somebody changed it."""
        return key in self._drifted

    def drift(self, result: Result, drifted: Drifted, now: float) -> bool:
        """Somebody changed an object; whether they did so again and again.

        Args:
            result: What to say of it while it is not repaired at once.
            drifted: What was seen.
            now: When.
        """
        key = result.key
        known = self._drifted.get(key)
        if known is not None:
            self._drifted[key] = Drifted(fields=drifted.fields, seen_time=known.seen_time)
            return False
        self._drifted[key] = drifted
        self.keys.add(key)
        fight = self._fights.setdefault(key, _Fight())
        fight.count = fight.count + 1 if now - fight.last < _CALM else 1
        fight.last = now
        fought = fight.count - _FREE_REPAIRS
        if fought > 0:
            self._retries[key] = _Retry(result, fight.count, now + _FIGHT.ceiling(fought - 1))
        return fought > 0

    def settle(self, key: ObjectKey) -> Drifted | None:
        """An object is in place; what had been changed, if somebody had."""
        self.keys.discard(key)
        self._retries.pop(key, None)
        return self._drifted.pop(key, None)

    def _when(self, key: ObjectKey) -> float:
        retry = self._retries.get(key)
        return retry.due if retry is not None else 0.0
