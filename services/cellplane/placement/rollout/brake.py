"""The mass-removal brake: what removes much of a data plane waits until somebody says it is meant.

A deletion by mistake, a model that came back empty or a bug all look like this. Removals count from
what the agent has accepted, over all Cells of the plane together; one confirmation covers exactly
what it named, and nothing that is to be removed later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cellplane.placement.rollout.bundle import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much may go unasked: whichever of the two is more."""

    objects: int = 20
    share: float = 0.25
    """Of all objects of the data plane, with those that are to go."""

    def exceeded(self, objects: int, total: int) -> bool:
        """Whether so many objects of so many are too many to remove unasked."""
        return objects > max(self.objects, self.share * total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Removing:
    """A Cell of a data plane, as far as removals go."""

    cell: str
    bundle: Bundle
    accepted: int
    """The revision that the agent has stored."""
    confirmed: int = 0
    """The revision up to which removals were confirmed."""

    @property
    def asked(self) -> int:
        """How many objects are to go that nobody has confirmed, and the agent does not know of."""
        known = max(self.accepted, self.confirmed)
        return sum(1 for held in self.bundle.removals.values() if held.revision > known)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRemovals:
    """Removals that wait."""

    objects: int
    total: int
    cells: tuple[str, ...]
    """Sorted."""
    digest: str
    """Of the Cells and their revisions."""


def held(cells: Iterable[Removing], limits: Limits) -> HeldRemovals | None:
    """What waits for a confirmation, of all Cells of one data plane; ``None`` if nothing has to."""
    asked: list[tuple[str, int, int]] = []
    total = 0
    for each in cells:
        total += len(each.bundle.objects) + len(each.bundle.removals)
        if count := each.asked:
            asked.append((each.cell, each.bundle.revision, count))
    objects = sum(count for _, _, count in asked)
    if not limits.exceeded(objects, total):
        return None
    lines = sorted(f"{cell} {revision} {count}" for cell, revision, count in asked)
    return HeldRemovals(
        objects=objects,
        total=total,
        cells=tuple(sorted(cell for cell, _, _ in asked)),
        digest=hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16],
    )
