"""Replicas divided over data planes by highest averages (Webster 1832, Sainte-Laguë 1910).

The next replica goes to the part with the highest ``weight / (2 n + 1)``, where it has ``n``. So a
sum is always exact, a larger total takes nothing away from anybody, and no part's share depends on
how the others came about. What is there stays: a division begins with what each part has, adds in
that order, and takes away in its reverse. Averages are compared as fractions, never as floats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One data plane that replicas go to."""

    data_plane: str
    weight: int
    """Nothing above the least is given to one of weight 0."""
    least: int = 0
    most: int | None = None
    has: int = 0
    """What it has already; kept as far as the bounds allow."""


def divide(total: int, parts: Sequence[Part]) -> dict[str, int] | None:
    """Divide; ``None`` if the bounds leave no way. Ties go to the name that sorts first."""
    counts = {
        p.data_plane: max(p.least, p.has if p.most is None else min(p.has, p.most)) for p in parts
    }
    if any(p.most is not None and p.most < p.least for p in parts):
        return None
    while sum(counts.values()) < total:
        open_parts = [
            p for p in parts if p.weight and (p.most is None or counts[p.data_plane] < p.most)
        ]
        if not open_parts:
            return None
        counts[_next(open_parts, counts)] += 1
    while sum(counts.values()) > total:
        above = [p for p in parts if counts[p.data_plane] > p.least]
        if not above:
            return None
        counts[_last(above, counts)] -= 1
    return counts


def fill(total: int, parts: Sequence[Part]) -> dict[str, int] | None:
    """Pack: everybody's least, then the parts one after the other, up to their most."""
    counts = {p.data_plane: p.least for p in parts}
    left = total - sum(counts.values())
    if left < 0:
        return None
    for part in parts:
        room = left if part.most is None else min(left, part.most - part.least)
        counts[part.data_plane] += max(0, room)
        left -= max(0, room)
    return None if left else counts


def _next(parts: Sequence[Part], counts: Mapping[str, int]) -> str:
    best = parts[0]
    for part in parts[1:]:
        # weight / (2 n + 1), compared without dividing
        left = part.weight * (2 * counts[best.data_plane] + 1)
        right = best.weight * (2 * counts[part.data_plane] + 1)
        if left > right or (left == right and part.data_plane < best.data_plane):
            best = part
    return best.data_plane


def _last(parts: Sequence[Part], counts: Mapping[str, int]) -> str:
    """The one whose last replica was given last."""
    worst = parts[0]
    for part in parts[1:]:
        left = part.weight * (2 * counts[worst.data_plane] - 1)
        right = worst.weight * (2 * counts[part.data_plane] - 1)
        if left < right or (left == right and part.data_plane > worst.data_plane):
            worst = part
    return worst.data_plane
