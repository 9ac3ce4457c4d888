"""Pages of a list that is filtered and ordered (AIP-132, 158, 160).

A source reads a stretch behind a place; what the filter refuses is skipped, and reading goes on
until the page is full, there is no more, or it has looked at as much as a page may: then the page
is short, with a token. A source that reads nothing but matches makes every page full. An order that
a source does not have is made here, of everything there is, with no more than one page of it in
memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from google.protobuf.descriptor import Descriptor

from cellplane.cell.problem import Invalid
from cellplane.resource import ordering
from cellplane.resource.filter import bind
from cellplane.resource.filter.match import matches
from cellplane.resource.ordering import Order
from cellplane.rpc.pagination import Cursor, Listing, PageTokens

_STRETCH: Final = 1000
"""Rows that are in memory at once."""
_LOOKED_AT: Final = 400
"""Rows that a page without an order looks at, or as many as it has: what is refused costs, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a list request asks for."""

    filter: bind.Filter = bind.EVERYTHING
    order: Order = ()


class Source(Protocol):
    """Where messages come from."""

    @property
    def ordered(self) -> bool:
        """Whether it reads in the order that was asked for, not in its own."""
        ...

    @property
    def exact(self) -> bool:
        """Whether what it reads is, but for rare exceptions, what the filter asks for."""
        ...

    async def read(self, after: Cursor, limit: int) -> Sequence[tuple[Cursor, Any]]:
        """Read the next messages behind a place, each with its own place."""
        ...


def read_query(request: Any, descriptor: Descriptor) -> Query:
    """Read filter and order of a request; raises ``Invalid`` with the findings about both."""
    found: list[Invalid] = []
    wanted: bind.Filter = bind.EVERYTHING
    order: Order = ()
    try:
        wanted = bind.bind(_asked(request, "filter"), descriptor)
    except Invalid as invalid:
        found.append(invalid)
    try:
        order = ordering.parse(_asked(request, "order_by"), descriptor)
    except Invalid as invalid:
        found.append(invalid)
    if found:
        first = found[0]
        raise Invalid(
            first.message,
            problems=[problem for invalid in found for problem in invalid.problems],
            reason=first.reason,
            metadata={key: text for invalid in found for key, text in invalid.metadata.items()},
        )
    return Query(filter=wanted, order=order)


def _asked(request: Any, field: str) -> str:
    """What a request asks for; nothing where its list has no such field."""
    return getattr(request, field) if field in request.DESCRIPTOR.fields_by_name else ""


def listing_of(request: Any, parent: str) -> Listing:
    """What the tokens of a request's pages are good for."""
    return Listing(
        method=request.DESCRIPTOR.full_name,
        parent=parent,
        filter=_asked(request, "filter"),
        order_by=_asked(request, "order_by"),
    )


async def page(
    source: Source, request: Any, query: Query, tokens: PageTokens, *, parent: str = ""
) -> tuple[list[Any], str]:
    """The messages of the page that a request asks for, and the token of the next."""
    listing = listing_of(request, parent)
    asked = tokens.read(listing, size=request.page_size, token=request.page_token)
    whole = source.ordered or not query.order
    find = _scan if whole else _sort
    found, at = await find(source, query, asked.cursor, asked.size + 1)
    messages = [message for _, message in found[: asked.size]]
    if len(found) > asked.size:
        at = found[asked.size - 1][0]
    return messages, tokens.next(listing, at) if at else ""


async def _scan(
    source: Source, query: Query, after: Cursor, count: int
) -> tuple[Sequence[tuple[Cursor, Any]], Cursor]:
    """Find as many, and where to go on; a page looks at so much and no more (AIP-158)."""
    seen = 0
    found: list[tuple[Cursor, Any]] = []
    limit = count
    while True:
        rows = await source.read(after, limit)
        found += [row for row in rows if matches(query.filter, row[1])]
        seen += len(rows)
        if len(found) >= count or len(rows) < limit:
            return found[:count], ()
        after = rows[-1][0]
        if not source.exact:
            if seen >= _LOOKED_AT:
                return found, after
            limit = min(2 * limit, max(_LOOKED_AT - seen, 1))
        # Others are served meanwhile.
        await asyncio.sleep(0)


async def _sort(
    source: Source, query: Query, after: Cursor, count: int
) -> tuple[Sequence[tuple[Cursor, Any]], Cursor]:
    kept: list[Any] = []
    at: Cursor = ()
    while True:
        rows = await source.read(at, _STRETCH)
        kept += [message for _, message in rows if matches(query.filter, message)]
        first = ordering.first(kept, query.order, after=after or None, count=count)
        if len(rows) < _STRETCH:
            return first, ()
        kept = [message for _, message in first]
        at = rows[-1][0]
        await asyncio.sleep(0)
