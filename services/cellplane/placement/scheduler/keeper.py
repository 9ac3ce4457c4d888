"""A fleet over time: what silence, drains, returns and the clock make of decisions.

Pure: the time is told, and all that follows is worked off in its order. A Cell leaves a plane only
once its replacement is decided on and reserved; without one it stays, blocked. Nothing moves back
by itself, but for Cells that ask for it, once the plane has held for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from enum import Enum
from heapq import heappop, heappush
from typing import Final

from cellplane.cell.requirement import Effect
from cellplane.placement.scheduler.decide import Placed
from cellplane.placement.scheduler.fleet import Change, Fleet, Resident
from cellplane.placement.scheduler.moves import Move, Moves, Pace, Step, moves_of
from cellplane.placement.scheduler.outage import Limits, brake, patience
from cellplane.placement.scheduler.rebalance import better
from cellplane.placement.scheduler.snapshot import Demand, Plane, PlaneState, Previous

_AGAIN: Final = 60.0  # seconds until it is seen again whether a Cell may move, where none may


class _Due(Enum):
    SUSPECT = "SUSPECT"
    LOST = "LOST"
    PATIENCE = "PATIENCE"
    TAINT = "TAINT"
    FAILBACK = "FAILBACK"
    MOVE = "MOVE"


class Keeper:
    """Keeps a fleet as time goes by."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        pace: Pace | None = None,
        now: float = 0.0,
        fleet: Fleet | None = None,
        told: bool = False,
    ) -> None:
        """Start with an empty fleet, or with one that is there.

        Args:
            limits: Times, and when nothing may move.
            pace: How long the steps of moves take.
            now: The time.
            fleet: What it keeps.
            told: Moves go on when ``proceed`` says so, not by the clock; what is new, and leaves
                nothing, is no move then.
        """
        self.fleet = fleet or Fleet(hold=True, now=now)
        self.limits = limits or Limits()
        self.pace = pace or Pace()
        self._told = told
        self._looked: float | None = None
        """When it was looked at who has been patient for long enough; unset if something came."""
        self.brake = ""
        """Why nothing moves because planes are lost; empty if it does."""
        self.moves = Moves()
        self._since: dict[str, float] = {}
        """By plane that is not ready, when it came to be as it is."""
        self._ready_since: dict[str, float] = {}
        self._homes: dict[str, dict[str, str]] = {}
        """By Cell that fails back, by plane that it is on instead, where it was."""
        self._returned: list[str] = []
        """Cells whose move was taken back."""
        self._timers: list[tuple[float, int, _Due, str]] = []
        self._count = 0

    @property
    def now(self) -> float:
        """The time."""
        return self.fleet.index.now

    def put(self, plane: Plane) -> None:
        """A plane is there, or was changed by people."""
        before = self.fleet.index.get(plane.data_plane)
        self._looked = None
        self.fleet.put_plane(plane)
        name = plane.data_plane
        if before is None or before.state is not plane.state:
            self._entered(name, plane.state)
        if before is not None and before.drained and not plane.drained:
            self._forgive(name, "DRAINED")
        timed = {t for t in plane.taints if t.effect is Effect.NO_EXECUTE}
        if not timed:
            self._forgive(name, "EVICTED")
        if timed - set(before.taints if before is not None else ()):
            self._since.setdefault(f"taint {name}", self.now)
            for cell in self.fleet.on(name):
                self._time_taints(cell, plane)

    def drop(self, data_plane: str) -> None:
        """A plane is gone."""
        self._since.pop(data_plane, None)
        self._looked = None
        self.fleet.drop_plane(data_plane)
        for move in self.moves.every():
            if data_plane not in (move.leaves, move.comes):
                continue
            self.moves.take(move)
            left = move.leaves not in self.fleet.cells[move.cell].data_planes
            if move.comes == data_plane and left and not self._told:
                self.fleet.release(move.cell, move.leaves)

    def silent(self, data_plane: str) -> None:
        """A plane is not heard of any more, from now on."""
        plane = self.fleet.index.get(data_plane)
        if plane is not None and plane.state is PlaneState.READY:
            self._since[data_plane] = self.now
            self._at(self.now + self.limits.suspect_seconds, _Due.SUSPECT, data_plane)

    def heard(self, data_plane: str) -> None:
        """A plane is heard of again."""
        self._since.pop(data_plane, None)
        plane = self.fleet.index.get(data_plane)
        if plane is not None and plane.state is not PlaneState.READY:
            self.put(replace(plane, state=PlaneState.READY))

    def want(self, demand: Demand) -> None:
        """A Cell is wanted, or asks for something else."""
        known = self.fleet.cells.get(demand.cell)
        unheard = known is not None and known.restored
        self.fleet.put_cell(demand)
        if known is None or not unheard:
            return
        for name in known.data_planes:
            plane = self.fleet.index.get(name)
            if plane is not None:
                self._time_taints(demand.cell, plane)
        self._looked = None

    def restore(self, cell: str, moves: Iterable[Move], homes: Mapping[str, str]) -> None:
        """Go on with the moves of a Cell, and remember where it was at home."""
        for move in moves:
            self.moves.put(move)
        if homes:
            self._homes[cell] = dict(homes)

    def homes_of(self, cell: str) -> dict[str, str]:
        """By plane that a Cell is on instead, where it goes back to."""
        return dict(sorted(self._homes.get(cell, {}).items()))

    def proceed(self, move: Move) -> None:
        """The next step of a move was made."""
        known = self.moves.get(move.cell, move.leaves, move.comes)
        if known is not None:
            self.moves.put(known.proceed(self.now))

    def left(self, cell: str, data_plane: str) -> None:
        """Nothing of a Cell is on a plane any more: its place is free, and its move is over."""
        resident = self.fleet.cells.get(cell)
        for move in self.moves.of(cell):
            if move.leaves == data_plane:
                self.moves.take(move)
        if resident is not None and data_plane not in resident.data_planes:
            self.fleet.release(cell, data_plane)

    def unwant(self, cell: str) -> None:
        """A Cell is not wanted any more."""
        if cell in self.fleet.cells:
            self.fleet.drop_cell(cell)
        self._homes.pop(cell, None)
        self.moves.forget(cell)

    def rebalance(self, budget: int) -> Iterator[Change]:
        """Move up to so many copies to where they are better off."""
        for _ in range(0 if self.brake else budget):
            found = better(self.fleet)
            if found is None:
                return
            resident, decision, leaves = found
            resident.leaving[leaves] = "REBALANCE"
            changed = self.fleet.commit(resident, decision)
            resident.leaving.pop(leaves, None)
            if changed is not None:
                yield from self._follow(replace(changed, causes={leaves: "REBALANCE"}))

    def settle(self) -> Iterator[Change]:
        """Decide on all that was woken."""
        self._look()
        for changed in self.fleet.run():
            yield from self._follow(changed)

    def advance(self, to: float) -> Iterator[Change]:
        """Let time go by, and do what is due on the way."""
        yield from self.settle()
        while self._timers and self._timers[0][0] <= to:
            at, _, due, name = heappop(self._timers)
            self.fleet.index.advance(max(at, self.now))
            yield from self._HANDLERS[due](self, name)
            yield from self.settle()
        self.fleet.index.advance(to)

    def _follow(self, changed: Change) -> Iterator[Change]:
        """Start the moves of a decision."""
        cell, after = changed.cell, changed.decision.data_planes
        resident = self.fleet.cells[cell]
        for plain in moves_of(cell, changed.before, after, dict(changed.causes)):
            move = self.moves.instead(plain) if self._told else plain
            if self._told and not move.leaves:
                continue
            self.moves.begin(move, self.now)
            if not self._told:
                key = cell, move.leaves, move.comes
                self._at(self.now, _Due.MOVE, "\n".join(key))
            home = move.leaves and move.comes and move.reason in ("LOST", "DRAINED", "EVICTED")
            if home and resident.demand.requirement.failback:
                homes = self._homes.setdefault(cell, {})
                homes[move.comes] = homes.pop(move.leaves, move.leaves)
        yield changed

    def _entered(self, name: str, state: PlaneState) -> None:
        if state is PlaneState.READY:
            self._ready_since[name] = self.now
            self._forgive(name, "LOST")
            self._at(self.now + self.limits.hold_down_seconds, _Due.FAILBACK, name)
            return
        self._since[name] = self.now
        if state is PlaneState.SUSPECT:
            self._at(self.now + self.limits.lost_seconds, _Due.LOST, name)
        elif state is PlaneState.LOST:
            for seconds in sorted({self._patience(c) for c in self.fleet.on(name)}):
                self._at(self.now + seconds, _Due.PATIENCE, name)

    def _forgive(self, name: str, word: str) -> None:
        """It is as it was: nobody has to go for it, and who was about to does not."""
        for cell in self.fleet.on(name):
            if self.fleet.cells[cell].leaving.get(name) == word:
                self.fleet.remain(cell, name)
        for move in self.moves.every():
            if move.leaves == name and move.reason == word and move.can_be_cancelled:
                self._return(move)

    def _return(self, move: Move) -> None:
        resident = self.fleet.cells[move.cell]
        planes = {*resident.data_planes, move.leaves} - {move.comes}
        if self._settle_on(resident, tuple(sorted(planes))) is not None:
            self.moves.put(move.cancel(self.now))
            self._homes.get(move.cell, {}).pop(move.comes, None)
            if self._told:
                self.moves.take(move)
                self._returned.append(move.cell)
            else:
                self.fleet.release(move.cell, move.comes)

    def _settle_on(self, resident: Resident, planes: tuple[str, ...]) -> Change | None:
        """Be on exactly these planes, if that is a valid placement."""
        if resident.restored:
            return None
        previous = Previous(
            data_planes=planes,
            spreads=resident.demand.requirement.spreads,
            shares=self.fleet.previous(resident).shares,
        )
        self.fleet.counters.evaluated += 1
        decision = self.fleet.ask(resident, previous)
        if not isinstance(decision, Placed) or decision.data_planes != planes:
            return None
        return self.fleet.commit(resident, decision)

    def _suspect(self, name: str) -> Iterator[Change]:
        since = self._since.get(name)
        plane = self.fleet.index.get(name)
        late = since is not None and self.now >= since + self.limits.suspect_seconds
        if plane is not None and plane.state is PlaneState.READY and late:
            self.put(replace(plane, state=PlaneState.SUSPECT))
        yield from ()

    def _lost(self, name: str) -> Iterator[Change]:
        since = self._since.get(name, self.now)
        plane = self.fleet.index.get(name)
        late = self.now >= since + self.limits.lost_seconds
        if plane is not None and plane.state is PlaneState.SUSPECT and late:
            self.put(replace(plane, state=PlaneState.LOST))
        yield from ()

    def _patient(self, _name: str) -> Iterator[Change]:
        self._looked = None
        yield from ()

    def _look(self) -> None:
        """See whether moves are allowed, and who has been patient for long enough."""
        if self._looked == self.now:
            return
        self._looked = self.now
        planes = [p for p in self.fleet.index.planes if p is not None]
        self.brake = brake(planes, self.limits)
        if self.brake:
            return
        for plane in planes:
            if plane.state is PlaneState.LOST:
                since = self._since.get(plane.data_plane, self.now)
                for cell in self.fleet.on(plane.data_plane):
                    resident = self.fleet.cells[cell]
                    # One that is only read may be more patient than is known.
                    here = plane.data_plane in resident.data_planes and not resident.restored
                    known = plane.data_plane in resident.leaving
                    if here and not known and self.now >= since + self._patience(cell):
                        self.fleet.leave(cell, plane.data_plane, "LOST")

    def _tainted(self, name: str) -> Iterator[Change]:
        plane, since = self.fleet.index.get(name), self._since.get(f"taint {name}", self.now)
        if self.brake:
            self._at(self.now + _AGAIN, _Due.TAINT, name)
        for cell in self.fleet.on(name) if plane is not None and not self.brake else ():
            borne = self._bears(cell, plane) if plane is not None else []
            if borne and self.now >= since + min(borne):
                self.fleet.leave(cell, name, "EVICTED")
        yield from ()

    def _fail_back(self, name: str) -> Iterator[Change]:
        plane, index = self.fleet.index.get(name), self.fleet.index
        held = self.now - self._ready_since.get(name, self.now) >= self.limits.hold_down_seconds
        if plane is None or plane.state is not PlaneState.READY or not held:
            return
        if self.brake:
            self._at(self.now + _AGAIN, _Due.FAILBACK, name)
            return
        for cell, homes in sorted(self._homes.items()):
            resident = self.fleet.cells[cell]
            resident.feasible.refresh()
            fresh = resident.feasible.fresh & resident.feasible.fits & index.bits([name])
            away = next((there for there, home in sorted(homes.items()) if home == name), None)
            if away is None or away not in resident.data_planes or not fresh:
                continue
            planes = tuple(sorted({*resident.data_planes, name} - {away}))
            changed = self._settle_on(resident, planes)
            if changed is not None:
                del homes[away]
                yield from self._follow(replace(changed, causes={away: "FAILBACK"}))

    def _proceed(self, word: str) -> Iterator[Change]:
        cell, leaves, comes = word.split("\n")
        move = self.moves.get(cell, leaves, comes)
        if move is None or move.over:
            return
        move = move.proceed(self.now)
        self.moves.put(move)
        waits = {
            Step.MAKING: self.pace.make_seconds if comes else 0.0,
            Step.DRAINING: self.pace.drain_seconds if leaves else 0.0,
        }
        if move.step is Step.DONE:
            if leaves and leaves not in self.fleet.cells[cell].data_planes:
                self.fleet.release(cell, leaves)
        else:
            self._at(self.now + waits.get(move.step, 0.0), _Due.MOVE, word)
        yield from ()

    def returned(self) -> list[str]:
        """Take out the Cells whose move was taken back since the last time."""
        found, self._returned = self._returned, []
        return found

    def finished(self) -> list[Move]:
        """Take out the moves that are over."""
        over = [move for move in self.moves.every() if move.over]
        for move in over:
            self.moves.take(move)
        return over

    def _patience(self, cell: str) -> int:
        return patience(self.fleet.cells[cell].demand)

    def _time_taints(self, cell: str, plane: Plane) -> None:
        """See to the taints of a plane when a Cell has borne them for as long as it does."""
        since = self._since.get(f"taint {plane.data_plane}", self.now)
        for seconds in sorted(set(self._bears(cell, plane))):
            self._at(max(self.now, since + seconds), _Due.TAINT, plane.data_plane)

    def _bears(self, cell: str, plane: Plane) -> list[int]:
        """For how long a Cell bears each taint of a plane that it bears for a time only."""
        tolerations = self.fleet.cells[cell].demand.requirement.tolerations
        found: list[int] = []
        for taint in plane.taints:
            times = [t.seconds for t in tolerations if t.tolerates(taint)]
            if taint.effect is Effect.NO_EXECUTE and times and None not in times:
                found.append(max(t for t in times if t is not None))
        return found

    def _at(self, time: float, due: _Due, name: str) -> None:
        self._count += 1
        heappush(self._timers, (time, self._count, due, name))

    _HANDLERS: dict[_Due, Callable[[Keeper, str], Iterator[Change]]] = {  # noqa: RUF012
        _Due.SUSPECT: _suspect,
        _Due.LOST: _lost,
        _Due.PATIENCE: _patient,
        _Due.TAINT: _tainted,
        _Due.FAILBACK: _fail_back,
        _Due.MOVE: _proceed,
    }
