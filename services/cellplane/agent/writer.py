"""Writes single objects of one Cell, a bounded number at a time, and knows what a write made.

What is there and is not of the Cell is never written. A policy that somebody widened is put back
as a whole, as an apply leaves the fields of others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from cellplane.agent import drift
from cellplane.agent.admission import is_strict
from cellplane.agent.drift import Difference
from cellplane.agent.objects import Mark, Outcome, Wanted
from cellplane.agent.target import Attempt, Body, Prior, Removed, Target
from cellplane.cell.manifest import ObjectKey

AT_ONCE: Final = 8
"""Objects of one Cell that are written at the same time."""


class Writer:
    """Writes to the target for one Cell."""

    def __init__(self, cell: str, target: Target, slots: asyncio.Semaphore) -> None:
        """``slots`` bounds what all Cells write at the same time."""
        self._cell = cell
        self._target = target
        self._slots = slots
        self._own_slots = asyncio.Semaphore(AT_ONCE)

    async def prior(
        self, wanted: Sequence[Wanted], marks: Mapping[ObjectKey, Mark], *, fresh: bool
    ) -> Mapping[ObjectKey, Prior]:
        """What is there of what was never applied; nothing can be in a *fresh* namespace."""
        new = [each for each in wanted if each.key not in marks]
        if fresh or not new:
            return {each.key: Prior.ABSENT for each in new}
        return await self._target.prior(self._cell, new)

    async def write(
        self, wanted: Wanted, mark: Mark | None, prior: Prior | None, before: int
    ) -> Attempt:
        """Make an object as it is wanted.

        Args:
            wanted: The object.
            mark: How it was applied before, if it was.
            prior: What is there, if it was not.
            before: Its resource version as it was seen last; 0 if it was not.
        """
        key = wanted.key
        if prior is Prior.TAKEN:
            message = f"{key} is there and is not of this Cell: delete it, or use another name"
            return Attempt(outcome=Outcome.CONFLICT, message=message)
        if prior is None and mark is None:
            message = f"whether {key} is there already is not known now"
            return Attempt(outcome=Outcome.FAILED, message=message)
        async with self._own_slots, self._slots:
            force = mark is not None or prior is Prior.OURS
            attempt = await self._target.apply(wanted, force=force, before=before)
            if self._is_widened(wanted, mark, attempt.live):
                return await self._target.replace(wanted, attempt.live or {})
            return attempt

    async def remove(self, key: ObjectKey) -> tuple[Removed, str]:
        """Remove an object, if it is of the Cell."""
        async with self._own_slots, self._slots:
            return await self._target.remove(self._cell, key)

    def differences(self, wanted: Wanted, body: Body, mark: Mark | None) -> tuple[Difference, ...]:
        """How a live object differs from what was written, but for what the mark explains."""
        return drift.differences(
            drift.parse(wanted.content),
            body,
            strict=is_strict(wanted.phase, wanted.key.kind),
            exact=self._target.exact,
            residual=mark.residual if mark is not None else None,
        )

    def mark(self, wanted: Wanted, live: Body) -> Mark:
        """Remember a write, with what the server made of it."""
        left = self.differences(wanted, live, None)
        return Mark(
            digest=wanted.digest,
            uid=str(live.get("metadata", {}).get("uid", "")),
            residual={d.pointer: d.live for d in left},
        )

    def _is_widened(self, wanted: Wanted, mark: Mark | None, live: Body | None) -> bool:
        """Whether a policy still is other than the last write of the same made it."""
        if mark is None or live is None or mark.digest != wanted.digest:
            return False
        strict = is_strict(wanted.phase, wanted.key.kind)
        return strict and bool(self.differences(wanted, live, mark))
