"""A page is bounded by what it looks at, not only by what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cellplane.api.model.v1 import project_pb2
from cellplane.resource.lists import page, read_query
from cellplane.rpc.pagination import Cursor, PageTokens


class Rows:
    """Projects in order of their names, of which a few have a display name."""

    ordered = True
    exact = False

    def __init__(self, count: int, named: set[int]) -> None:
        self.all = [
            project_pb2.Project(name=f"p{n:05}", display_name="named" if n in named else "")
            for n in range(count)
        ]
        self.read_rows = 0

    async def read(self, after: Cursor, limit: int) -> Sequence[tuple[Cursor, Any]]:
        """Read a stretch."""
        behind = [one for one in self.all if not after or one.name > after[-1]][:limit]
        self.read_rows += len(behind)
        return [((one.name,), one) for one in behind]


@pytest.mark.asyncio
async def test_a_page_that_finds_little_ends_and_leads_on() -> None:
    """Of thousands of rows each page looks at some hundreds; together they find what there is."""
    tokens, named = PageTokens(b"k" * 32), {3, 2500, 2501, 2999}
    request = project_pb2.ListProjectsRequest(filter='display_name = "named"', page_size=50)
    query = read_query(request, project_pb2.Project.DESCRIPTOR)
    found: list[str] = []
    while True:
        rows = Rows(3000, named)
        messages, request.page_token = await page(rows, request, query, tokens)
        assert rows.read_rows <= 500
        found += [one.name for one in messages]
        if not request.page_token:
            break
    assert found == [f"p{n:05}" for n in sorted(named)]


@pytest.mark.asyncio
async def test_a_page_of_what_is_there_is_full() -> None:
    """Without a filter a page has as many as were asked for, up to the most."""
    tokens = PageTokens(b"k" * 32)
    request = project_pb2.ListProjectsRequest(page_size=500)
    query = read_query(request, project_pb2.Project.DESCRIPTOR)
    messages, token = await page(Rows(700, set()), request, query, tokens)
    assert len(messages) == 500
    request.page_token = token
    messages, token = await page(Rows(700, set()), request, query, tokens)
    assert (len(messages), token) == (200, "")
