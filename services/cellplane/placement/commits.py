"""Decisions on their way into the store: many in one commit, and none is told of before.

Looked at again when it is committed: what was decided anew since is stored in its newer form, and
what was decided anew while it was being stored is not told of; both count as conflicts, and cost
that Cell only. A process that is not the latest leader any more stores nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

from cellplane.placement.failpoints import UNARMED, Reached
from cellplane.placement.records import Decided


class DecisionStore(Protocol):
    """Keeps decisions."""

    async def save_decisions(self, decided: Mapping[str, Decided]) -> None:
        """Store where Cells are to be, all or none."""
        ...

    async def forget_decision(self, cell: str) -> None:
        """Forget a Cell."""
        ...


class Commits:
    """Stores decisions in the order in which they were made."""

    def __init__(
        self,
        *,
        store: DecisionStore,
        on_held: Callable[[str, Decided], None],
        reached: Reached = UNARMED,
    ) -> None:
        """``on_held(cell, decided)`` is called once it is certain that a decision holds."""
        self._store = store
        self._on_held = on_held
        self.reached = reached
        self._pending: dict[str, Decided] = {}
        self._storing: asyncio.Task[None] | None = None
        self.conflicts = 0
        """Decisions that were made anew before they were stored."""
        self.batches = 0

    def add(self, cell: str, decided: Decided) -> None:
        """Store a decision soon."""
        if cell in self._pending:
            self.conflicts += 1
            del self._pending[cell]
        self._pending[cell] = decided
        self.begin()

    def begin(self) -> None:
        """Store what waits, if nobody does."""
        if self._pending and (self._storing is None or self._storing.done()):
            self._storing = asyncio.create_task(self._store_all(), name="decisions")
            self._storing.add_done_callback(_heard)

    async def settled(self, cell: str) -> None:
        """Return when nothing of a Cell waits to be stored; raise what kept it from that."""
        while cell in self._pending:
            self.begin()
            if self._storing is not None:
                await asyncio.shield(self._storing)

    async def forget(self, cell: str) -> None:
        """A Cell is gone; so is what was stored of it."""
        self._pending.pop(cell, None)
        if self._storing is not None and not self._storing.done():
            await asyncio.wait([self._storing])
        await self._store.forget_decision(cell)

    async def close(self) -> None:
        """End; what is not stored is decided again by who comes next."""
        if self._storing is not None:
            self._storing.cancel()
            await asyncio.wait([self._storing])

    async def _store_all(self) -> None:
        # Whatever is decided in this turn of the loop goes into the same commit.
        await asyncio.sleep(0)
        while self._pending:
            batch = dict(self._pending)
            await self.reached("decision.made")
            await self._store.save_decisions(batch)
            await self.reached("decision.stored")
            self.batches += 1
            for cell, decided in batch.items():
                if self._pending.get(cell) is decided:
                    del self._pending[cell]
                    self._on_held(cell, decided)


def _heard(task: asyncio.Task[None]) -> None:
    """Whoever waits gets the error; if nobody does, the next look begins again."""
    if not task.cancelled():
        task.exception()
