"""``impact``: who breaks if something goes, in which environment, and by which way."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cellplane.cli import completion
from cellplane.cli.options import Format, Organization, Output, Profile


def impact(
    subject: Annotated[
        str, typer.Argument(metavar="KIND/NAME", help="Such as component/payments/charge.")
    ],
    *,
    environment: Annotated[
        str,
        typer.Option(
            help="Only there. Default: everywhere.",
            autocompletion=completion.names_of("Environment"),
        ),
    ] = "",
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Show who breaks if a component, a project, a Cell or an entry of the catalog goes.

    Example: cellplane impact component/payments/charge
    """
    import json

    from google.protobuf.json_format import MessageToDict

    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.exits import usage
    from cellplane.cli.kinds import by_name, of_noun
    from cellplane.cli.render.document import dump, plain
    from cellplane.cli.render.output import say, table

    noun, slash, name = subject.partition("/")
    if not slash:
        raise usage(f"which {noun}? write {noun}/NAME")
    chosen = profiles.load(profile, organization)
    full = of_noun(noun).parse(name, chosen.organization)
    where = by_name("Environment").parse(environment, chosen.organization) if environment else ""
    found = run(_read(chosen, full, where))
    match output:
        case Format.JSON:
            print(json.dumps([MessageToDict(i) for i in found], indent=2, ensure_ascii=False))
        case Format.YAML:
            print(dump([plain(i) for i in found]), end="")
        case Format.NAME:
            print("\n".join(dict.fromkeys(i.component for i in found)))
        case _ if not found:
            say(f"nobody breaks if {subject} goes")
        case _:
            rows = [
                (
                    i.environment.rsplit("/", 1)[-1],
                    _short(i.component),
                    str(i.distance),
                    " > ".join(
                        f"{_short(s.catalog_entry)} > {_short(s.consumer)}" for s in i.steps
                    ),
                )
                for i in found
            ]
            for line in table(("ENVIRONMENT", "BREAKS", "DISTANCE", "BY"), rows):
                print(line)


async def _read(profile: Any, name: str, environment: str) -> list[Any]:
    from cellplane.cli.calls import pages
    from cellplane.cli.engine import Client

    async with Client(profile) as client:
        found = pages(
            client,
            "CatalogService.AnalyzeImpact",
            "impacts",
            name=name,
            environment=environment,
        )
        return [one async for one in found]


def _short(name: str) -> str:
    """The ids without the organization."""
    return "/".join(name.split("/")[3::2])
