"""A target in memory that keeps the target's rules, and lets a test hold a write or change things.

It is an implementation of ``Target`` and nothing of the agent is replaced; versions grow as an API
server's do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cellplane.agent import drift, health
from cellplane.agent.health import ObjectHealth
from cellplane.agent.objects import Outcome, Wanted
from cellplane.agent.target import Attempt, Body, Observer, Prior, Removed
from cellplane.cell import labels
from cellplane.cell.manifest import ObjectKey


class MemoryTarget:
    """Objects in a dictionary."""

    exact = False

    def __init__(self) -> None:
        self.objects: dict[ObjectKey, dict[str, Any]] = {}
        self.writes: list[tuple[ObjectKey, Outcome]] = []
        self.refused: dict[ObjectKey, Attempt] = {}
        self.open = asyncio.Event()
        """While it is not set, writes wait after they were done, as for an answer."""
        self.open.set()
        self.written = asyncio.Event()
        self._observer: Observer | None = None
        self._version = 0

    async def uid(self) -> str:
        """Always the same."""
        return "memory"

    async def run(self, observer: Observer) -> None:
        """Tell nothing by itself but that there is nothing."""
        self._observer = observer
        observer.pods_listed(())
        await asyncio.Event().wait()

    def follow(self, kinds: Collection[tuple[str, str]]) -> None:
        """Everything is told anyway."""

    def health(self, body: Body) -> ObjectHealth:
        """By the rules of a plane without controllers."""
        return health.assess(body, controlled=False)

    async def prior(self, cell: str, wanted: Sequence[Wanted]) -> Mapping[ObjectKey, Prior]:
        """Look who owns it."""
        found: dict[ObjectKey, Prior] = {}
        for each in wanted:
            live = self.objects.get(each.key)
            owner = (live or {}).get("metadata", {}).get("annotations", {}).get(labels.OWNER)
            taken = Prior.OURS if owner == cell else Prior.TAKEN
            found[each.key] = Prior.ABSENT if live is None else taken
        return found

    async def apply(self, wanted: Wanted, *, force: bool, before: int) -> Attempt:
        """Write it, unless a test refuses it; then wait until the test lets the answer through."""
        if wanted.key in self.refused:
            attempt = self.refused[wanted.key]
            self.writes.append((wanted.key, attempt.outcome))
            return attempt
        outcome = Outcome.CHANGED if wanted.key in self.objects else Outcome.CREATED
        body = self.put(wanted.key, drift.parse(wanted.content))
        self.writes.append((wanted.key, outcome))
        self.written.set()
        await self.open.wait()
        return Attempt(outcome=outcome, live=body)

    async def replace(self, wanted: Wanted, live: Body) -> Attempt:
        """Write it."""
        return await self.apply(wanted, force=True, before=0)

    async def remove(self, cell: str, key: ObjectKey) -> tuple[Removed, str]:
        """Take it out, if it is of the Cell."""
        live = self.objects.get(key)
        if live is None:
            return Removed.GONE, ""
        if live["metadata"].get("annotations", {}).get(labels.OWNER) != cell:
            return Removed.NOT_OURS, "not of this Cell"
        del self.objects[key]
        self.writes.append((key, Outcome.REMOVED))
        return Removed.GONE, ""

    async def log_lines(self, namespace: str, pod: str, container: str) -> tuple[str, ...]:
        """None."""
        return ()

    def put(self, key: ObjectKey, body: dict[str, Any]) -> dict[str, Any]:
        """Have an object, as anybody may write it."""
        self._version += 1
        metadata = {**body["metadata"], "uid": str(key), "resourceVersion": str(self._version)}
        self.objects[key] = {**body, "metadata": metadata}
        return self.objects[key]

    def change(self, key: ObjectKey, **fields: Any) -> None:
        """Change an object as somebody else does, and tell."""
        body = self.put(key, {**self.objects[key], **fields})
        if self._observer is not None:
            self._observer.object_seen(key, body)

    def delete(self, key: ObjectKey) -> None:
        """Delete an object as somebody else does, and tell."""
        del self.objects[key]
        self._version += 1
        if self._observer is not None:
            self._observer.object_gone(key, self._version)
