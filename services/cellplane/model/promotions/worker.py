"""Takes the steps of promotions that no call waits for: when something happened, or is due.

Woken by the feed of resources and by the time that a step is due at, never to look in vain. One
process at a time does it; each step is one transaction that reads what holds, so a process that
lost the lead and does not know it can do no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
import structlog

from cellplane.api.model.v1 import promotion_pb2
from cellplane.cell.problem import CellplaneError, Conflict, Unavailable
from cellplane.model.domain.kinds import Kind, organization_of, project_of
from cellplane.model.promotions.facts import source_cell, target_cell
from cellplane.model.promotions.lifecycle import LIVE, Promotions
from cellplane.model.tables import live_promotions
from cellplane.runtime.clock import Clock
from cellplane.store.database import Database
from cellplane.store.feed import Feed, Step, StepType, encode
from cellplane.store.resources import Resources

_KINDS = (Kind.PROMOTION, Kind.CELL, Kind.ENVIRONMENT, Kind.DEPLOYMENT_PIPELINE, Kind.PROJECT)
_LONGEST = 3600.0
_RETRY_SECONDS = 1.0
_log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Worker:
    """Use ``run`` in a task of its own; it goes on until it is cancelled."""

    database: Database
    resources: Resources
    feed: Feed
    clock: Clock
    promotions: Promotions
    _cells: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By promotion that is under way: its source's Cell, and its target's."""
    _due: dict[str, datetime] = field(default_factory=dict)
    _dirty: set[str] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Work while this process is the one that does."""
        while True:
            with contextlib.suppress(Unavailable, Conflict):
                await self.database.lead("promotions", self._lead)
            await self.clock.sleep(_RETRY_SECONDS)

    async def _lead(self) -> None:
        self._due.clear()
        async with self.database.snapshot() as tx:
            rows = (await tx.execute(sa.select(live_promotions))).all()
            _, last = await self.resources.span(tx)
        self._cells = {row.name: (row.source_cell, row.target_cell) for row in rows}
        self._dirty = set(self._cells)
        self._news.set()
        async with _beside(self._listen(encode(last))) as listening:
            while not listening.done():
                self._news.clear()
                await self._round()
                await self._rest(listening)
            # Who did not keep up begins anew.
            listening.result()

    async def _round(self) -> None:
        now = self.clock.now()
        self._dirty |= {name for name, due in self._due.items() if due <= now}
        while self._dirty:
            name = min(self._dirty)
            self._dirty.discard(name)
            self._due.pop(name, None)
            due = await self._step(name)
            if due is not None:
                self._due[name] = due

    async def _rest(self, listening: asyncio.Task[None]) -> None:
        wait = _LONGEST
        if self._due:
            wait = (min(self._due.values()) - self.clock.now()).total_seconds()
        if wait <= 0 or self._dirty:
            return
        news: asyncio.Task[Any] = asyncio.create_task(self._news.wait())
        try:
            waiting: set[asyncio.Task[Any]] = {news, listening}
            await asyncio.wait(waiting, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        finally:
            news.cancel()

    async def _step(self, name: str) -> datetime | None:
        try:
            async with self.database.transaction() as tx:
                return await self.promotions.advance(tx, name)
        except (Unavailable, Conflict):
            raise
        except CellplaneError as error:
            _log.info("promotion.refused", promotion=name, reason=error.reason)
            async with self.database.transaction() as tx:
                await self.promotions.fail(tx, name, error.message)
            return None

    async def _listen(self, token: str) -> None:
        """Note who has to be looked at."""
        async for step in self.feed.watch(kinds=tuple(k.value for k in _KINDS), token=token):
            touched = self._touched(step)
            if touched:
                self._dirty |= touched
                self._news.set()

    def _touched(self, step: Step) -> set[str]:
        if step.type is StepType.BOOKMARK:
            return set()
        match Kind(step.kind):
            case Kind.PROMOTION:
                return self._noted(step)
            case Kind.CELL:
                return {name for name, cells in self._cells.items() if step.name in cells}
            case Kind.PROJECT:
                return {name for name in self._cells if project_of(name) == step.name}
            case _:
                own = organization_of(step.name)
                return {name for name in self._cells if organization_of(name) == own}

    def _noted(self, step: Step) -> set[str]:
        promotion = promotion_pb2.Promotion.FromString(step.payload)
        target = target_cell(promotion)
        if step.type is StepType.DELETED or promotion.state not in LIVE:
            self._cells.pop(step.name, None)
            self._due.pop(step.name, None)
        else:
            self._cells[step.name] = (source_cell(promotion), target)
        # Others may have waited for their turn.
        return {name for name, cells in self._cells.items() if cells[1] == target}


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run something meanwhile."""
    task = asyncio.create_task(work, name="promotions-feed")
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
