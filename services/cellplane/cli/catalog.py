"""``catalog``: find what there is to use, see what it looks like, and take it elsewhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cellplane.cli import completion
from cellplane.cli.options import Format, Organization, Output, Profile

app = typer.Typer(
    help="Find what there is to use.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class Exchange(StrEnum):
    """What the catalog can be written as."""

    BACKSTAGE = "backstage"


@app.command()
def search(
    text: Annotated[list[str] | None, typer.Argument(help="Words; each begins one.")] = None,
    *,
    kind: Annotated[str, typer.Option(help="endpoint, event-channel or data-product.")] = "",
    protocol: Annotated[str, typer.Option(help="Such as GRPC.")] = "",
    visibility: Annotated[str, typer.Option(help="Such as PUBLIC.")] = "",
    environment: Annotated[
        str,
        typer.Option(
            help="Only what is deployed there.", autocompletion=completion.names_of("Environment")
        ),
    ] = "",
    owner: Annotated[str, typer.Option(help="Only what has this owner.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at most.")] = 50,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Find endpoints, event channels and data products by words, the best first.

    Example: cellplane catalog search payment --protocol GRPC
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.get import show
    from cellplane.cli.kinds import by_name

    chosen = profiles.load(profile, organization)
    where = by_name("Environment").parse(environment, chosen.organization) if environment else ""
    found = run(
        _search(
            chosen,
            query=" ".join(text or ()),
            kind=_number("kind", kind),
            protocol=_number("protocol", protocol),
            visibility=_number("visibility", visibility),
            environment=where,
            owner=owner,
            page_size=limit,
        )
    )
    show(by_name("CatalogEntry"), found, output)


async def _search(profile: Any, **fields: Any) -> list[Any]:
    from cellplane.cli.calls import call
    from cellplane.cli.engine import Client

    parent = f"organizations/{profile.organization}"
    async with Client(profile) as client:
        page = await call(client, "CatalogService.SearchCatalogEntries", parent=parent, **fields)
    return list(page.catalog_entries)


def _number(field: str, word: str) -> int:
    """The number of an enum's word."""
    from cellplane.cli.calls import request
    from cellplane.cli.documents.scalars import enum_prefix
    from cellplane.cli.exits import usage

    if not word:
        return 0
    _, asked = request("CatalogService.SearchCatalogEntries")
    enum = asked.DESCRIPTOR.fields_by_name[field].enum_type
    prefix = enum_prefix(enum)
    known = {v.name.removeprefix(prefix): v.number for v in enum.values if v.number}
    found = known.get(word.upper().replace("-", "_"))
    if found is None:
        raise usage(f'there is no {field} "{word}": write one of {", ".join(known)}')
    return int(found)


@app.command()
def get(
    name: Annotated[
        str,
        typer.Argument(
            help="Entry: project/component/id.", autocompletion=completion.names_of("CatalogEntry")
        ),
    ],
    *,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Show one entry, with who uses it and where it is deployed.

    Example: cellplane catalog get payments/charge/grpc
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.get import show
    from cellplane.cli.kinds import by_name
    from cellplane.cli.render.output import table

    chosen = profiles.load(profile, organization)
    kind = by_name("CatalogEntry")
    entry = run(_get(chosen, kind.parse(name, chosen.organization)))
    show(kind, [entry], output)
    if output in (Format.TABLE, Format.WIDE) and entry.consumers:
        rows = [
            (_short(c.component), ",".join(e.rsplit("/", 1)[-1] for e in c.environments) or "-")
            for c in entry.consumers
        ]
        print()
        for line in table(("CONSUMER", "ENVIRONMENTS"), rows):
            print(line)


async def _get(profile: Any, name: str) -> Any:
    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import by_name

    async with Client(profile) as client:
        return await client.get(by_name("CatalogEntry"), name)


@app.command("diff-schema")
def diff_schema(
    old: Annotated[str, typer.Argument(help="File, or name of a schema that is kept.")],
    new: Annotated[str, typer.Argument(help="File, or name of a schema that is kept.")],
    *,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Show what a change of schema means. Exit code 8 if it breaks who uses the old one.

    Two files are compared without a server.

    Example: cellplane catalog diff-schema old/openapi.yaml openapi.yaml
    """
    from cellplane.cli.schemas import compare, print_findings

    found = compare(old, new, organization, profile)
    print_findings(found, output)


@app.command()
def export(
    *,
    format: Annotated[Exchange, typer.Option(help="What to write.")] = Exchange.BACKSTAGE,
    folder: Annotated[
        Path | None, typer.Option(help="Write catalog-info.yaml there. Default: standard output.")
    ] = None,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Write the catalog as entities of Backstage: groups, domain, systems, components, APIs.

    Example: cellplane catalog export --format backstage > catalog-info.yaml
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.backstage import read
    from cellplane.cli.engine import run
    from cellplane.cli.render.document import dump
    from cellplane.cli.render.output import say
    from cellplane.model.catalog.exchange.backstage import entities

    del format
    chosen = profiles.load(profile, organization)
    found = entities(run(read(chosen)))
    text = "---\n".join(dump(entity) for entity in found)
    if folder is None:
        print(text, end="")
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "catalog-info.yaml").write_text(text)
    say(f"{len(found)} entities in {folder / 'catalog-info.yaml'}")


def _short(name: str) -> str:
    return "/".join(name.split("/")[3::2])
