"""Keeps one Cell as it is wanted: one worker, phase after phase, and repairs what drifts.

Only what is not in place is written. An object waits until every policy before it (of its
component, and of the Cell) is in place, so no pod is there before its policies. Failing objects
are tried again with growing pauses while others go on. Removals come last, one phase after the
other from the end, and only of what was named and carries this Cell as its owner.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from cellplane.agent import drift
from cellplane.agent.admission import is_strict
from cellplane.agent.objects import DONE, CellState, Mark, Outcome, Removal, Result, Wanted
from cellplane.agent.observed import Live, Observed
from cellplane.agent.pods import Pod
from cellplane.agent.reports import Applied, CellReport, Drift, Outbox
from cellplane.agent.store import Store
from cellplane.agent.target import Attempt, Body, Prior, Removed, Target
from cellplane.cell.manifest import PHASE_ORDER, ObjectKey, Phase
from cellplane.runtime.clock import Clock
from cellplane.runtime.tasks import Backoff

AT_ONCE: Final = 8
"""Objects of one Cell that are written at the same time."""
COALESCE: Final = 0.02
"""Seconds that a report waits for more to say."""
_SHARE: Final = 10
"""A report waits for so many times what the last one took, so that large Cells stay quick."""
_LONGEST: Final = 0.5
_GATES: Final = (Phase.NAMESPACE, Phase.GUARD, Phase.POLICY)
_RETRY: Final = Backoff(initial=0.5, maximum=30.0)
_FIGHT: Final = Backoff(initial=0.5, maximum=60.0)
_FREE_REPAIRS: Final = 3
_CALM: Final = 60.0
_RECHECK: Final = 2.0


@dataclass(slots=True)
class _Retry:
    result: Result
    attempts: int
    due: float


@dataclass(slots=True)
class _Drifted:
    fields: tuple[str, ...]
    seen: Any
    said: bool = False


@dataclass(slots=True)
class _Fight:
    """Repairs of one object that somebody keeps on changing."""

    count: int = 0
    last: float = 0.0


class CellWorker:
    """Keeps one Cell."""

    def __init__(
        self,
        state: CellState,
        *,
        target: Target,
        store: Store,
        outbox: Outbox,
        slots: asyncio.Semaphore,
        clock: Clock,
        rng: random.Random,
        plane: Callable[[], str],
    ) -> None:
        self.state = state
        self.observed = Observed(state.namespace)
        self.gone = asyncio.Event()
        """Set when a removed Cell is gone."""
        self._target = target
        self._store = store
        self._outbox = outbox
        self._slots = slots
        self._own_slots = asyncio.Semaphore(AT_ONCE)
        self._clock = clock
        self._rng = rng
        self._plane = plane
        self._log = structlog.get_logger().bind(cell=state.cell)
        self._stir = asyncio.Event()
        self._pending: set[ObjectKey] = {
            key for key, wanted in state.objects.items() if not _is_marked(state, wanted)
        }
        self._retries: dict[ObjectKey, _Retry] = {}
        self._drifted: dict[ObjectKey, _Drifted] = {}
        self._fights: dict[ObjectKey, _Fight] = {}
        self._writing: set[ObjectKey] = set()
        self._meanwhile: dict[ObjectKey, Body] = {}
        self._going: dict[ObjectKey, float] = {}
        self._results: dict[ObjectKey, Result] = {}
        self._marks: dict[ObjectKey, Mark | None] = {}
        self._removed: set[ObjectKey] = set()
        self._unsaved = False
        self._said_complete = state.applied_revision == state.revision
        self._full = True
        self._reporting = False
        self._took = 0.0
        self._muted = True
        self._logs_wanted: set[str] = set()

    # What the session asks for.

    def adopt(self, state: CellState) -> None:
        """Go on with another revision, which is stored."""
        before = self.state
        self.state = state
        for key, wanted in state.objects.items():
            if before.objects.get(key) is wanted:
                continue
            self._retries.pop(key, None)
            if not _is_marked(state, wanted):
                self._pending.add(key)
                self._drifted.pop(key, None)
            elif key not in self._drifted:
                self._pending.discard(key)
        for key in set(before.objects) - set(state.objects):
            self._forget(key)
        self._said_complete = False
        self._muted = False
        self.observed.touch()
        self._stir.set()
        self._due_report()

    def unmute(self) -> None:
        """Everything was looked at once since the start: what is seen means something now."""
        self._muted = False
        if not self._said_complete:
            self._outbox.applied_due(self.state.cell)
        self._due_report()

    def resend(self) -> None:
        """Say everything again, as what was said may be lost."""
        self._full = True
        self._said_complete = False
        self._results |= {key: retry.result for key, retry in self._retries.items()}
        if not self._muted:
            self._outbox.applied_due(self.state.cell)
            self._outbox.report_due(self.state.cell)

    def take_applied(self) -> Applied | None:
        """What became of objects since this was asked last; nothing if there is no news."""
        complete = self._sayable()
        if not self._results and (self._said_complete or not complete):
            return None
        results, self._results = tuple(self._results.values()), {}
        self._said_complete = complete
        return Applied(
            cell=self.state.cell,
            revision=self.state.revision,
            complete=complete,
            results=results,
            removed=self.gone.is_set(),
        )

    def take_report(self) -> CellReport | None:
        """How the Cell is, if that is news."""
        if self._muted or self.state.removed:
            return None
        full, self._full = self._full, False
        began = self._clock.monotonic()
        report = self.observed.report(
            self.state,
            {key: retry.result for key, retry in self._retries.items()},
            self._pending,
            plane=self._plane(),
            full=full,
        )
        self._took = self._clock.monotonic() - began
        return report

    # What the target tells.

    def object_seen(self, key: ObjectKey, body: Body) -> None:
        """An object is there, new or changed."""
        version = _version(body)
        known = self.observed.live.get(key)
        if known is not None and known.version >= version:
            return
        wanted = self.state.objects.get(key)
        if wanted is None:
            return
        self._see(wanted, body, version)
        if key in self._writing:
            # Looked at when the write is done, which may be what it shows.
            self._meanwhile[key] = body
            return
        mark = self.state.marks.get(key)
        if mark is None or mark.digest != wanted.digest:
            return
        if body.get("metadata", {}).get("deletionTimestamp"):
            return
        if key in self._pending and key not in self._drifted:
            return
        found = self._differences(wanted, body, mark)
        if found:
            self._drift(key, tuple(d.pointer for d in found))
        elif key in self._drifted:
            del self._drifted[key]
            self._retries.pop(key, None)
            self._pending.discard(key)

    def object_gone(self, key: ObjectKey, version: int) -> None:
        """An object is gone."""
        known = self.observed.live.get(key)
        if known is not None and version and known.version > version:
            return
        self.observed.live.pop(key, None)
        if key in self.state.removals:
            self._going.pop(key, None)
            self._stir.set()
        wanted = self.state.objects.get(key)
        if wanted is not None:
            self.observed.touch(wanted.part)
            self._due_report()
            if key in self.state.marks and key not in self._writing:
                self._drift(key, ())

    def missing(self, key: ObjectKey) -> bool:
        """Whether an object was applied, and so should be there."""
        return key in self.state.marks and key in self.state.objects

    def pod_seen(self, pod: Pod) -> None:
        """A pod is there, new or changed."""
        if self.observed.pod_seen(pod):
            if pod.crashed and pod.uid not in self.observed.log_lines:
                self._logs_wanted.add(pod.name)
                self._stir.set()
            self._due_report()

    def changed(self) -> None:
        """Something that is reported changed."""
        self._due_report()

    def try_again(self) -> None:
        """What failed may work now."""
        for retry in self._retries.values():
            retry.due = 0.0
        self._stir.set()

    # The work.

    async def run(self) -> None:
        """Work until the Cell is removed, or cancelled."""
        while not self.gone.is_set():
            self._stir.clear()
            await self._pass()
            if self.state.removed and self._complete():
                await self._finish()
                return
            await self._fetch_logs()
            await self._wait()

    async def _pass(self) -> None:
        revision = self.state.revision
        await self._apply_due()
        if self.state.revision == revision:
            await self._remove_due()
        complete = self._complete() and not self.state.removed
        if complete and self.state.applied_revision != self.state.revision:
            self.state.applied_revision = self.state.revision
            self._unsaved = True
        if self._results or (complete and not self._said_complete):
            self._outbox.applied_due(self.state.cell)
            self._due_report()
        if self._marks or self._removed or self._unsaved:
            marks, self._marks = self._marks, {}
            removed, self._removed = self._removed, set()
            self._unsaved = False
            await self._store.save_progress(self.state, marks=marks, removed=removed)

    async def _apply_due(self) -> None:
        revision = self.state.revision
        now = self._clock.monotonic()
        for key in [k for k, r in self._retries.items() if r.result.outcome is Outcome.BLOCKED]:
            del self._retries[key]
        due = [self.state.objects[key] for key in self._pending if self._when(key) <= now]
        fresh = False
        for phase in Phase:
            batch = [wanted for wanted in due if wanted.phase is phase]
            if not batch:
                continue
            gates = self._closed_gates(phase)
            free: list[Wanted] = []
            for wanted in batch:
                if blocker := gates.get("") or gates.get(wanted.part):
                    self._block(wanted, blocker)
                else:
                    free.append(wanted)
            outcomes = await self._apply_all(free, fresh=fresh)
            if phase is Phase.NAMESPACE:
                fresh = Outcome.CREATED in outcomes
            if self.state.revision != revision:
                self._stir.set()
                return

    async def _apply_all(self, batch: Sequence[Wanted], *, fresh: bool) -> list[Outcome]:
        new = [wanted for wanted in batch if wanted.key not in self.state.marks]
        prior = (
            await self._target.prior(self.state.cell, new)
            if new and not fresh
            else {wanted.key: Prior.ABSENT for wanted in new}
        )
        return list(
            await asyncio.gather(*(self._apply(wanted, prior.get(wanted.key)) for wanted in batch))
        )

    async def _apply(self, wanted: Wanted, prior: Prior | None) -> Outcome:
        key = wanted.key
        mark = self.state.marks.get(key)
        if prior is Prior.TAKEN:
            message = f"{key} is there and is not of this Cell: delete it, or use another name"
            attempt = Attempt(outcome=Outcome.CONFLICT, message=message)
        elif prior is None and mark is None:
            message = f"whether {key} is there already is not known now"
            attempt = Attempt(outcome=Outcome.FAILED, message=message)
        else:
            async with self._own_slots, self._slots:
                self._writing.add(key)
                try:
                    known = self.observed.live.get(key)
                    attempt = await self._target.apply(
                        wanted,
                        force=mark is not None or prior is Prior.OURS,
                        before=known.version if known is not None else 0,
                    )
                    attempt = await self._tighten(wanted, mark, attempt)
                finally:
                    self._writing.discard(key)
        self._settle(wanted, attempt)
        return attempt.outcome

    async def _tighten(self, wanted: Wanted, mark: Mark | None, attempt: Attempt) -> Attempt:
        """Take fields out of a policy that somebody else put in: an apply leaves them."""
        strict = is_strict(wanted.phase, wanted.key.kind)
        if not strict or attempt.live is None or mark is None or mark.digest != wanted.digest:
            return attempt
        if not self._differences(wanted, attempt.live, mark):
            return attempt
        return await self._target.replace(wanted, attempt.live)

    def _settle(self, wanted: Wanted, attempt: Attempt) -> None:
        key = wanted.key
        meanwhile = self._meanwhile.pop(key, None)
        result = Result(key=key, outcome=attempt.outcome, message=attempt.message, part=wanted.part)
        if attempt.outcome not in DONE or attempt.live is None:
            self._fail(result, attempt.retry_after)
            return
        left = self._differences(wanted, attempt.live, None)
        mark = Mark(
            digest=wanted.digest,
            uid=str(attempt.live.get("metadata", {}).get("uid", "")),
            residual={d.pointer: d.live for d in left},
        )
        self._marks[key] = self.state.marks[key] = mark
        self._retries.pop(key, None)
        self.observed.touch(wanted.part)
        if (drifted := self._drifted.pop(key, None)) is not None:
            self._say_drift(wanted, drifted, repaired=True)
        if self.state.objects.get(key) is not wanted:
            return
        if drifted is None:
            self._results[key] = result
        self._pending.discard(key)
        version = _version(attempt.live)
        if meanwhile is None or _version(meanwhile) <= version:
            self._see(wanted, attempt.live, version)
        elif found := self._differences(wanted, meanwhile, mark):
            self._drift(key, tuple(d.pointer for d in found))
        self._due_report()

    def _fail(self, result: Result, retry_after: float) -> None:
        before = self._retries.get(result.key)
        attempts = before.attempts + 1 if before is not None else 0
        delay = max(_RETRY.ceiling(attempts) * self._rng.uniform(0.7, 1.0), retry_after)
        self._retries[result.key] = _Retry(result, attempts, self._clock.monotonic() + delay)
        if before is None or before.result != result:
            self._results[result.key] = result
            self._log.warning(
                "object.failed",
                object=str(result.key),
                outcome=result.outcome.value,
                message=result.message,
            )
        self.observed.touch(result.part)

    def _block(self, wanted: Wanted, blocker: ObjectKey) -> None:
        result = Result(
            key=wanted.key,
            outcome=Outcome.BLOCKED,
            message=f"waits for {blocker}",
            part=wanted.part,
        )
        self._retries[wanted.key] = _Retry(result, 0, float("inf"))
        self._results[wanted.key] = result
        self.observed.touch(wanted.part)

    def _closed_gates(self, phase: Phase) -> dict[str, ObjectKey]:
        """By part, an object that must be in place before anything of *phase* may be."""
        found: dict[str, ObjectKey] = {}
        for key in self._pending:
            gate = self.state.objects[key]
            if gate.phase in _GATES and PHASE_ORDER[gate.phase] < PHASE_ORDER[phase]:
                found[gate.part] = key
        return found

    async def _remove_due(self) -> None:
        while True:
            held = self._held_parts()
            left = [r for r in self.state.removals.values() if r.part not in held]
            if not left:
                return
            last = max(PHASE_ORDER[r.phase] for r in left)
            now = self._clock.monotonic()
            stage = [r for r in left if PHASE_ORDER[r.phase] == last]
            due = [r for r in stage if self._going.get(r.key, 0.0) <= now]
            await asyncio.gather(*(self._remove(removal) for removal in due))
            if any(r.key in self.state.removals for r in stage):
                return

    async def _remove(self, removal: Removal) -> None:
        key = removal.key
        async with self._own_slots, self._slots:
            found, message = await self._target.remove(self.state.cell, key)
        match found:
            case Removed.GONE | Removed.NOT_OURS:
                self.state.removals.pop(key, None)
                self._removed.add(key)
                self._forget(key)
                outcome = Outcome.REMOVED if found is Removed.GONE else Outcome.CONFLICT
                self._results[key] = Result(
                    key=key, outcome=outcome, message=message, part=removal.part
                )
            case Removed.GOING:
                self._going[key] = self._clock.monotonic() + _RECHECK
            case Removed.FAILED:
                self._going[key] = self._clock.monotonic() + _RECHECK
                failed = Result(key=key, outcome=Outcome.FAILED, message=message, part=removal.part)
                self._results[key] = failed

    def _held_parts(self) -> frozenset[str]:
        """Parts that are not in place: what is to go may still be needed."""
        return frozenset(self.state.objects[key].part for key in self._pending)

    async def _finish(self) -> None:
        await self._store.forget(self.state.cell)
        self.gone.set()
        self._outbox.applied_due(self.state.cell)

    async def _wait(self) -> None:
        held = self._held_parts()
        times = [self._when(key) for key in self._pending]
        times += [
            self._going[key]
            for key, removal in self.state.removals.items()
            if key in self._going and removal.part not in held
        ]
        times = [t for t in times if t != float("inf")]
        if not times:
            await self._stir.wait()
            return
        left = min(times) - self._clock.monotonic()
        if left <= 0:
            return
        try:
            async with asyncio.timeout(left):
                await self._stir.wait()
        except TimeoutError:
            return

    async def _fetch_logs(self) -> None:
        while self._logs_wanted:
            pod = self.observed.pods.get(self._logs_wanted.pop())
            if pod is None:
                continue
            lines = await self._target.log_lines(self.state.namespace, pod.name, pod.container)
            self.observed.log_lines[pod.uid] = lines
            self.observed.touch(pod.part)
            self._due_report()

    # Small things.

    def _drift(self, key: ObjectKey, fields: tuple[str, ...]) -> None:
        wanted = self.state.objects[key]
        before = self._drifted.get(key)
        self._drifted[key] = _Drifted(fields, before.seen if before else self._clock.now())
        self._pending.add(key)
        self.observed.touch(wanted.part)
        if before is not None:
            return
        now = self._clock.monotonic()
        fight = self._fights.setdefault(key, _Fight())
        fight.count = fight.count + 1 if now - fight.last < _CALM else 1
        fight.last = now
        if fight.count > _FREE_REPAIRS:
            # Somebody changes it again and again: go on, but not for every price.
            delay = _FIGHT.ceiling(fight.count - _FREE_REPAIRS - 1)
            message = f"is changed again and again: {', '.join(fields) or 'deleted'}"
            result = Result(key=key, outcome=Outcome.CONFLICT, message=message, part=wanted.part)
            self._retries[key] = _Retry(result, fight.count, now + delay)
            self._say_drift(wanted, self._drifted[key], repaired=False)
        self._stir.set()

    def _say_drift(self, wanted: Wanted, drifted: _Drifted, *, repaired: bool) -> None:
        self._outbox.drifted(
            Drift(
                cell=self.state.cell,
                key=wanted.key,
                part=wanted.part,
                fields=drifted.fields,
                repaired=repaired,
                seen_time=drifted.seen,
            )
        )

    def _differences(
        self, wanted: Wanted, body: Body, mark: Mark | None
    ) -> tuple[drift.Difference, ...]:
        return drift.differences(
            drift.parse(wanted.content),
            body,
            strict=is_strict(wanted.phase, wanted.key.kind),
            exact=self._target.exact,
            residual=mark.residual if mark is not None else None,
        )

    def _see(self, wanted: Wanted, body: Body, version: int) -> None:
        known = self.observed.live.get(wanted.key)
        live = Live(
            version=version,
            uid=str(body.get("metadata", {}).get("uid", "")),
            state=self._target.health(body),
            update_revision=str((body.get("status") or {}).get("updateRevision", "")),
        )
        self.observed.live[wanted.key] = live
        if known is None or (known.state, known.update_revision) != (
            live.state,
            live.update_revision,
        ):
            self.observed.calm(wanted.key.kind, wanted.key.object)
            self.observed.touch(wanted.part)
            self._due_report()

    def _forget(self, key: ObjectKey) -> None:
        self._pending.discard(key)
        self._retries.pop(key, None)
        self._drifted.pop(key, None)
        self._fights.pop(key, None)
        self._going.pop(key, None)
        self._results.pop(key, None)
        self.observed.live.pop(key, None)
        if key not in self.state.removals and self.state.marks.pop(key, None) is not None:
            self._marks[key] = None

    def _when(self, key: ObjectKey) -> float:
        retry = self._retries.get(key)
        return retry.due if retry is not None else 0.0

    def _complete(self) -> bool:
        return not self._pending and not self.state.removals

    def _sayable(self) -> bool:
        """Whether it can be said that all is done: of a removal, once it is forgotten."""
        return self._complete() and (not self.state.removed or self.gone.is_set())

    def _due_report(self) -> None:
        if not self._reporting and not self._muted:
            self._reporting = True
            wait = min(_LONGEST, max(COALESCE, _SHARE * self._took))
            asyncio.get_running_loop().call_later(wait, self._report_now)

    def _report_now(self) -> None:
        self._reporting = False
        self._outbox.report_due(self.state.cell)


def _is_marked(state: CellState, wanted: Wanted) -> bool:
    mark = state.marks.get(wanted.key)
    return mark is not None and mark.digest == wanted.digest


def _version(body: Body) -> int:
    text = str(body.get("metadata", {}).get("resourceVersion", ""))
    return int(text) if text.isdecimal() else 0


def keys_of(states: Collection[CellState]) -> set[tuple[str, str]]:
    """The kinds that these Cells have objects of."""
    return {
        (key.api_version, key.kind) for state in states for key in (*state.objects, *state.removals)
    }
