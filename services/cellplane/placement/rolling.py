"""Changes of Cells on their way to their data planes: who is to have which revision now.

What a rollout says is stored before any data plane gets it. The revisions that data planes may go
back to are kept whole, so that they can be compiled again, also after a restart. A strategy holds
from the first change after it was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cellplane.cell.condition import Health
from cellplane.cell.problem import FailedPrecondition, NotFound
from cellplane.cell.requirement import RolloutStrategy
from cellplane.placement.cells import CellEntry
from cellplane.placement.clients import Resolved
from cellplane.placement.desired import Desired
from cellplane.placement.planes import Planes
from cellplane.placement.records import candidate_of
from cellplane.placement.rollout import progress
from cellplane.placement.rollout.progress import Phase, Rollout, Seen
from cellplane.placement.rollout_store import RolloutStore, rollout_to_json
from cellplane.placement.scheduler.snapshot import PlaneState
from cellplane.placement.slots import Slot
from cellplane.placement.status.observed import LASTING
from cellplane.runtime.clock import Clock

_GOOD = (Health.READY, Health.SUSPENDED)


class Rolling:
    """Keeps the rollouts of all Cells."""

    def __init__(
        self, *, store: RolloutStore, desired: Desired, planes: Planes, clock: Clock
    ) -> None:
        self._store = store
        self._desired = desired
        self._planes = planes
        self._clock = clock
        self._rollouts: dict[str, Rollout] = {}
        self._stored: dict[str, dict[str, Any]] = {}
        self._versions: dict[tuple[str, int], Resolved] = {}
        """What is compiled now and is not the latest, by Cell and revision."""
        self._due: dict[str, float] = {}

    def load(self, rollouts: Mapping[str, Rollout]) -> None:
        """Take what was stored."""
        self._rollouts = dict(rollouts)
        self._stored = {cell: rollout_to_json(rollout) for cell, rollout in rollouts.items()}

    def get(self, cell: str) -> Rollout:
        """The latest rollout of a Cell."""
        found = self._rollouts.get(cell)
        if found is None:
            raise NotFound(
                f"cell {cell} has no rollout: its placement asks for none, or it did not change "
                "since; set rollout in the placement of its environment or project",
                metadata={"name": f"{cell}/rollout"},
            )
        return found

    def active(self, cell: str) -> bool:
        """Whether what is seen of a Cell can bring its rollout further."""
        found = self._rollouts.get(cell)
        return found is not None and not found.over

    def due(self) -> list[str]:
        """Cells whose rollout goes on by the time alone."""
        now = self.now()
        found = [cell for cell, at in self._due.items() if at <= now]
        for cell in found:
            del self._due[cell]
        return found

    async def wanted(self, cell: str, entry: CellEntry, latest: Resolved) -> dict[str, Resolved]:
        """By data plane that gets anything, the Cell at the revision that it is to have."""
        decided, strategy = entry.decided, entry.requirement.rollout
        names = decided.data_planes if decided is not None else ()
        if strategy is None:
            await self.forget(cell)
            return dict.fromkeys(names, latest)
        before = self._rollouts.get(cell)
        if before is None or latest.revision > before.target:
            rollout = self._begin(entry, names, latest, before)
        else:
            base = next((p.base for p in before.planes.values() if p.base), 0)
            rollout = replace(before, strategy=strategy)
            rollout = progress.on_planes(rollout, names, base, self.now())
        seen = {name: self._seen(entry, name, rollout) for name in names}
        rollout = progress.advance(rollout, seen, self.now())
        await self._keep(cell, rollout, latest)
        found = {
            name: await self._version(cell, rollout.revision_of(name), latest) for name in names
        }
        return {name: version for name, version in found.items() if version is not None}

    async def stop(self, cell: str) -> Rollout:
        """Begin nothing more of a change."""
        return await self._set(cell, progress.stop(self._running(cell)))

    async def resume(self, cell: str) -> Rollout:
        """Go on with a change."""
        found = self.get(cell)
        if found.phase(self.now()) not in (Phase.STOPPED, Phase.FAILED, Phase.DONE):
            raise FailedPrecondition(f"the rollout of {cell} is not stopped: it goes on by itself")
        return await self._set(cell, progress.resume(found, self.now()))

    async def approve(self, cell: str, revision: int) -> Rollout:
        """Let the wave begin that waits for it."""
        found = self._running(cell)
        if found.target != revision:
            raise FailedPrecondition(
                f"the rollout of {cell} brings revision {found.target} by now, not {revision}: "
                "look at it again, and approve that"
            )
        if found.phase(self.now()) is not Phase.WAITING_FOR_APPROVAL:
            raise FailedPrecondition(f"the rollout of {cell} waits for no approval now")
        return await self._set(cell, progress.approve(found))

    async def forget(self, cell: str) -> None:
        """A Cell is gone."""
        self._stored.pop(cell, None)
        if self._rollouts.pop(cell, None) is not None:
            await self._store.forget(cell)
        self._due.pop(cell, None)

    def now(self) -> float:
        """The time."""
        return self._clock.now().timestamp()

    def _running(self, cell: str) -> Rollout:
        found = self.get(cell)
        if found.over:
            raise FailedPrecondition(f"the rollout of {cell} is over: there is nothing to stop")
        return found

    async def _set(self, cell: str, rollout: Rollout) -> Rollout:
        # Known before it is stored: whoever looks meanwhile goes on from it.
        self._rollouts[cell] = rollout
        await self._save(cell, rollout, None)
        return rollout

    async def _save(self, cell: str, rollout: Rollout, fresh: Resolved | None) -> None:
        body = rollout_to_json(rollout)
        if self._stored.get(cell) != body:
            await self._store.save(cell, rollout, fresh)
            self._stored[cell] = body

    def _begin(
        self,
        entry: CellEntry,
        names: tuple[str, ...],
        latest: Resolved,
        before: Rollout | None,
    ) -> Rollout:
        strategy = entry.requirement.rollout
        bases = {name: _healthy_base(before, name) for name in names} if before else {}
        healthy = {
            name: before is not None and self._seen(entry, name, before).ready for name in names
        }
        found = progress.begin(
            strategy or RolloutStrategy(),
            [
                candidate_of(known.plane, known.membership, known.state)
                for name in names
                if (known := self._planes.get(_plane(entry, name))) is not None
            ],
            bases,
            healthy,
            latest.revision,
            self.now(),
        )
        return found if any(bases.values()) else progress.finished(found)

    async def _keep(self, cell: str, rollout: Rollout, latest: Resolved) -> None:
        """Store what changed before anything follows from it."""
        self._rollouts[cell] = rollout
        known = self._stored.get(cell)
        fresh = known is None or known["target"] != rollout.target
        await self._save(cell, rollout, latest if fresh else None)
        used = {p.base for p in rollout.planes.values()} if not rollout.over else set[int]()
        for key in [k for k in self._versions if k[0] == cell and k[1] not in used]:
            del self._versions[key]
        at = rollout.next_look(self.now())
        self._due.pop(cell, None)
        if at is not None:
            self._due[cell] = at

    async def _version(self, cell: str, revision: int, latest: Resolved) -> Resolved | None:
        """A Cell at a revision; nothing if that is not kept, so that what is there stays."""
        if revision == latest.revision:
            return latest
        known = self._versions.get((cell, revision))
        if known is None:
            known = await self._store.read_version(cell, revision)
            if known is not None:
                self._versions[cell, revision] = known
        return known

    def _seen(self, entry: CellEntry, name: str, rollout: Rollout) -> Seen:
        """How a Cell is on a data plane, at the revision that it is to have there."""
        full = _plane(entry, name)
        plane, slot = self._planes.get(full), self._desired.slot(str(entry.name), full)
        heard = plane is not None and plane.state is PlaneState.READY
        if slot is None or slot.bundle.cell_revision != rollout.revision_of(name):
            # What cannot be compiled never becomes the revision that is there.
            return Seen(heard=heard, failed=_problem(slot))
        seen, revision = slot.observed, slot.bundle.revision
        current = seen.report_revision == seen.applied_revision == revision
        return Seen(ready=current and seen.health in _GOOD, failed=_failure(slot), heard=heard)


def _healthy_base(before: Rollout, name: str) -> int:
    """The revision that a data plane was ready with last, as far as it is kept."""
    known = before.planes.get(name)
    if known is None:
        return 0
    return before.target if known.step is progress.Step.DONE else known.base


def _plane(entry: CellEntry, name: str) -> str:
    return f"organizations/{entry.name.organization}/dataPlanes/{name}"


def _problem(slot: Slot | None) -> str:
    return slot.problems[0].message if slot is not None and slot.problems else ""


def _failure(slot: Slot) -> str:
    """Why waiting cannot help; empty if it can."""
    seen, revision = slot.observed, slot.bundle.revision
    if slot.problems:
        return _problem(slot)
    lasting = [f for f in seen.failures if f.outcome in LASTING]
    if seen.rejected_revision == revision or (seen.failed_revision == revision and lasting):
        return lasting[0].message if lasting else "the agent does not take it"
    if seen.report_revision == revision and seen.health is Health.FAILED:
        cause = seen.cause
        return (cause.message or cause.reason if cause is not None else "") or "it failed"
    return ""
