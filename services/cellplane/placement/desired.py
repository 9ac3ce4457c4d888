"""What every data plane is to have of every Cell, and how far it got.

The one place that push, resync and restart read. In memory, loaded at the start; what is wanted is
stored before anybody is told, what was observed is stored shortly after (a loss of the last moments
is made good when the agent connects again and both sides compare).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from cellplane.cell.condition import Cause, Health
from cellplane.cell.names import CellName
from cellplane.cell.problem import Conflict, Problem
from cellplane.placement.rollout import brake
from cellplane.placement.rollout import bundle as rollout
from cellplane.placement.rollout.brake import HeldRemovals, Limits
from cellplane.placement.rollout.bundle import Bundle
from cellplane.placement.rollout.diff import BundleObject, Delta
from cellplane.placement.slots import (
    BundleStore,
    ContentsMissing,
    Slot,
    digest_of,
    ready_when_seen,
)
from cellplane.placement.status.observed import ComponentReport, ObjectFailure, Observed
from cellplane.runtime.clock import Clock
from cellplane.runtime.linkdigest import root_digest

_CACHE_BYTES = 16 * 1024 * 1024
_FLUSH_SECONDS = 0.25


class Desired:
    """All slots, by data plane and by Cell."""

    def __init__(
        self,
        store: BundleStore,
        clock: Clock,
        *,
        limits: Limits | None = None,
        unbraked: Callable[[str], bool] = lambda _data_plane: False,
    ) -> None:
        """``unbraked(data plane)`` tells whether somebody asked for it to be emptied."""
        self._store = store
        self._clock = clock
        self._limits = limits or Limits()
        self._unbraked = unbraked
        self._planes: dict[str, dict[str, Slot]] = {}
        self._cells: dict[str, dict[str, Slot]] = {}
        self._contents: OrderedDict[str, bytes] = OrderedDict()
        self._cached = 0
        self._dirty: dict[tuple[str, str], Slot] = {}
        self._stir = asyncio.Event()
        self._floors: dict[str, int] = {}
        """Highest revision of what a data plane has forgotten."""
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}
        self._on_wanted: list[Callable[[str, str], None]] = []
        self._on_observed: list[Callable[[str], None]] = []

    def on_wanted(self, watcher: Callable[[str, str], None]) -> None:
        """Call ``watcher(data plane, cell)`` when an agent is to get something."""
        self._on_wanted.append(watcher)

    def on_observed(self, watcher: Callable[[str], None]) -> None:
        """Call ``watcher(cell)`` when something was seen of a Cell."""
        self._on_observed.append(watcher)

    def load(self, slots: Iterable[Slot], floors: Mapping[str, int]) -> None:
        """Take what was stored."""
        self._floors = dict(floors)
        for slot in slots:
            self._add(slot)

    def slot(self, cell: str, data_plane: str) -> Slot | None:
        """A Cell on a data plane."""
        return self._cells.get(cell, {}).get(data_plane)

    def of_cell(self, cell: str) -> dict[str, Slot]:
        """Where a Cell is, or is leaving, by data plane."""
        return self._cells.get(cell, {})

    def of_plane(self, data_plane: str) -> dict[str, Slot]:
        """What a data plane has, by Cell."""
        return self._planes.get(data_plane, {})

    def cells_on(self, data_plane: str) -> list[str]:
        """Cells that are on a data plane or are leaving it, sorted; not the platform's own."""
        return sorted(name for name in self.of_plane(data_plane) if CellName.parse(name))

    def cells(self) -> list[str]:
        """Every Cell that is anywhere."""
        return list(self._cells)

    def root_digest(self, data_plane: str) -> str:
        """Digest over what a data plane is to have."""
        slots = self.delivered(data_plane)
        return root_digest((s.cell, s.bundle.revision, s.digest) for s in slots)

    def delivered(self, data_plane: str) -> list[Slot]:
        """What an agent is to know of; not what never compiled."""
        return [s for s in self.of_plane(data_plane).values() if s.bundle.revision]

    async def put(
        self,
        cell: str,
        data_plane: str,
        namespace: str,
        objects: Iterable[BundleObject],
        contents: Mapping[str, bytes],
        cell_revision: int,
    ) -> bool:
        """Want exactly these objects; tells whether anything changed for the agent.

        ``contents`` holds at least what is not stored yet. Calls for one Cell never overlap.
        """
        async with self._locked(cell, data_plane):
            slot = self.slot(cell, data_plane) or self._new_slot(cell, data_plane, namespace)
            old = slot.bundle
            floor = self._floors.get(data_plane, 0)
            if not old.revision and floor:
                old = Bundle(revision=floor, removed=True)
            new, delta = rollout.advance(old, objects, cell_revision)
            slot.problems = ()
            if new == old:
                return False
            changed = new.revision != old.revision
            digest = digest_of(new) if changed else slot.digest
            fresh = await self._fresh(delta, contents)
            if changed:
                slot.create_time = self._clock.now()
            await self._store.save_bundle(slot, new, digest, delta, fresh)
            self._settle(slot, new, digest)
            self._remember(fresh)
        if changed:
            self._wanted(slot)
        return changed

    async def _fresh(self, delta: Delta, contents: Mapping[str, bytes]) -> dict[str, bytes]:
        """The contents to store, once it is sure that none is missing."""
        digests = {o.digest for o in delta.changed}
        fresh = {d: contents[d] for d in digests if d in contents}
        known = await self.contents(digests - fresh.keys())
        missing = digests - fresh.keys() - known.keys()
        if missing:
            raise ContentsMissing(f"contents of {len(missing)} objects are missing: compile again")
        # What is known may go with the object that had it: it is stored again.
        return fresh | known

    def refuse(
        self, cell: str, data_plane: str, namespace: str, problems: tuple[Problem, ...]
    ) -> None:
        """Note what could not be compiled; the last good revision stays in force."""
        slot = self.slot(cell, data_plane)
        if slot is None:
            slot = self._new_slot(cell, data_plane, namespace)
            self._add(slot)
        slot.problems = problems

    async def remove(self, cell: str, data_plane: str) -> None:
        """Want nothing of a Cell any more; what the agent never got is forgotten at once."""
        async with self._locked(cell, data_plane):
            slot = self.slot(cell, data_plane)
            if slot is None:
                return
            if slot.bundle.revision:
                new = rollout.remove(slot.bundle)
                if new is slot.bundle:
                    return
                delta = rollout.since(new, slot.bundle.revision)
                await self._store.save_bundle(slot, new, "", delta, {})
                self._settle(slot, new, "")
        if slot.bundle.revision:
            self._wanted(slot)
        else:
            await self.forget(cell, data_plane)

    async def forget(self, cell: str, data_plane: str, *, revision: int | None = None) -> bool:
        """A Cell is gone from a data plane; with *revision*, only if that removed it and stands."""
        async with self._locked(cell, data_plane):
            slot = self.slot(cell, data_plane)
            if slot is None:
                return False
            bundle = slot.bundle
            if revision is not None and (not bundle.removed or bundle.revision != revision):
                return False
            await self._store.forget_bundle(cell, data_plane, bundle.revision)
            floor = self._floors.get(data_plane, 0)
            self._floors[data_plane] = max(floor, bundle.revision)
            self._dirty.pop((cell, data_plane), None)
            for index, first, second in (
                (self._cells, cell, data_plane),
                (self._planes, data_plane, cell),
            ):
                index[first].pop(second, None)
                if not index[first]:
                    del index[first]
        self._observed(cell)
        return True

    def held_removals(self, data_plane: str) -> HeldRemovals | None:
        """Removals on a data plane that wait for a confirmation."""
        if self._unbraked(data_plane):
            return None
        return brake.held((s.removing for s in self.of_plane(data_plane).values()), self._limits)

    def is_braked(self, slot: Slot) -> bool:
        """Whether a Cell is to lose something on a data plane that waits for a confirmation."""
        if not slot.removing.asked:
            return False
        return self.held_removals(slot.data_plane) is not None

    async def confirm_removals(self, data_plane: str, digest: str) -> HeldRemovals:
        """Let removals go on that wait. Raises ``Conflict`` if they are others by now."""
        held = self.held_removals(data_plane)
        if held is None or held.digest != digest:
            raise Conflict(
                f"removals on {data_plane} are not those of digest {digest}: look at them again",
                reason="REMOVALS_CHANGED",
                metadata={"digest": held.digest if held is not None else ""},
            )
        slots = [self.of_plane(data_plane)[cell] for cell in held.cells]
        await self._store.save_confirmations(slots)
        for slot in slots:
            slot.confirmed_revision = slot.bundle.revision
            self._wanted(slot)
        return held

    async def contents(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Contents of objects by digest, from memory or the store."""
        wanted = list(dict.fromkeys(digests))
        found = {d: self._contents[d] for d in wanted if d in self._contents}
        missing = [d for d in wanted if d not in found]
        if missing:
            read = await self._store.read_contents(missing)
            self._remember(read)
            found |= read
        return found

    def accepted(self, cell: str, data_plane: str, revision: int, digest: str) -> None:
        """The agent has stored a revision."""
        slot = self.slot(cell, data_plane)
        if slot is None or revision > slot.bundle.revision:
            return
        seen = replace(slot.observed, accepted_revision=revision, accepted_digest=digest)
        if revision == slot.bundle.revision and seen.rejected_revision == revision:
            seen = replace(seen, rejected_revision=0, failures=())
        self._see(slot, seen)

    def rejected(
        self, cell: str, data_plane: str, revision: int, failures: tuple[ObjectFailure, ...]
    ) -> None:
        """The agent does not take a revision."""
        slot = self.slot(cell, data_plane)
        if slot is not None and revision == slot.bundle.revision:
            self._see(slot, replace(slot.observed, rejected_revision=revision, failures=failures))

    def applied(
        self,
        cell: str,
        data_plane: str,
        revision: int,
        failures: tuple[ObjectFailure, ...],
        *,
        complete: bool,
    ) -> None:
        """The agent has applied a revision, in full or in part."""
        slot = self.slot(cell, data_plane)
        if slot is None or revision > slot.bundle.revision:
            return
        seen = slot.observed
        if complete:
            seen = replace(
                seen,
                applied_revision=max(seen.applied_revision, revision),
                failed_revision=0,
                failures=(),
            )
            slot.bundle = rollout.applied(slot.bundle, revision)
            seen = ready_when_seen(seen, slot.bundle.revision)
        else:
            seen = replace(seen, failed_revision=revision, failures=failures)
        self._see(slot, seen)

    def reported(
        self,
        cell: str,
        data_plane: str,
        revision: int,
        health: Health,
        cause: Cause | None,
        components: tuple[ComponentReport, ...],
    ) -> None:
        """The agent says how a Cell is."""
        slot = self.slot(cell, data_plane)
        if slot is None or revision > slot.bundle.revision:
            return
        seen = replace(
            slot.observed,
            report_revision=revision,
            health=health,
            cause=cause,
            components=components,
        )
        self._see(slot, ready_when_seen(seen, slot.bundle.revision))

    def forget_observed(self, data_plane: str) -> None:
        """Another cluster stands behind a data plane now: it has nothing yet."""
        for slot in list(self.of_plane(data_plane).values()):
            self._see(slot, Observed())

    async def flush(self) -> None:
        """Store what was observed since the last time, in one transaction."""
        dirty, self._dirty = self._dirty, {}
        if not dirty:
            return
        try:
            await self._store.save_observed(dirty.values())
        except BaseException:
            self._dirty = dirty | self._dirty
            raise

    async def keep(self) -> None:
        """Store what is observed, some moments after it was, until cancelled."""
        while True:
            await self._stir.wait()
            await self._clock.sleep(_FLUSH_SECONDS)
            self._stir.clear()
            try:
                await self.flush()
            except Exception:
                self._stir.set()
                raise

    @asynccontextmanager
    async def _locked(self, cell: str, data_plane: str) -> AsyncIterator[None]:
        """What is wanted of a slot changes in one place at a time."""
        key = cell, data_plane
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked() and self.slot(cell, data_plane) is None:
                self._locks.pop(key, None)

    def _new_slot(self, cell: str, data_plane: str, namespace: str) -> Slot:
        return Slot(
            cell=cell, data_plane=data_plane, namespace=namespace, create_time=self._clock.now()
        )

    def _add(self, slot: Slot) -> None:
        self._cells.setdefault(slot.cell, {})[slot.data_plane] = slot
        self._planes.setdefault(slot.data_plane, {})[slot.cell] = slot

    def _settle(self, slot: Slot, new: Bundle, digest: str) -> None:
        # Removals that were applied while this was being stored are done.
        slot.bundle = rollout.applied(new, slot.observed.applied_revision)
        slot.digest = digest
        slot.cell_revisions[new.revision] = new.cell_revision
        while len(slot.cell_revisions) > 32:
            slot.cell_revisions.pop(min(slot.cell_revisions))
        self._add(slot)
        self._observed(slot.cell)

    def _see(self, slot: Slot, seen: Observed) -> None:
        if seen == slot.observed:
            return
        slot.observed = seen
        self._dirty[slot.cell, slot.data_plane] = slot
        self._stir.set()
        self._observed(slot.cell)

    def _wanted(self, slot: Slot) -> None:
        for watcher in self._on_wanted:
            watcher(slot.data_plane, slot.cell)

    def _observed(self, cell: str) -> None:
        for watcher in self._on_observed:
            watcher(cell)

    def _remember(self, contents: Mapping[str, bytes]) -> None:
        for digest, content in contents.items():
            if digest not in self._contents:
                self._contents[digest] = content
                self._cached += len(content)
        while self._cached > _CACHE_BYTES:
            _, content = self._contents.popitem(last=False)
            self._cached -= len(content)
