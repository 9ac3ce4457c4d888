"""What makes one feasible data plane better than another: parts in the order in which they count.

Each part is an integer, more is better, and a set of planes is worth the sum of its parts, compared
part by part. The last is a rendezvous hash (Thaler and Ravishankar, 1998), so that ties spread over
planes and stay as they are when planes come and go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final, TypeAlias

from cellplane.cell.requirement import Effect
from cellplane.placement.scheduler.filters import tier_of, untolerated
from cellplane.placement.scheduler.snapshot import Demand, Plane, outside_of

Scores: TypeAlias = tuple[int, ...]
"""One number for each entry of ``PARTS``."""

BUCKETS: Final = 64
_MASK: Final = (1 << 64) - 1
_MIX: Final = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio, odd: multiplying with it spreads what differs (Knuth, 6.4)."""
_TURNED: Final = tuple((bucket + 1) * _MIX for bucket in range(BUCKETS))


def stickiness(_plane: Plane, _demand: Demand, there: bool) -> int:
    """Stay where it is: the fewest moves."""
    return int(there)


def tier(plane: Plane, demand: Demand, _there: bool) -> int:
    """Fill the first tier: one more copy in it outweighs all that could be in later ones."""
    tiers = len(demand.requirement.tiers)
    found = tier_of(plane, demand)
    return tier_worth(found, tiers, demand.copies) if found is not None else 0


def tier_worth(found: int, tiers: int, copies: int) -> int:
    """What a plane of a tier counts."""
    return int((copies + 1) ** (tiers - 1 - found))


def preference(plane: Plane, demand: Demand, _there: bool) -> int:
    """The weights of the wishes that it fulfils, and what others think of it."""
    wishes = sum(p.weight for p in demand.requirement.preferences if plane.matches(p.selector))
    near = sum(n.weight for n in demand.near if n.weight is not None and n.holds(plane))
    return wishes + near + outside_of(plane, demand.now)


def soft_taints(plane: Plane, demand: Demand, _there: bool) -> int:
    """Minus one for each soft taint that is not tolerated."""
    return -sum(t.effect is Effect.PREFER_NO_SCHEDULE for t in untolerated(plane, demand))


def balance(plane: Plane, _demand: Demand, _there: bool) -> int:
    """Minus the other Cells on it."""
    return -plane.cell_count


def cost(plane: Plane, _demand: Demand, _there: bool) -> int:
    """Minus what it costs."""
    return -plane.cost


def rendezvous(plane: Plane, demand: Demand, _there: bool) -> int:
    """A hash of the Cell and the plane: 48 bits, so that sums stay exact as ``double``."""
    return mix(plane_hash(plane.data_plane), cell_hash(demand.cell))


@lru_cache(maxsize=65536)
def plane_hash(data_plane: str) -> int:
    """The plane's part of the rendezvous hash."""
    return int.from_bytes(hashlib.sha256(b"plane " + data_plane.encode()).digest()[:8])


@lru_cache(maxsize=65536)
def cell_hash(cell: str) -> int:
    """The Cell's part of the rendezvous hash."""
    return int.from_bytes(hashlib.sha256(b"cell " + cell.encode()).digest()[:8])


def mix(of_plane: int, of_cell: int) -> int:
    """Both parts as one number of 48 bits: the bucket's first, then the plane's own.

    With buckets of planes, the best of many are found without hashing all of them; as every plane
    stays in its bucket, the order of others does not depend on who else is there.
    """
    own = ((of_plane ^ of_cell) * _MIX & _MASK) >> 36
    return _bucket(of_plane % BUCKETS, of_cell) << 28 | own


def mixes(of_planes: Iterable[int], of_cell: int) -> list[int]:
    """The same for many planes."""
    likes = _likes(of_cell)
    return [
        likes[plane % BUCKETS] | ((plane ^ of_cell) * _MIX & _MASK) >> 36 for plane in of_planes
    ]


@lru_cache(maxsize=4096)
def buckets(of_cell: int) -> tuple[int, ...]:
    """The buckets of planes in the order in which a Cell likes them."""
    return tuple(sorted(range(BUCKETS), key=_likes(of_cell).__getitem__, reverse=True))


@lru_cache(maxsize=4096)
def _likes(of_cell: int) -> list[int]:
    """By bucket, how much a Cell likes it."""
    return [
        (((turned ^ of_cell) * _MIX & _MASK) >> 50 << 6 | bucket) << 28
        for bucket, turned in enumerate(_TURNED)
    ]


def _bucket(bucket: int, of_cell: int) -> int:
    mixed = (_TURNED[bucket] ^ of_cell) * _MIX & _MASK
    return (mixed >> 50 << 6) | bucket


PARTS: Final[tuple[tuple[str, Callable[[Plane, Demand, bool], int]], ...]] = (
    ("stickiness", stickiness),
    ("tier", tier),
    ("preference", preference),
    ("soft_taints", soft_taints),
    ("balance", balance),
    ("cost", cost),
    ("rendezvous", rendezvous),
)
NOTHING: Final[Scores] = (0,) * len(PARTS)


def scores(plane: Plane, demand: Demand, *, there: bool) -> Scores:
    """All parts for one plane."""
    return tuple(part(plane, demand, there) for _, part in PARTS)


def add(left: Scores, right: Scores) -> Scores:
    """The parts of a larger set."""
    return tuple(a + b for a, b in zip(left, right, strict=True))


# The same as one number: sums of up to a thousand planes never carry into the part above.
_RENDEZVOUS: Final = 60
_COST: Final = _RENDEZVOUS + 44
_BALANCE: Final = _COST + 44
_SOFT: Final = _BALANCE + 24
_PREFERENCE: Final = _SOFT + 44
STICKINESS: Final = _PREFERENCE + 192
_HALF_24, _ONES_24 = 1 << 23, (1 << 24) - 1
_HALF_44, _ONES_44 = 1 << 43, (1 << 44) - 1
_HALF_60, _ONES_60 = 1 << 59, (1 << 60) - 1
_HALF_192, _ONES_192 = 1 << 191, (1 << 192) - 1


def static(tier_part: int, preference_part: int, soft_part: int) -> int:
    """The parts that Cells with an equal demand share."""
    return (tier_part << _PREFERENCE) + (preference_part << _SOFT) + (soft_part << _BALANCE)


def packed(static_part: int, count: int, price: int, hashed: int) -> int:
    """All parts but stickiness."""
    return static_part - (count << _COST) - (price << _RENDEZVOUS) + hashed


def above_spread(worth: int) -> int:
    """The parts of a sum that count more than a soft spread: moves, and tier."""
    return (worth + (1 << (_PREFERENCE - 1))) >> _PREFERENCE


def unpacked(worth: int) -> Scores:
    """The parts again, as many as there are in ``PARTS``; the tier's is shown as it was packed."""
    hashed = ((worth + _HALF_60) & _ONES_60) - _HALF_60
    worth = (worth - hashed) >> 60
    price = ((worth + _HALF_44) & _ONES_44) - _HALF_44
    worth = (worth - price) >> 44
    count = ((worth + _HALF_44) & _ONES_44) - _HALF_44
    worth = (worth - count) >> 44
    soft = ((worth + _HALF_24) & _ONES_24) - _HALF_24
    worth = (worth - soft) >> 24
    wish = ((worth + _HALF_44) & _ONES_44) - _HALF_44
    worth = (worth - wish) >> 44
    tier_part = ((worth + _HALF_192) & _ONES_192) - _HALF_192
    return ((worth - tier_part) >> 192, tier_part, wish, soft, count, price, hashed)
