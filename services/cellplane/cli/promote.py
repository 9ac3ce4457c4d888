"""``promote``: the releases of one environment to the next, along the pipeline, all or none."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cellplane.cli import completion
from cellplane.cli.options import Format, Organization, Output, Profile


def promote(
    project: Annotated[
        str, typer.Argument(help="Project.", autocompletion=completion.names_of("Project"))
    ],
    *,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="Environment that releases are taken of.",
            autocompletion=completion.names_of("Environment"),
        ),
    ],
    target: Annotated[
        str,
        typer.Option(
            "--to",
            help="Environment that they are deployed to.",
            autocompletion=completion.names_of("Environment"),
        ),
    ],
    component: Annotated[
        list[str] | None, typer.Option("--component", "-c", help="Only this one. Repeatable.")
    ] = None,
    comment: Annotated[str, typer.Option(help="Why, for the history.")] = "",
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Deploy in one environment what runs in another, along the pipeline: all of it, or nothing.

    Example: cellplane promote boutique --from development --to staging
    """
    import json

    from google.protobuf.json_format import MessageToDict

    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.render.document import document
    from cellplane.cli.render.output import table

    chosen = profiles.load(profile, organization)
    made = run(_promote(chosen, project, source, target, component or [], comment))
    match output:
        case Format.JSON:
            print(json.dumps(MessageToDict(made), indent=2, ensure_ascii=False))
        case Format.YAML:
            from cellplane.cli.kinds import by_name

            print(document(by_name("Promotion"), made), end="")
        case Format.NAME:
            print(made.name)
        case _:
            word = made.State.Name(made.state).lower()
            print(f"promotion {made.name.rsplit('/', 1)[-1]} {word}")
            rows = [
                tuple(map(_last, (change.component, change.previous_release, change.release)))
                for change in made.changes
            ]
            for line in table(("COMPONENT", "RELEASE BEFORE", "RELEASE"), rows) if rows else ():
                print(line)


async def _promote(
    profile: Any, project: str, source: str, target: str, components: list[str], comment: str
) -> Any:
    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import by_name

    kind, environment = by_name("Promotion"), by_name("Environment")
    own = profile.organization
    parent = by_name("Project").parse(project, own)
    promotion = kind.message(
        source_environment=environment.parse(source, own),
        target_environment=environment.parse(target, own),
        components=[
            c if "/" in c and c.startswith("organizations/") else f"{parent}/components/{_last(c)}"
            for c in components
        ],
        comment=comment,
    )
    async with Client(profile) as client:
        return await client.create(kind, parent, "", promotion)


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1] or "-"
