"""What makes one feasible data plane better than another: parts in the order in which they count.

Each part is an integer, more is better, and a set of planes is worth the sum of its parts, compared
part by part. The last is a rendezvous hash (Thaler and Ravishankar, 1998), so that ties spread over
planes and stay as they are when planes come and go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, TypeAlias

from cellplane.cell.requirement import Effect
from cellplane.placement.scheduler.filters import untolerated
from cellplane.placement.scheduler.snapshot import Demand, Plane

Scores: TypeAlias = tuple[int, ...]
"""One number for each entry of ``PARTS``."""


def stickiness(_plane: Plane, _demand: Demand, there: bool) -> int:
    """Stay where it is: the fewest moves."""
    return int(there)


def preference(plane: Plane, demand: Demand, _there: bool) -> int:
    """The weights of the wishes that it fulfils."""
    return sum(p.weight for p in demand.requirement.preferences if p.selector.holds(plane.labels))


def soft_taints(plane: Plane, demand: Demand, _there: bool) -> int:
    """Minus one for each soft taint that is not tolerated."""
    return -sum(t.effect is Effect.PREFER_NO_SCHEDULE for t in untolerated(plane, demand))


def balance(plane: Plane, _demand: Demand, _there: bool) -> int:
    """Minus the other Cells on it."""
    return -plane.cell_count


def rendezvous(plane: Plane, demand: Demand, _there: bool) -> int:
    """A hash of the Cell and the plane: 48 bits, so that sums stay exact as ``double``."""
    seed = f"{len(demand.cell)}:{demand.cell}{plane.data_plane}".encode()
    return int.from_bytes(hashlib.sha256(seed).digest()[:6])


PARTS: Final[tuple[tuple[str, Callable[[Plane, Demand, bool], int]], ...]] = (
    ("stickiness", stickiness),
    ("preference", preference),
    ("soft_taints", soft_taints),
    ("balance", balance),
    ("rendezvous", rendezvous),
)
NOTHING: Final[Scores] = (0,) * len(PARTS)


def scores(plane: Plane, demand: Demand, *, there: bool) -> Scores:
    """All parts for one plane."""
    return tuple(part(plane, demand, there) for _, part in PARTS)


def add(left: Scores, right: Scores) -> Scores:
    """The parts of a larger set."""
    return tuple(a + b for a, b in zip(left, right, strict=True))
