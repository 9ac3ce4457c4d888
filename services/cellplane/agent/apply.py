"""Keeps one Cell as it is wanted: one worker, phase after phase, and repairs what drifts.

Only what is not in place is written. An object waits until every policy before it (of its
component, and of the Cell) is in place, so no pod is there before its policies. Failing objects
are tried again with growing pauses while others go on. Removals come last, one phase after the
other from the end, and only of what was named and carries this Cell as its owner.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence

import structlog

from cellplane.agent.backlog import NEVER, Backlog, Drifted
from cellplane.agent.objects import DONE, CellState, Mark, Outcome, Result, Wanted
from cellplane.agent.observed import Live, Observed
from cellplane.agent.pods import Pod
from cellplane.agent.removal import Remover
from cellplane.agent.reports import Applied, CellReport, Drift, Outbox
from cellplane.agent.store import Store
from cellplane.agent.target import Attempt, Body, Prior, Target, version_of
from cellplane.agent.telling import Teller
from cellplane.agent.writer import Writer
from cellplane.cell.manifest import ObjectKey, Phase
from cellplane.runtime.clock import Clock


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
        self._writer = Writer(state.cell, target, slots)
        self._clock = clock
        self._plane = plane
        self._log = structlog.get_logger().bind(cell=state.cell)
        self._stir = asyncio.Event()
        self._backlog = Backlog(
            (key for key, wanted in state.objects.items() if not state.is_applied(wanted)), rng
        )
        self._remover = Remover(self._writer.remove, clock)
        self._writing: set[ObjectKey] = set()
        self._meanwhile: dict[ObjectKey, Body] = {}
        self._lost: dict[ObjectKey, int] = {}
        """What went while it was written, at which resource version."""
        self._teller = Teller(
            state.cell, outbox, clock, said=state.applied_revision == state.revision
        )
        self._marks: dict[ObjectKey, Mark | None] = {}
        self._removed: set[ObjectKey] = set()
        self._unsaved = False
        self._logs_wanted: set[str] = set()

    # What the session asks for.

    def adopt(self, state: CellState) -> None:
        """Go on with another revision, which is stored."""
        before = self.state
        self.state = state
        for key, wanted in state.objects.items():
            if before.objects.get(key) is wanted:
                continue
            self._backlog.renew(key, applied=state.is_applied(wanted))
            self._remover.forget(key)
        for key in set(before.objects) - set(state.objects):
            self._forget(key)
        self.observed.touch()
        self._stir.set()
        self._teller.begin()

    def unmute(self) -> None:
        """Everything was looked at once since the start: what is seen means something now."""
        self._teller.unmute()

    def resend(self) -> None:
        """Say everything again, as what was said may be lost."""
        self._teller.say_again(self._backlog.failures())

    def take_applied(self) -> Applied | None:
        """What became of objects since this was asked last; nothing if there is no news."""
        results = self._teller.take_results(complete=self._sayable())
        if results is None:
            return None
        return Applied(
            cell=self.state.cell,
            revision=self.state.revision,
            complete=self._sayable(),
            results=results,
            removed=self.gone.is_set(),
        )

    def take_report(self) -> CellReport | None:
        """How the Cell is, if that is news."""
        if self.state.removed:
            return None
        return self._teller.take_report(
            lambda full: self.observed.report(
                self.state,
                self._backlog.failures(),
                self._backlog.keys,
                plane=self._plane(),
                full=full,
            )
        )

    # What the target tells.

    def object_seen(self, key: ObjectKey, body: Body) -> None:
        """An object is there, new or changed."""
        version = version_of(body)
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
        drifted = self._backlog.is_drifted(key)
        if key in self._backlog.keys and not drifted:
            return
        found = self._writer.differences(wanted, body, mark)
        if found:
            self._drift(wanted, tuple(d.pointer for d in found))
        elif drifted:
            self._backlog.settle(key)
            self.observed.touch(wanted.part)

    def object_gone(self, key: ObjectKey, version: int) -> None:
        """An object is gone."""
        known = self.observed.live.get(key)
        if known is not None and version and known.version > version:
            return
        self.observed.live.pop(key, None)
        if key in self.state.removals:
            self._remover.gone(key)
            self._stir.set()
        wanted = self.state.objects.get(key)
        if wanted is not None:
            self.observed.touch(wanted.part)
            self._teller.report_due()
            if key in self._writing:
                self._lost[key] = version
            elif key in self.state.marks:
                self._drift(wanted, ())

    def pod_seen(self, pod: Pod) -> None:
        """A pod is there, new or changed."""
        if self.observed.pod_seen(pod):
            if pod.crashed and pod.uid not in self.observed.log_lines:
                self._logs_wanted.add(pod.name)
                self._stir.set()
            self._teller.report_due()

    def changed(self) -> None:
        """Something that is reported changed."""
        self._teller.report_due()

    def try_again(self) -> None:
        """What failed may work now."""
        self._backlog.try_again()
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
            held = self._backlog.parts(self.state.objects)
            await self._remover.work(self.state.removals, held, self._note_removal)
        complete = self._complete() and not self.state.removed
        if complete and self.state.applied_revision != self.state.revision:
            self.state.applied_revision = self.state.revision
            self._unsaved = True
        if self._marks or self._removed or self._unsaved:
            marks, self._marks = self._marks, {}
            removed, self._removed = self._removed, set()
            self._unsaved = False
            await self._store.save_progress(self.state, marks=marks, removed=removed)
        # Said only once it is kept: after a kill the agent knows what it has said.
        self._teller.offer(complete=self._complete() and not self.state.removed)

    async def _apply_due(self) -> None:
        revision = self.state.revision
        keys = self._backlog.due(self._clock.monotonic())
        due = [self.state.objects[key] for key in keys]
        fresh = False
        for phase in Phase:
            batch = [wanted for wanted in due if wanted.phase is phase]
            if not batch:
                continue
            gates = self._backlog.closed_gates(self.state.objects, phase)
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
        prior = await self._writer.prior(batch, self.state.marks, fresh=fresh)
        return list(
            await asyncio.gather(*(self._apply(wanted, prior.get(wanted.key)) for wanted in batch))
        )

    async def _apply(self, wanted: Wanted, prior: Prior | None) -> Outcome:
        key = wanted.key
        known = self.observed.live.get(key)
        before = known.version if known is not None else 0
        self._writing.add(key)
        try:
            attempt = await self._writer.write(wanted, self.state.marks.get(key), prior, before)
        finally:
            self._writing.discard(key)
        self._settle(wanted, attempt)
        return attempt.outcome

    def _settle(self, wanted: Wanted, attempt: Attempt) -> None:
        key = wanted.key
        meanwhile = self._meanwhile.pop(key, None)
        lost = self._lost.pop(key, 0)
        now_wanted = self.state.objects.get(key)
        result = Result(key=key, outcome=attempt.outcome, message=attempt.message, part=wanted.part)
        if attempt.outcome not in DONE or attempt.live is None:
            if now_wanted is wanted:
                self._fail(result, attempt.retry_after)
            return
        mark = self._writer.mark(wanted, attempt.live)
        self._marks[key] = self.state.marks[key] = mark
        self.observed.touch(wanted.part)
        if now_wanted is not wanted:
            if now_wanted is not None:
                # Another revision came while this one was written.
                self._backlog.renew(key, applied=self.state.is_applied(now_wanted))
                self._stir.set()
            return
        drifted = self._backlog.settle(key)
        if drifted is not None:
            self._say_drift(wanted, drifted, repaired=True)
        else:
            self._teller.note(result)
        version = version_of(attempt.live)
        if lost > version:
            self._drift(wanted, ())
        elif meanwhile is None or version_of(meanwhile) <= version:
            self._see(wanted, attempt.live, version)
        elif found := self._writer.differences(wanted, meanwhile, mark):
            self._drift(wanted, tuple(d.pointer for d in found))
        self._teller.report_due()

    def _fail(self, result: Result, retry_after: float) -> None:
        if self._backlog.fail(result, self._clock.monotonic(), retry_after):
            self._teller.note(result)
            self._log.warning(
                "object.failed",
                object=str(result.key),
                outcome=result.outcome.value,
                message=result.message,
            )
        self.observed.touch(result.part)

    def _block(self, wanted: Wanted, blocker: ObjectKey) -> None:
        if result := self._backlog.block(wanted, blocker):
            self._teller.note(result)
        self.observed.touch(wanted.part)

    def _note_removal(self, result: Result) -> None:
        if result.outcome is not Outcome.FAILED:
            self.state.removals.pop(result.key, None)
            self._removed.add(result.key)
            self._forget(result.key)
        self._teller.note(result)

    async def _finish(self) -> None:
        await self._store.forget(self.state.cell)
        self.gone.set()
        self._outbox.applied_due(self.state.cell)

    async def _wait(self) -> None:
        held = self._backlog.parts(self.state.objects)
        going = self._remover.next_due(self.state.removals, held)
        soonest = min(self._backlog.next_due(), going)
        left = None if soonest == NEVER else soonest - self._clock.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._stir.wait()

    async def _fetch_logs(self) -> None:
        while self._logs_wanted:
            pod = self.observed.pods.get(self._logs_wanted.pop())
            if pod is None:
                continue
            lines = await self._target.log_lines(self.state.namespace, pod.name, pod.container)
            self.observed.log_lines[pod.uid] = lines
            self.observed.touch(pod.part)
            self._teller.report_due()

    # Small things.

    def _drift(self, wanted: Wanted, fields: tuple[str, ...]) -> None:
        message = f"is changed again and again: {', '.join(fields) or 'deleted'}"
        result = Result(key=wanted.key, outcome=Outcome.CONFLICT, message=message, part=wanted.part)
        drifted = Drifted(fields=fields, seen_time=self._clock.now())
        if self._backlog.drift(result, drifted, self._clock.monotonic()):
            self._say_drift(wanted, drifted, repaired=False)
        self.observed.touch(wanted.part)
        self._stir.set()

    def _say_drift(self, wanted: Wanted, drifted: Drifted, *, repaired: bool) -> None:
        self._outbox.drifted(
            Drift(
                cell=self.state.cell,
                key=wanted.key,
                part=wanted.part,
                fields=drifted.fields,
                repaired=repaired,
                seen_time=drifted.seen_time,
            )
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
            self._teller.report_due()

    def _forget(self, key: ObjectKey) -> None:
        self._backlog.forget(key)
        self._remover.forget(key)
        self._teller.forget(key)
        self.observed.live.pop(key, None)
        if key not in self.state.removals and self.state.marks.pop(key, None) is not None:
            self._marks[key] = None

    def _complete(self) -> bool:
        return not self._backlog.keys and not self.state.removals

    def _sayable(self) -> bool:
        """Whether it can be said that all is done: of a removal, once it is forgotten."""
        return self._complete() and (not self.state.removed or self.gone.is_set())
