"""Make before break, on real data planes: how far the moves of a Cell are, step by step.

Each step is stored before what follows from it happens, and what follows can happen twice; so a
process that ends anywhere goes on from there. Calls are led to the new data plane once the Cell is
ready on it, and the old one is cleared only after those who call had time to hear of it.
"""

from __future__ import annotations

from collections.abc import Iterable

from cellplane.placement.cells import CellEntry
from cellplane.placement.deciding import Deciding
from cellplane.placement.desired import Desired
from cellplane.placement.failpoints import UNARMED, Reached
from cellplane.placement.planes import Planes
from cellplane.placement.scheduler.moves import Move, Step
from cellplane.placement.slots import Slot
from cellplane.runtime.clock import Clock


class Moving:
    """Brings Cells off the data planes that they are not to be on."""

    def __init__(
        self,
        *,
        desired: Desired,
        deciding: Deciding,
        planes: Planes,
        clock: Clock,
        drain_seconds: float = 5.0,
        reached: Reached = UNARMED,
    ) -> None:
        """``drain_seconds`` is how long calls may still come to what is left."""
        self._desired = desired
        self._deciding = deciding
        self._planes = planes
        self._clock = clock
        self._drain_seconds = drain_seconds
        self._reached = reached
        self._draining: dict[str, float] = {}
        """By Cell, when the first of its data planes is drained."""

    def leaving(self, entry: CellEntry) -> list[str]:
        """Data planes that a Cell is to leave, and was not told to, by name."""
        return [name for name, slot in self._left(entry) if not slot.bundle.removed]

    def concerns(self, entry: CellEntry) -> bool:
        """Whether what is seen of a Cell can bring it further."""
        return bool(entry.decided is not None and entry.decided.moves) or bool(self._left(entry))

    def due(self) -> list[str]:
        """Cells of which a data plane is drained by now."""
        now = self._clock.now().timestamp()
        found = [cell for cell, at in self._draining.items() if at <= now]
        for cell in found:
            del self._draining[cell]
        return found

    async def go_on(self, cell: str, entry: CellEntry) -> bool:
        """Make what can be made of a Cell's moves; tells whether it has to be looked at again."""
        for name in list(self._desired.of_cell(cell)):
            if self._planes.get(name) is None:
                await self._desired.forget(cell, name)
                entry.compilations.pop(name, None)
                return True
        decided = entry.decided
        if decided is None:
            return False
        moves = {move.leaves: move for move in decided.moves}
        await self._over(cell, entry, moves.values())
        ready = self._ready(cell, entry)
        for name in self.leaving(entry):
            move = moves.get(name.rsplit("/", 1)[-1])
            if move is not None and not await self._step(cell, entry, move, ready=ready):
                continue
            if move is None and not ready:
                continue
            await self._desired.remove(cell, name)
            entry.compilations.pop(name, None)
            await self._reached("move.removed")
        return False

    async def _step(self, cell: str, entry: CellEntry, move: Move, *, ready: bool) -> bool:
        """The next step of a move; tells whether the old data plane can be cleared."""
        if move.step is Step.RESERVED:
            await self._reached("move.made")
            move = await self._proceed(entry, move)
        if move.step is Step.MAKING and ready:
            await self._reached("move.ready")
            move = await self._proceed(entry, move)
            await self._reached("move.cut_over")
        if move.step is Step.CUT_OVER:
            move = await self._proceed(entry, move)
            await self._reached("move.draining")
        if move.step is not Step.DRAINING:
            return False
        end = move.times[-1][1] + self._drain_seconds
        if self._clock.now().timestamp() < end:
            self._draining[cell] = min(end, self._draining.get(cell, end))
            return False
        return True

    async def _proceed(self, entry: CellEntry, move: Move) -> Move:
        """Store the next step; what the move is now, which may be another one."""
        self._deciding.proceed(move, entry.name.organization)
        await self._deciding.commits.settled(move.cell)
        decided = entry.decided
        known = decided.moves if decided is not None else ()
        return next(
            (m for m in known if (m.leaves, m.comes) == (move.leaves, move.comes)), move.cancel(0.0)
        )

    async def _over(self, cell: str, entry: CellEntry, moves: Iterable[Move]) -> None:
        """Note the moves of which nothing is left on the old data plane."""
        organization = entry.name.organization
        for move in moves:
            name = f"organizations/{organization}/dataPlanes/{move.leaves}"
            if move.step is Step.DRAINING and self._desired.slot(cell, name) is None:
                await self._reached("move.over")
                self._deciding.left(cell, name)
                await self._deciding.commits.settled(cell)

    def _ready(self, cell: str, entry: CellEntry) -> bool:
        """Whether the Cell is ready wherever it is to be."""
        organization = entry.name.organization
        for name in entry.decided.data_planes if entry.decided is not None else ():
            slot = self._desired.slot(cell, f"organizations/{organization}/dataPlanes/{name}")
            if slot is None or not slot.bundle.revision:
                return False
            if slot.observed.ready_revision != slot.bundle.revision:
                return False
        return True

    def _left(self, entry: CellEntry) -> list[tuple[str, Slot]]:
        if entry.decided is None:
            return []
        staying = set(entry.decided.data_planes)
        return [
            (name, slot)
            for name, slot in self._desired.of_cell(str(entry.name)).items()
            if name.rsplit("/", 1)[-1] not in staying
        ]
