"""How text becomes words, and what a query asks of them: the same on every database.

A database gets words, never text, so that none of them cuts or stems in its own way. Words are
folded (case, accents) and without punctuation; a name in camel case is there whole and in parts.
The rank of a hit is the first of ``TIERS`` that holds, which needs no statistics: a page that is
asked for later continues where the one before ended, whatever was written meanwhile.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MAX_TERMS: Final = 8
MAX_WORDS: Final = 4000
"""Words of one entry at most; the last are those of its schema."""
_MAX_WORD: Final = 64
_WORD: Final = re.compile(r"[^\W_]+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The words of an entry, by how much a hit in them is worth."""

    name: tuple[str, ...] = ()
    owner: tuple[str, ...] = ()
    """Ids of the component and the project."""
    text: tuple[str, ...] = ()
    """What it is for, where it is, what it speaks."""
    schema: tuple[str, ...] = ()
    """Operations and messages."""

    def by_field(self) -> tuple[tuple[str, ...], ...]:
        """All of them, the most valuable first."""
        return self.name, self.owner, self.text, self.schema


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One rank: every term in one of the first ``fields`` fields."""

    fields: int
    whole: bool = False
    """Whether a term must be a whole word, and not only its beginning."""


TIERS: Final = (
    Tier(fields=1, whole=True),
    Tier(fields=1),
    Tier(fields=2),
    Tier(fields=3),
    Tier(fields=4),
)


def words_of(texts: Iterable[str], *, limit: int = MAX_WORDS) -> tuple[str, ...]:
    """The words of texts, each once, in their order."""
    found: dict[str, None] = {}
    for text in texts:
        for whole in _WORD.findall(_plain(text)):
            parts = _HUMP.split(whole)
            for word in (whole, *(parts if len(parts) > 1 else ())):
                found[word.casefold()[:_MAX_WORD]] = None
                if len(found) >= limit:
                    return tuple(found)
    return tuple(found)


def terms_of(query: str) -> tuple[str, ...]:
    """What a query asks for: each term begins a word. More than ``MAX_TERMS`` are not read."""
    found = dict.fromkeys(w.casefold()[:_MAX_WORD] for w in _WORD.findall(_plain(query)))
    return tuple(found)[:MAX_TERMS]


def tier_of(words: Words, terms: Iterable[str]) -> int | None:
    """The rank of an entry for a query; ``None`` if it is none of what is asked for."""
    wanted = tuple(terms)
    fields = words.by_field()
    for rank, tier in enumerate(TIERS):
        seen = [word for field in fields[: tier.fields] for word in field]
        if all(any(w == t if tier.whole else w.startswith(t) for w in seen) for t in wanted):
            return rank
    return None


def _plain(text: str) -> str:
    """Without accents."""
    if text.isascii():
        return text
    split = unicodedata.normalize("NFKD", text)
    return "".join(c for c in split if not unicodedata.combining(c))
