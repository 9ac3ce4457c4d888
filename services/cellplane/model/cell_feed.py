"""The feed of wanted Cells: level-triggered, so that a reader who is slow gets the latest alone.

A step is read from the Cells' own rows when it is sent: nothing is buffered for anybody, and a Cell
that changed ten times meanwhile is one step. The resume token is a row's sequence.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from cellplane.cell.problem import Invalid, OutOfRange, Problem
from cellplane.model.repository import CellRow, Repository
from cellplane.store.database import Database, Transaction

BOOKMARK_SECONDS = 15.0
_PAGE = 200


class StepType(Enum):
    """What a step tells; the values are those of the contract."""

    WANTED = "WANTED"
    DELETED = "DELETED"
    SYNCED = "SYNCED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellStep:
    """One step."""

    type: StepType
    row: CellRow | None = None
    token: str = ""


class CellFeed:
    """Reads the feed for any number of watchers."""

    def __init__(
        self,
        database: Database,
        repository: Repository,
        waited_for: Callable[[Transaction], Awaitable[Sequence[str]]],
    ) -> None:
        """``waited_for(tx)`` names Cells that ended, and whose end somebody waits for."""
        self._waited_for = waited_for
        self._database = database
        self._repository = repository
        self._bells: set[asyncio.Event] = set()

    def ring(self) -> None:
        """Tell every watcher that a Cell changed; the change holds already."""
        for bell in self._bells:
            bell.set()

    async def watch(self, token: str) -> AsyncIterator[CellStep]:
        """Yield steps until the caller goes away.

        Raises:
            OutOfRange: the token is not of this database's past: start anew without one.
        """
        bell = asyncio.Event()
        self._bells.add(bell)
        try:
            async with self._database.snapshot() as tx:
                last = await self._repository.last_sequence(tx)
            if token:
                position = decode(token)
                if position > last:
                    raise OutOfRange("the resume token is of another past: start anew without one")
            else:
                position = last
                async for step in self._picture(last):
                    yield step
                yield CellStep(type=StepType.SYNCED, token=encode(position))
            while True:
                bell.clear()
                async with self._database.snapshot() as tx:
                    rows = await self._repository.read_feed(tx, position, _PAGE, with_deleted=True)
                for row in rows:
                    position = row.sequence
                    kind = StepType.DELETED if _is_gone(row) else StepType.WANTED
                    yield CellStep(type=kind, row=row, token=encode(position))
                if rows:
                    continue
                try:
                    async with asyncio.timeout(BOOKMARK_SECONDS):
                        await bell.wait()
                except TimeoutError:
                    yield CellStep(type=StepType.BOOKMARK, token=encode(position))
        finally:
            self._bells.discard(bell)

    async def _picture(self, last: int) -> AsyncIterator[CellStep]:
        position = 0
        while position < last:
            async with self._database.snapshot() as tx:
                rows = await self._repository.read_feed(tx, position, _PAGE, with_deleted=False)
            for row in rows:
                position = row.sequence
                if not _is_gone(row):
                    yield CellStep(type=StepType.WANTED, row=row)
            if not rows:
                break
        # Who starts anew has not heard of their end, and says where they are left.
        async with self._database.snapshot() as tx:
            ended = await self._repository.read_cells(tx, await self._waited_for(tx))
        for row in ended.values():
            if row.is_deleted:
                yield CellStep(type=StepType.DELETED, row=row)


def _is_gone(row: CellRow) -> bool:
    return row.is_deleted or row.frame is None


def encode(sequence: int) -> str:
    """Write a resume token."""
    return base64.urlsafe_b64encode(f"c{sequence}".encode()).decode().rstrip("=")


def decode(token: str) -> int:
    """Read a resume token; raises ``Invalid`` for any other text."""
    with contextlib.suppress(ValueError):
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        if text.startswith("c"):
            return int(text[1:])
    problem = Problem(
        reason="RESUME_TOKEN_INVALID",
        message="the resume token is not one of this feed: start anew without one",
        field="resume_token",
    )
    raise Invalid(problem.message, problems=[problem], reason=problem.reason)
