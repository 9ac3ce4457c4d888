"""What happens to resources, to whoever watches: what is there, a marker, then each change.

One reader of the database serves all watchers: it is woken by commits of this process and, on
PostgreSQL, of others, and never looks in vain. What was before a watcher's time is read page by
page, as it goes on reading. From then on it is handed what happens: one that does not keep up is
ended, its buffer is dropped, and it can resume; memory is bounded.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

import structlog

from cellplane.cell.names import is_parent_of
from cellplane.cell.problem import (
    CellplaneError,
    Invalid,
    OutOfRange,
    Problem,
    ResourceExhausted,
)
from cellplane.runtime.clock import Clock, SystemClock
from cellplane.store.database import Database
from cellplane.store.picture import Picture
from cellplane.store.resources import ChangeType, Recorded, Resources

BUFFER = 1000
"""Steps that a watcher may lag behind."""
BUFFER_BYTES = 16 * 1024 * 1024
"""What these steps may weigh."""
BOOKMARK_SECONDS = 15.0
KEEP = 100_000
"""Changes that can be resumed from, at most."""
KEEP_TIME = timedelta(days=7)
"""How long changes can be resumed from, at most."""
_AT_ONCE = 500
_PAGE = 200
_PRUNE_EVERY = 1000
_PRUNE_SECONDS = 3600.0
_RETRY_SECONDS = 1.0

_log = structlog.get_logger()


class StepType(Enum):
    """What one step tells; the values are those of the contract."""

    SNAPSHOT = "SNAPSHOT"
    SYNCED = "SYNCED"
    CREATED = "CREATED"
    UPDATED = "UPDATED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a feed; ``payload`` is empty where it tells of no resource."""

    type: StepType
    name: str = ""
    kind: str = ""
    payload: bytes = b""
    revision: int = 0
    """Of the resource, from which its etag is made."""
    time: datetime | None = None
    token: str = ""


@dataclass(slots=True, eq=False)
class _Watcher:
    parent: str
    kinds: frozenset[str]
    steps: int
    """How many may wait."""
    waiting: deque[Recorded] = field(default_factory=deque)
    weight: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False

    def wants(self, change: Recorded) -> bool:
        if self.kinds and change.kind not in self.kinds:
            return False
        return change.name == self.parent or is_parent_of(self.parent, change.name)

    def hand(self, change: Recorded) -> None:
        """Let a change wait; where there is no room, none waits any more."""
        self.weight += len(change.payload)
        if len(self.waiting) >= self.steps or self.weight > BUFFER_BYTES:
            self.forget()
            self.lost = True
        else:
            self.waiting.append(change)
        self.news.set()

    def take(self) -> Recorded:
        change = self.waiting.popleft()
        self.weight -= len(change.payload)
        return change

    def forget(self) -> None:
        self.waiting.clear()
        self.weight = 0
        self.lost = False


class Feed:
    """Use it as an async context manager; it reads while it is entered."""

    def __init__(
        self,
        database: Database,
        resources: Resources,
        *,
        clock: Clock | None = None,
        buffer: int = BUFFER,
        keep: int = KEEP,
        keep_time: timedelta = KEEP_TIME,
        bookmark_seconds: float = BOOKMARK_SECONDS,
    ) -> None:
        self._database = database
        self._resources = resources
        self._picture = Picture(resources.tables)
        self._clock = clock or SystemClock()
        self._buffer = buffer
        self._keep = keep
        self._keep_time = keep_time
        self._bookmark_seconds = bookmark_seconds
        self._watchers: set[_Watcher] = set()
        self._news = asyncio.Event()
        self._sequence = 0
        self._pruned = 0
        self._stack = contextlib.AsyncExitStack()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Feed:
        async with self._database.snapshot() as tx:
            first, self._sequence = await self._resources.span(tx)
        self._pruned = max(first - 1, 0)
        self._resources.on_commit.append(self._news.set)
        self._news.set()
        await self._stack.enter_async_context(self._database.listen(self._news.set))
        self._task = asyncio.create_task(self._read(), name="feed")
        return self

    async def __aexit__(self, *error: object) -> None:
        self._resources.on_commit.remove(self._news.set)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._stack.aclose()

    async def watch(
        self, *, parent: str = "", kinds: Sequence[str] = (), token: str = ""
    ) -> AsyncIterator[Step]:
        """Yield steps until the caller goes away.

        Raises:
            OutOfRange: *token* is too old, or of another past: start anew without one.
            ResourceExhausted: the caller did not keep up: resume.
        """
        if token:
            position = await self._resume(decode(token))
        else:
            async for step in self._paint(parent, kinds):
                # The last one says that all was shown, and where the changes begin.
                token = step.token
                yield step
            position = decode(token)
        watcher = _Watcher(parent, frozenset(kinds), self._buffer)
        try:
            async for change in self._missed(watcher, position):
                position = change.sequence
                if watcher.wants(change):
                    yield _step(change)
            async for step in self._follow(watcher, position):
                yield step
        finally:
            self._watchers.discard(watcher)

    async def _paint(self, parent: str, kinds: Sequence[str]) -> AsyncIterator[Step]:
        """Tell what there is at one moment, in pages, and that it was all."""
        async with self._database.snapshot() as tx:
            _, sequence = await self._resources.span(tx)
            frame = await self._picture.frame(tx, parent, sorted(kinds))
        for start in range(0, len(frame), _PAGE):
            async with self._database.snapshot() as tx:
                found = await self._picture.fill(tx, frame[start : start + _PAGE])
            for seen in found:
                yield Step(
                    type=StepType.SNAPSHOT,
                    name=seen.name,
                    kind=seen.kind,
                    payload=seen.payload,
                    revision=seen.revision,
                    time=seen.time,
                )
        yield Step(type=StepType.SYNCED, token=encode(sequence))

    async def _resume(self, position: int) -> int:
        async with self._database.snapshot() as tx:
            first, last = await self._resources.span(tx)
            known = await self._picture.knows(tx, position)
        # A number that no change has belongs to a past that a restore has undone.
        if position > last or position < first - 1 or (position >= first > 0 and not known):
            raise OutOfRange("the resume token is too old: start anew without one")
        return position

    async def _missed(self, watcher: _Watcher, position: int) -> AsyncIterator[Recorded]:
        """Read what happened behind a position, until the watcher is handed all else."""
        while True:
            # Registered before the page is read, so that nothing falls between the two.
            watcher.forget()
            self._watchers.add(watcher)
            async with self._database.snapshot() as tx:
                page = await self._resources.changes_after(tx, position, limit=_PAGE)
                first, _ = await self._resources.span(tx)
            if first > position + 1 and position < self._pruned:
                raise _too_slow(self._keep)
            for change in page:
                position = change.sequence
                yield change
            if len(page) < _PAGE and not watcher.lost:
                return

    async def _follow(self, watcher: _Watcher, position: int) -> AsyncIterator[Step]:
        while True:
            while watcher.waiting:
                change = watcher.take()
                if change.sequence > position:
                    position = change.sequence
                    yield _step(change)
            if watcher.lost:
                raise _too_slow(self._buffer)
            watcher.news.clear()
            try:
                async with asyncio.timeout(self._bookmark_seconds):
                    await watcher.news.wait()
            except TimeoutError:
                if self._task is not None and self._task.done():
                    self._task.result()
                # All that was read was handed out: what others saw since does not age the token.
                position = max(position, self._sequence)
                yield Step(type=StepType.BOOKMARK, token=encode(position))

    async def _read(self) -> None:
        looked = -_PRUNE_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PRUNE_SECONDS):
                    await self._news.wait()
            self._news.clear()
            by_time = self._clock.monotonic() - looked >= _PRUNE_SECONDS
            try:
                await self._catch_up()
                await self._prune(by_time=by_time)
            except CellplaneError as error:
                _log.warning("feed.behind", reason=error.reason, error=error.message)
                await self._clock.sleep(_RETRY_SECONDS)
                self._news.set()
            else:
                looked = self._clock.monotonic() if by_time else looked

    async def _catch_up(self) -> None:
        while True:
            changes = await self._resources.news(self._database, self._sequence, limit=_AT_ONCE)
            for change in changes:
                self._sequence = change.sequence
                self._hand_out(change)
            if len(changes) < _AT_ONCE:
                return
            # What was handed out is to be read before the buffers are filled further.
            await asyncio.sleep(0)

    def _hand_out(self, change: Recorded) -> None:
        for watcher in self._watchers:
            if not watcher.lost and watcher.wants(change):
                watcher.hand(change)

    async def _prune(self, *, by_time: bool) -> None:
        until, worth = self._sequence - self._keep, min(_PRUNE_EVERY, self._keep)
        if by_time:
            async with self._database.snapshot() as tx:
                old = await self._resources.last_before(tx, self._clock.now() - self._keep_time)
            # The newest one stays, so that it is known what was pruned.
            until, worth = max(until, min(old, self._sequence - 1)), 1
        if until - self._pruned >= worth:
            async with self._database.transaction() as tx:
                await self._resources.prune(tx, until)
            self._pruned = until


def _too_slow(limit: int) -> ResourceExhausted:
    return ResourceExhausted(
        f"the reader is more than {limit} changes behind: resume with the last token",
        reason="WATCHER_TOO_SLOW",
    )


def encode(sequence: int) -> str:
    """Write a resume token."""
    return base64.urlsafe_b64encode(f"s{sequence}".encode()).decode().rstrip("=")


def decode(token: str) -> int:
    """Read a resume token."""
    with contextlib.suppress(ValueError):
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
        if text.startswith("s"):
            return int(text[1:])
    problem = Problem(
        reason="RESUME_TOKEN_INVALID",
        message="the resume token is not one of this service: start anew without one",
        field="resume_token",
    )
    raise Invalid(problem.message, problems=[problem])


def _step(change: Recorded) -> Step:
    kinds = {
        ChangeType.CREATED: StepType.CREATED,
        ChangeType.UPDATED: StepType.UPDATED,
        ChangeType.DELETED: StepType.DELETED,
    }
    return Step(
        type=kinds[change.type],
        name=change.name,
        kind=change.kind,
        payload=change.payload,
        revision=change.sequence,
        time=change.time,
        token=encode(change.sequence),
    )
