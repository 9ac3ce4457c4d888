"""What a user means by a name: an id of its own is looked up, and what is close is said.

A name is full, relative to the organization, or its ids. Where that leaves something open, the
services are asked what there is, so that the answer is a name that can be copied.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import AsyncIterator
from typing import Any, Final

from cellplane.cli.engine import Client
from cellplane.cli.exits import Ended, usage
from cellplane.cli.kinds import Kind, all_kinds, an

_LOOKED_AT: Final = 5000
_SHOWN: Final = 5


async def full_name(client: Client, kind: Kind, text: str, project: str | None = None) -> str:
    """The full name of what *text* means; ends the command where it cannot be one.

    Args:
        project: Where names are relative to a project: its id or name.
    """
    name = _expanded(client, kind, text, project)
    if kind.ids(name) is not None:
        return name
    known = [kind.short(n) async for n in _all(client, kind)]
    close = [n for n in known if n.endswith(f"/{text}") or n.startswith(f"{text}/")]
    way_out = f"did you mean {_or(close)}?" if close else kind.ways
    raise usage(f'"{text}" is not the name of {an(kind.singular)}: {way_out}')


async def name_or_parent(
    client: Client, kind: Kind, text: str, project: str | None = None
) -> tuple[str, bool]:
    """The full name of what *text* means, or of what such resources belong to, and which it is."""
    name = _expanded(client, kind, text, project)
    if kind.ids(name) is not None:
        return name, True
    owner = next((k for k in all_kinds() if k.pattern == kind.pattern[:-2]), None)
    if owner is not None and "List" in kind.methods:
        parent = owner.expand(text, client.profile.organization)
        if owner.ids(parent) is not None and await client.find(owner, parent) is not None:
            return parent, False
    return await full_name(client, kind, text, project), True


async def read(client: Client, kind: Kind, name: str) -> Any:
    """Read one resource; where it does not exist, say which names are close."""
    try:
        return await client.get(kind, name)
    except Ended as ended:
        if ended.status == "NOT_FOUND":
            ended.findings = [*ended.findings, *await close_to(client, kind, name)]
        raise


async def close_to(client: Client, kind: Kind, name: str) -> list[str]:
    """A line with the names that are close to one that does not exist, if there are any."""
    known = [kind.short(n) async for n in _all(client, kind)]
    place, _, wanted = kind.short(name).rpartition("/")
    # The same id elsewhere is what was meant more often than another id in the same place.
    close = [n for n in known if n.rsplit("/", 1)[-1] == wanted]
    beside = [n.rpartition("/")[2] for n in known if n.rpartition("/")[0] == place]
    close += [f"{place}/{n}".lstrip("/") for n in difflib.get_close_matches(wanted, beside)]
    return [f"did you mean {_or(close)}?"] if close else []


async def explain_empty(client: Client, kind: Kind, parent: str) -> None:
    """End the command where a list is empty because what it is below does not exist."""
    segments = parent.split("/")
    if "-" in segments:
        segments = segments[: segments.index("-") - 1]
    owner = "/".join(segments)
    found = next((k for k in all_kinds() if k.ids(owner) is not None), None)
    if found is not None and found is not kind and "Get" in found.methods:
        try:
            await read(client, found, owner)
        except Ended as ended:
            # Who may not read what it is below hears that there is nothing to see.
            if ended.status != "PERMISSION_DENIED":
                raise


def _or(names: list[str]) -> str:
    *first, last = dict.fromkeys(names[:_SHOWN])
    return f"{', '.join(first)} or {last}" if first else last


def _expanded(client: Client, kind: Kind, text: str, project: str | None) -> str:
    organization = client.profile.organization
    if project is not None and kind.pattern[2:3] == ("projects",):
        ids = (project.rsplit("/", 1)[-1], *text.strip("/").split("/"))
        if len(ids) == kind.pattern.count("") - 1:
            return kind.fill((organization, *ids))
    return kind.expand(text, organization)


async def _all(client: Client, kind: Kind) -> AsyncIterator[str]:
    """Names of everything of a kind that there is, as far as that can be told."""
    if "List" not in kind.methods:
        return
    count = 0
    with contextlib.suppress(Ended):
        async for resource in client.list(kind, kind.parent(client.profile.organization)):
            yield resource.name
            count += 1
            if count == _LOOKED_AT:
                return
