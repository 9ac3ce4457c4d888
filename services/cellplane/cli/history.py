"""``history``: who changed which fields of a resource, and when."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cellplane.cli.options import Format, KindName, Name, Organization, Output, Profile

_ACTORS = "/users/", "/services/"


def history(
    kind: KindName,
    name: Name = None,
    *,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="With all that belongs to it.")
    ] = False,
    releases: Annotated[
        bool,
        typer.Option(
            "--releases", help="What was deployed, of a component, a project or in an environment."
        ),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many changes at most.")] = 20,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Show what happened to a resource, the newest first; also to one that is deleted.

    With --releases: which release came where, who asked for it, and why.

    Example: cellplane history component/boutique/frontend
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.exits import usage
    from cellplane.cli.kinds import all_kinds, one_of

    found, name = one_of(kind, name)
    chosen = profiles.load(profile, organization)
    if releases:
        from cellplane.cli import deployments

        parent, environment = deployments.place(found, name, chosen.organization)
        changes = run(deployments.changes(chosen, parent, environment, limit))
        deployments.show(changes, output)
        return
    services = {kind.service for kind in all_kinds() if "Create" in kind.methods}
    if found.service not in services:
        raise usage(f"the history of {found.plural} is not kept: it is kept of what people write")
    full = found.parse(name, chosen.organization)
    # Everybody's resources are below an organization; below all else there are one service's.
    asked = services if recursive and found.name == "Organization" else {found.service}
    _print(run(_all(chosen, sorted(asked), full, recursive=recursive, limit=limit)), output)


async def _all(
    profile: Any, services: list[str], parent: str, *, recursive: bool, limit: int
) -> list[Any]:
    found: list[Any] = []
    for service in services:
        found += await _changes(profile, service, parent, recursive=recursive, limit=limit)
    return sorted(found, key=lambda c: c.create_time.ToNanoseconds(), reverse=True)[:limit]


async def _changes(
    profile: Any, service: str, parent: str, *, recursive: bool, limit: int
) -> list[Any]:
    from google.protobuf import message_factory

    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import method

    target = method("cellplane.api.model.v1.ResourceChangeService.ListResourceChanges")
    request: Any = message_factory.GetMessageClass(target.input_type)(
        parent=parent, filter="" if recursive else f'resource_name = "{parent}"'
    )
    found: list[Any] = []
    async with Client(profile) as client:
        while True:
            request.page_size = limit - len(found)
            page = await client.call(service, target, request)
            found += page.resource_changes
            request.page_token = page.next_page_token
            if not request.page_token or len(found) >= limit:
                return found


def _print(changes: list[Any], output: Format) -> None:
    import json
    import sys

    from google.protobuf.json_format import MessageToDict

    from cellplane.cli.render.document import dump
    from cellplane.cli.render.output import colours, say

    match output:
        case Format.JSON:
            print(json.dumps([MessageToDict(c) for c in changes], indent=2, ensure_ascii=False))
        case Format.YAML:
            print("---\n".join(dump(MessageToDict(c)) for c in changes), end="")
        case Format.NAME:
            for change in changes:
                print(change.name)
        case _:
            if not changes:
                say("nothing is known to have happened")
            on = colours(sys.stdout)
            for change in changes:
                for line in _lines(change, colour=on):
                    print(line)


def _lines(change: Any, *, colour: bool) -> list[str]:
    """A head that says who and when, and below it a line for each value that went or came."""
    from datetime import UTC

    from cellplane.cli.kinds import by_name
    from cellplane.cli.render.columns import age
    from cellplane.cli.render.output import paint

    kind, word = by_name(change.kind), change.Type.Name(change.type).lower()
    then = change.create_time.ToDatetime(tzinfo=UTC)
    head = f"{kind.singular} {kind.short(change.resource_name)} {word} by {_who(change.actor)}"
    lines = [paint(head, "bold", on=colour) + f"  {then:%Y-%m-%d %H:%M:%S}Z ({age(then)} ago)"]
    if change.is_truncated:
        lines.append(paint("  what was before is not kept any more", "dim", on=colour))
    for field in change.fields:
        for sign, style, which in (("-", "red", "old_value"), ("+", "green", "new_value")):
            if field.HasField(which):
                value = value_text(getattr(field, which))
                lines.append(paint(f"  {sign} {field.path}: {value}", style, on=colour))
    return lines


def _who(actor: str) -> str:
    for mark in _ACTORS:
        if mark in actor:
            return f"{mark.strip('/').removesuffix('s')} {actor.rpartition(mark)[2]}"
    return actor or "cellplane"


def value_text(value: Any) -> str:
    """A value of a field, for people."""
    import json

    from google.protobuf.json_format import MessageToDict

    plain: Any = MessageToDict(value)
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
