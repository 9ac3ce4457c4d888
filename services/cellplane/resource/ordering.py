"""The order of a list (AIP-132): ``"a, b.c desc"``, and where in it a message stands.

What a path does not lead to comes first. Names decide between what is otherwise alike, so that the
order is total, and a page can start behind any message.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from google.protobuf.descriptor import Descriptor

from cellplane.cell.problem import Invalid, Problem
from cellplane.resource.filter.bind import Path, leaf, path_of
from cellplane.resource.filter.match import found_at
from cellplane.resource.filter.values import type_of

Key: TypeAlias = tuple[str | int | float, ...]
"""Where a message stands: for each term whether it has a value, and the value; then its name."""

MAX_TERMS: Final = 8
_TERM: Final = re.compile(r"(?P<path>[^\s,]+)(?:\s+(?P<direction>\S+))?")


@dataclass(frozen=True, slots=True)
class Term:
    """One field to order by."""

    path: Path
    descending: bool = False


Order: TypeAlias = tuple[Term, ...]


def parse(text: str, descriptor: Descriptor) -> Order:
    """Read an order; raises ``Invalid``."""
    terms: list[Term] = []
    seen: set[str] = set()
    for part in text.split(",") if text.strip() else ():
        found = _TERM.fullmatch(part.strip())
        if found is None or found["direction"] not in (None, "asc", "desc"):
            raise _wrong(text, f'"{part.strip()}" is not a field, or a field and "desc"')
        shown = found["path"]
        path = path_of(tuple(shown.split(".")), descriptor)
        if any(step.branches for step in path):
            raise _wrong(text, f'"{shown}" leads through a list or a map: it has no one place')
        if type_of(leaf(path[-1])) is None:
            raise _wrong(text, f'"{shown}" is no single value: order by a field of it')
        if shown in seen:
            raise _wrong(text, f'"{shown}" is there twice')
        seen.add(shown)
        terms.append(Term(path, found["direction"] == "desc"))
    if len(terms) > MAX_TERMS:
        raise _wrong(text, f"more than {MAX_TERMS} fields")
    return tuple(terms)


def key_of(message: Any, order: Order) -> Key:
    """Where a message stands."""
    key: list[str | int | float] = []
    for term in order:
        value = next(found_at(message, term.path), None)
        key += (0, 0) if value is None else (1, value)
    return (*key, message.name)


def first(
    messages: Iterable[Any], order: Order, *, after: Key | None, count: int
) -> Sequence[tuple[Key, Any]]:
    """The first messages behind a place."""
    keyed = [(key_of(message, order), message) for message in messages]
    placed = [(_Place(key, order), key, message) for key, message in keyed]
    if after is not None:
        start = _Place(after, order)
        placed = [one for one in placed if start < one[0]]
    return [(key, message) for _, key, message in sorted(placed, key=lambda one: one[0])[:count]]


class _Place:
    """A key that compares by its order's directions."""

    __slots__ = ("_key", "_order")

    def __init__(self, key: Key, order: Order) -> None:
        self._key = key
        self._order = order

    def __lt__(self, other: _Place) -> bool:
        for index, term in enumerate(self._order):
            ours = self._key[2 * index : 2 * index + 2]
            theirs = other._key[2 * index : 2 * index + 2]
            if ours != theirs:
                # What has no value and what has one differ before their values would be compared.
                return _before(theirs, ours) if term.descending else _before(ours, theirs)
        return bool(str(self._key[-1]) < str(other._key[-1]))


def _before(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return one < other


def _wrong(text: str, message: str) -> Invalid:
    problem = Problem(
        reason="ORDER_BY_INVALID", message=f"{message}: {text}", field="order_by", value=text
    )
    return Invalid(
        f"order_by is invalid: {problem.message}",
        problems=[problem],
        reason="ORDER_BY_INVALID",
        metadata={"order_by": text},
    )
