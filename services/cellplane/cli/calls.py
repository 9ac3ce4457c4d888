"""Methods of the model that are no standard ones, by their names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellplane.cli.engine import Client

_PAGE = 500


def request(method: str, **fields: Any) -> tuple[Any, Any]:
    """A method of the model, and its request."""
    from google.protobuf import message_factory

    from cellplane.cli.kinds import method as find

    target = find(f"cellplane.api.model.v1.{method}")
    return target, message_factory.GetMessageClass(target.input_type)(**fields)


async def call(client: Client, method: str, **fields: Any) -> Any:
    """Call a method once."""
    target, asked = request(method, **fields)
    return await client.call("model", target, asked)


async def pages(client: Client, method: str, field: str, **fields: Any) -> AsyncIterator[Any]:
    """Everything that a method answers in *field*, page by page."""
    target, asked = request(method, page_size=_PAGE, **fields)
    while True:
        page = await client.call("model", target, asked)
        for one in getattr(page, field):
            yield one
        asked.page_token = page.next_page_token
        if not asked.page_token:
            return
