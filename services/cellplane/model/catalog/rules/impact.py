"""Who breaks if something goes: consumers, their consumers, and so on, each by a shortest way.

A component that loses what it uses is taken as broken, and with it all that it offers. Each step
is the same for every order of the edges: of equal ways, the one with the smallest names counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TypeAlias

Edge: TypeAlias = tuple[str, str, str]
"""Consumer, provider, and id of what it uses of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One connection on the way."""

    consumer: str
    provider: str
    offer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A component that breaks."""

    component: str
    steps: tuple[Step, ...]
    """From what goes to the component."""


class Spread:
    """Walks outwards, one distance at a time: the caller gives the edges that it asks for."""

    def __init__(self, gone: Collection[str], offers: Collection[str] = ()) -> None:
        """*gone* are components; with *offers*, these alone go, and the components can break."""
        self._gone = frozenset() if offers else frozenset(gone)
        self._offers = frozenset(offers)
        self._first = True
        self.reached: dict[str, Reached] = {}
        self.border: frozenset[str] = frozenset(gone)
        """Whose consumers are to be given next; empty at the end."""

    def advance(self, edges: Iterable[Edge]) -> None:
        """Take every edge into the border."""
        fresh: dict[str, Reached] = {}
        for consumer, provider, offer in sorted(set(edges)):
            if consumer in self._gone or consumer in self.reached or consumer in fresh:
                continue
            if provider not in self.border or not self._counts(offer):
                continue
            step = Step(consumer=consumer, provider=provider, offer=offer)
            before = self.reached[provider].steps if provider in self.reached else ()
            fresh[consumer] = Reached(component=consumer, steps=(*before, step))
        self.reached |= fresh
        self.border = frozenset(fresh)
        self._first = False

    def _counts(self, offer: str) -> bool:
        return not (self._first and self._offers) or offer in self._offers


def impact(
    edges: Collection[Edge], gone: Collection[str], offers: Collection[str] = ()
) -> tuple[Reached, ...]:
    """Everything that breaks, the nearest first; every edge is known."""
    spread = Spread(gone, offers)
    while spread.border:
        spread.advance(edges)
    return tuple(sorted(spread.reached.values(), key=lambda r: (len(r.steps), r.component)))
