"""``get`` and ``describe``: any kind, by the same engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellplane.cli import completion
from cellplane.cli.options import Format, KindName, Name, Organization, Output, Profile

if TYPE_CHECKING:
    from cellplane.cli.kinds import Kind


def get(
    kind: KindName,
    name: Name = None,
    *,
    project: Annotated[
        str | None,
        typer.Option(
            "--project",
            "-p",
            help="Only what belongs to this project.",
            autocompletion=completion.names_of("Project"),
        ),
    ] = None,
    filter: Annotated[
        str, typer.Option(help="Only those that this holds of, such as 'revision > 3'.")
    ] = "",
    order_by: Annotated[
        str, typer.Option(help="Their order, such as 'create_time desc'. Default: by name.")
    ] = "",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on, and show each change.")
    ] = False,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Show resources of any kind.

    Example: cellplane get components --project boutique -o wide
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.exits import usage
    from cellplane.cli.kinds import of_noun, split

    kind, name = split(kind, name)
    found = of_noun(kind)
    chosen = profiles.load(profile, organization)
    narrowed = {"filter": filter, "order_by": order_by}
    if watch and any(narrowed.values()):
        raise usage("--watch shows every change: leave --filter and --order-by out")
    run(
        _watch(chosen, found, name, project, output)
        if watch
        else _get(chosen, found, name, project, output, narrowed)
    )


def describe(
    kind: KindName,
    name: Name = None,
    *,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Show everything about one resource, with what happened to a Cell.

    Example: cellplane describe cell boutique/development
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.kinds import one_of

    found, name = one_of(kind, name)
    run(_describe(profiles.load(profile, organization), found, name))


async def _get(
    profile: Any,
    kind: Kind,
    name: str | None,
    project: str | None,
    output: Format,
    narrowed: dict[str, str],
) -> None:
    from cellplane.cli.engine import Client
    from cellplane.cli.exits import usage
    from cellplane.cli.lookup import explain_empty, name_or_parent, read

    async with Client(profile) as client:
        if name is not None:
            name, is_one = await name_or_parent(client, kind, name, project)
            if is_one:
                show(kind, [await read(client, kind, name)], output, alone=True)
                return
        if "List" not in kind.methods:
            raise usage(f"which {kind.singular}? give its name: {kind.ways}")
        parent = name or _parent(kind, profile.organization, project)
        found = [r async for r in client.list(kind, parent, **narrowed)]
        if not found and not any(narrowed.values()):
            await explain_empty(client, kind, parent)
        show(kind, found, output, alone=False)


def _parent(kind: Kind, organization: str, project: str | None) -> str:
    from cellplane.cli.exits import usage

    if project is None:
        return kind.parent(organization)
    if len(kind.pattern) < 4 or kind.pattern[2] != "projects":
        raise usage(f"{kind.plural} do not belong to projects: leave --project out")
    return kind.parent(organization, (project.rsplit("/", 1)[-1],))


def show(kind: Kind, found: list[Any], output: Format, *, alone: bool = False) -> None:
    """Write resources of a kind, as a table or as what they are."""
    import json

    from google.protobuf.json_format import MessageToDict

    from cellplane.cli.render.document import document
    from cellplane.cli.render.output import say, table

    match output:
        case Format.JSON:
            values = [MessageToDict(one) for one in found]
            print(json.dumps(values[0] if alone else values, indent=2, ensure_ascii=False))
        case Format.YAML:
            print("---\n".join(document(kind, one) for one in found), end="")
        case Format.NAME:
            for one in found:
                print(one.name)
        case _:
            if not found:
                say(f"no {kind.plural}")
                return
            for line in table(*_rows(kind, found, wide=output is Format.WIDE)):
                print(line)


def _rows(kind: Kind, found: list[Any], *, wide: bool) -> tuple[list[str], list[list[str]]]:
    from cellplane.cli.render.columns import cell, columns

    shown = columns(kind, wide=wide)
    head = ["NAME", *(column.title for column in shown)]
    return head, [[kind.short(r.name), *(cell(r, c.path) for c in shown)] for r in found]


async def _watch(
    profile: Any, kind: Kind, name: str | None, project: str | None, output: Format
) -> None:
    import json

    from google.protobuf.json_format import MessageToDict

    from cellplane.cli.engine import Client
    from cellplane.cli.lookup import name_or_parent
    from cellplane.cli.render.document import document
    from cellplane.cli.watch import watch

    printer = _Columns(kind, wide=output is Format.WIDE)
    async with Client(profile) as client:
        parent = f"organizations/{profile.organization}"
        if name is not None:
            parent, _ = await name_or_parent(client, kind, name, project)
        elif project is not None:
            parent = f"{parent}/projects/{project.rsplit('/', 1)[-1]}"
        async for step in watch(client, kind, parent):
            if step.resource is None:
                continue
            match output:
                case Format.JSON:
                    value = {"type": step.type, "resource": MessageToDict(step.resource)}
                    print(json.dumps(value, ensure_ascii=False), flush=True)
                case Format.YAML:
                    print(f"---\n{document(kind, step.resource)}", end="", flush=True)
                case Format.NAME:
                    print(step.name, flush=True)
                case _:
                    printer.row(step)


class _Columns:
    """Rows that come one by one, below a head that is written once."""

    def __init__(self, kind: Kind, *, wide: bool) -> None:
        self._kind = kind
        self._wide = wide
        self._widths: list[int] = []

    def row(self, step: Any) -> None:
        """Write one row, and the head before the first."""
        head, rows = _rows(self._kind, [step.resource], wide=self._wide)
        row = [*rows[0], "deleted" if step.type == "DELETED" else ""]
        first = not self._widths
        if first:
            self._widths = [max(len(t) + 4, len(c)) for t, c in zip([*head, ""], row, strict=True)]
        for line in ([*head, ""], row) if first else (row,):
            cells = (c.ljust(w) for c, w in zip(line, self._widths, strict=True))
            print("   ".join(cells).rstrip(), flush=True)


async def _describe(profile: Any, kind: Kind, name: str) -> None:
    from cellplane.cli.engine import Client
    from cellplane.cli.exits import Ended
    from cellplane.cli.kinds import by_name
    from cellplane.cli.lookup import full_name, read
    from cellplane.cli.render.columns import cell
    from cellplane.cli.render.document import dump, headed, plain
    from cellplane.cli.render.output import say, table

    async with Client(profile) as client:
        full = await full_name(client, kind, name)
        print(dump(headed(kind, plain(await read(client, kind, full)))), end="")
        if kind.name != "Cell":
            return
        try:
            events = [e async for e in client.list(by_name("Event"), full)]
        except Ended as ended:
            say(f"events are not known: {ended.message}")
            return
    print("events:" if events else "events: []")
    head = ("  AGE", "DATA PLANE", "OBJECT", "HEALTH", "REASON", "MESSAGE")
    paths = ("data_plane", "object", "health", "reason", "message")
    rows = [(f"  {cell(e, 'event_time')}", *(cell(e, path) for path in paths)) for e in events[:30]]
    for line in table(head, rows) if rows else ():
        print(line)
