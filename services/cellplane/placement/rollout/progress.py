"""How far a change of a Cell is, as a value: what was seen and the time in, what is next out.

A data plane keeps the revision that it has until it is its turn. It counts once it was ready for
long enough; a failure counts only if the data plane was ready before and is heard of now, so that
the change is to blame. What is under way is watched also where nothing new is begun. The wave after
begins once all of this one has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from cellplane.cell.requirement import RolloutStrategy
from cellplane.placement.rollout.order import Wave, share, waves_of
from cellplane.placement.scheduler.snapshot import Plane

DEADLINE: Final = 600
"""Seconds in which a data plane has to become ready, if nobody says otherwise."""


class Step(Enum):
    """How far one data plane is."""

    HELD = "HELD"
    UPDATING = "UPDATING"
    SOAKING = "SOAKING"
    DONE = "DONE"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"


UNDER_WAY: Final = frozenset({Step.UPDATING, Step.SOAKING})
ENDED: Final = frozenset({Step.DONE, Step.FAILED, Step.ROLLED_BACK})
NEW: Final = frozenset({Step.UPDATING, Step.SOAKING, Step.DONE, Step.FAILED})
"""Steps in which a data plane is to have the new revision."""


class Phase(Enum):
    """What a rollout does now."""

    RUNNING = "RUNNING"
    WAITING_FOR_APPROVAL = "WAITING_FOR_APPROVAL"
    WAITING = "WAITING"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    DONE = "DONE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is seen of a Cell on one data plane, at the revision that it is to have there."""

    ready: bool = False
    failed: str = ""
    """Why it cannot become ready by waiting."""
    heard: bool = True
    """Whether its agent is heard of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneProgress:
    """One data plane."""

    data_plane: str
    base: int = 0
    """The revision that it goes back to; 0 if it has none."""
    step: Step = Step.HELD
    since: float = 0.0
    healthy: bool = True
    """Whether it was ready before it got the change."""
    counted: bool = False
    """Whether the change is to blame for its failure."""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A change on its way."""

    target: int
    waves: tuple[Wave, ...]
    planes: Mapping[str, PlaneProgress]
    strategy: RolloutStrategy
    begin: float = 0.0
    wave: int = 0
    """The one whose turn it is; as many as there are when all have ended."""
    wave_since: float = 0.0
    approved: int = -1
    """The last wave that somebody approved."""
    stopped: bool = False

    @property
    def budget(self) -> int:
        """How many data planes the change may break."""
        return share(self.strategy.failure_budget, len(self.planes), least=0)

    @property
    def failures(self) -> int:
        """How many it broke."""
        return sum(p.counted for p in self.planes.values())

    @property
    def over_budget(self) -> bool:
        """Whether it broke more than it may, or any of a wave that bears none."""
        bears_none = {n for w in self.waves if w.mandatory for n in w.data_planes}
        broken = any(p.counted and p.data_plane in bears_none for p in self.planes.values())
        return broken or self.failures > self.budget

    @property
    def over(self) -> bool:
        """Whether all of it has ended."""
        return self.wave >= len(self.waves)

    def phase(self, now: float) -> Phase:
        """What it does now."""
        if self.over:
            return Phase.DONE
        if self.stopped:
            return Phase.STOPPED
        if self.over_budget:
            return Phase.FAILED
        if _opened(self):
            return Phase.RUNNING
        wave = self.waves[self.wave]
        if wave.approval and self.approved < self.wave:
            return Phase.WAITING_FOR_APPROVAL
        return Phase.WAITING if now < self.wave_since + wave.wait_seconds else Phase.RUNNING

    def revision_of(self, data_plane: str) -> int:
        """The revision that a data plane is to have."""
        known = self.planes.get(data_plane)
        return self.target if known is None or known.step in NEW or not known.base else known.base

    def next_look(self, now: float) -> float | None:
        """When something follows from the time alone."""
        times = [
            p.since + (self._soak if p.step is Step.SOAKING else self._deadline)
            for p in self.planes.values()
            if p.step in UNDER_WAY
        ]
        if self.phase(now) is Phase.WAITING:
            times.append(self.wave_since + self.waves[self.wave].wait_seconds)
        return min(times, default=None)

    @property
    def _soak(self) -> int:
        return self.strategy.soak_seconds or 0

    @property
    def _deadline(self) -> int:
        return self.strategy.deadline_seconds or DEADLINE


def begin(
    strategy: RolloutStrategy,
    planes: Iterable[Plane],
    bases: Mapping[str, int],
    healthy: Mapping[str, bool],
    target: int,
    now: float,
) -> Rollout:
    """A change that nobody has yet.

    Args:
        strategy: How it comes.
        planes: Where to.
        bases: By data plane, the revision that it is ready with, or was last.
        healthy: By data plane, whether it is ready now.
        target: The revision that it brings.
        now: The time.
    """
    waves = waves_of(strategy, planes)
    names = [name for wave in waves for name in wave.data_planes]
    return Rollout(
        target=target,
        waves=waves,
        planes={
            name: PlaneProgress(
                data_plane=name, base=bases.get(name, 0), since=now, healthy=healthy.get(name, True)
            )
            for name in names
        },
        strategy=strategy,
        begin=now,
        wave_since=now,
    )


def finished(rollout: Rollout) -> Rollout:
    """The same where every data plane has it already."""
    planes = {n: replace(p, step=Step.DONE) for n, p in rollout.planes.items()}
    return replace(rollout, planes=planes, wave=len(rollout.waves))


def advance(rollout: Rollout, seen: Mapping[str, Seen], now: float) -> Rollout:
    """What follows from what is seen, and from the time."""
    unseen = Seen(heard=False)
    planes = {n: _observe(rollout, p, seen.get(n, unseen), now) for n, p in rollout.planes.items()}
    rollout = replace(rollout, planes=planes)
    while True:
        rollout = _start(rollout, seen, now)
        if rollout.over or not _ended(rollout):
            return rollout
        if rollout.over_budget or rollout.stopped:
            return rollout
        rollout = replace(rollout, wave=rollout.wave + 1, wave_since=now)


def on_planes(rollout: Rollout, names: Iterable[str], base: int, now: float) -> Rollout:
    """The same where a Cell is on these data planes now.

    One that is new gets what the others had, until all of them have the change.
    """
    here = set(names)
    waves = tuple(
        replace(w, data_planes=tuple(n for n in w.data_planes if n in here)) for w in rollout.waves
    )
    planes = {n: p for n, p in rollout.planes.items() if n in here}
    fresh = tuple(sorted(here - planes.keys()))
    if not rollout.over and fresh and waves:
        planes |= {n: PlaneProgress(data_plane=n, base=base, since=now) for n in fresh}
        last = waves[-1]
        waves = (*waves[:-1], replace(last, data_planes=(*last.data_planes, *fresh)))
    return replace(rollout, waves=waves, planes=planes)


def stop(rollout: Rollout) -> Rollout:
    """Begin nothing more."""
    return replace(rollout, stopped=True)


def resume(rollout: Rollout, now: float) -> Rollout:
    """Go on; what failed gets the change once more."""
    again = {Step.FAILED, Step.ROLLED_BACK}
    planes = {
        n: replace(p, step=Step.HELD, since=now, counted=False, message="")
        if p.step in again
        else p
        for n, p in rollout.planes.items()
    }
    first = next((i for i, w in enumerate(rollout.waves) if _open(w, planes)), len(rollout.waves))
    return replace(rollout, stopped=False, planes=planes, wave=min(rollout.wave, first))


def approve(rollout: Rollout) -> Rollout:
    """Let the wave begin whose turn it is."""
    return replace(rollout, approved=max(rollout.approved, rollout.wave))


def _observe(rollout: Rollout, plane: PlaneProgress, seen: Seen, now: float) -> PlaneProgress:
    """How far one data plane is after it was looked at."""
    if plane.step not in UNDER_WAY:
        return plane
    if not seen.heard:
        # What is not heard of says nothing about the change: its time begins anew.
        return replace(plane, since=now)
    soak = rollout.strategy.soak_seconds or 0
    deadline = rollout.strategy.deadline_seconds or DEADLINE
    if plane.step is Step.UPDATING and seen.ready:
        plane = replace(plane, step=Step.SOAKING, since=now)
    if plane.step is Step.SOAKING:
        if not seen.ready:
            return _failed(rollout, plane, seen.failed or "it did not stay ready", now)
        done = now >= plane.since + soak
        return replace(plane, step=Step.DONE, since=now) if done else plane
    if seen.failed:
        return _failed(rollout, plane, seen.failed, now)
    if now >= plane.since + deadline:
        return _failed(rollout, plane, f"it was not ready after {deadline} seconds", now)
    return plane


def _failed(rollout: Rollout, plane: PlaneProgress, why: str, now: float) -> PlaneProgress:
    back = rollout.strategy.rollback is not False and plane.base
    return replace(
        plane,
        step=Step.ROLLED_BACK if back else Step.FAILED,
        since=now,
        counted=plane.healthy,
        message=why,
    )


def _start(rollout: Rollout, seen: Mapping[str, Seen], now: float) -> Rollout:
    """Begin on as many data planes of the wave as may be under way at once."""
    if rollout.phase(now) is not Phase.RUNNING:
        return rollout
    most = share(rollout.strategy.concurrency, len(rollout.planes))
    free = most - sum(p.step in UNDER_WAY for p in rollout.planes.values())
    planes = dict(rollout.planes)
    for name in rollout.waves[rollout.wave].data_planes:
        known = seen.get(name, Seen(heard=False))
        if free > 0 and planes[name].step is Step.HELD and known.heard:
            healthy = known.ready or not planes[name].base
            planes[name] = replace(
                planes[name], step=Step.UPDATING, since=now, healthy=healthy, message=""
            )
            free -= 1
    return replace(rollout, planes=planes)


def _opened(rollout: Rollout) -> bool:
    """Whether the wave whose turn it is has begun."""
    steps = [rollout.planes[n].step for n in rollout.waves[rollout.wave].data_planes]
    return any(step is not Step.HELD for step in steps)


def _ended(rollout: Rollout) -> bool:
    """Whether every data plane of the wave has ended."""
    wave = rollout.waves[rollout.wave]
    return all(rollout.planes[n].step in ENDED for n in wave.data_planes)


def _open(wave: Wave, planes: Mapping[str, PlaneProgress]) -> bool:
    return any(planes[n].step not in ENDED for n in wave.data_planes)
