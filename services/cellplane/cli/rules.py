"""``rules``: who keeps what the platform demands, and who would not keep other demands."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cellplane.cli import completion
from cellplane.cli.options import Format, Organization, Output, Profile

app = typer.Typer(
    help="See who keeps the platform's rules.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def check(
    environment: Annotated[
        str,
        typer.Argument(
            help="Environment. Without it, the whole organization.",
            autocompletion=completion.names_of("Environment"),
        ),
    ] = "",
    *,
    filenames: Annotated[
        list[str] | None,
        typer.Option("--filename", "-f", help="Documents whose rules are tried, not stored."),
    ] = None,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Show what is deployed and does not keep the rules, or would not keep those of documents.

    Ends with 1 where something does not keep them.

    Example: cellplane rules check production
    """
    import json

    from google.protobuf.json_format import MessageToDict

    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.kinds import by_name
    from cellplane.cli.render.document import dump, plain
    from cellplane.cli.render.output import say, table

    chosen = profiles.load(profile, organization)
    name = f"organizations/{chosen.organization}"
    if environment:
        name = by_name("Environment").parse(environment, chosen.organization)
    asked = _tried(filenames, chosen.organization) if filenames else [(name, None)]
    answers = run(_analyze(chosen, asked))
    found = [violation for answer in answers for violation in answer.violations]
    match output:
        case Format.JSON:
            print(json.dumps([MessageToDict(v) for v in found], indent=2, ensure_ascii=False))
        case Format.YAML:
            print(dump([plain(v) for v in found]), end="")
        case Format.NAME:
            print("\n".join(dict.fromkeys(v.component or v.cell for v in found)))
        case _ if not found:
            say(f"all {sum(a.component_count for a in answers)} components keep the rules")
        case _:
            rows = [
                (
                    _short(v.cell),
                    _short(v.component) or "-",
                    "yes" if v.newly else "no",
                    f"{v.problem.field}: {v.problem.message}",
                )
                for v in found
            ]
            for line in table(("CELL", "COMPONENT", "NEW", "WHAT"), rows):
                print(line)
    if found:
        raise typer.Exit(1)


def _tried(filenames: list[str], organization: str) -> list[tuple[str, Any]]:
    """Names and rules of the organizations and environments in documents."""
    from cellplane.cli.documents.load import load
    from cellplane.cli.exits import usage

    documents = [
        d
        for d in load(filenames, organization, [])
        if d.kind.name in ("Organization", "Environment")
    ]
    if not documents:
        raise usage("the documents have no Organization and no Environment: rules stand in those")
    return [(d.name, getattr(d.resource, "rules")) for d in documents]  # noqa: B009 - of these kinds


async def _analyze(profile: Any, asked: list[tuple[str, Any]]) -> list[Any]:
    from google.protobuf import message_factory

    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import method

    target = method("cellplane.api.model.v1.PlatformRuleService.AnalyzePlatformRules")
    request = message_factory.GetMessageClass(target.input_type)
    async with Client(profile) as client:
        return [
            await client.call("model", target, request(name=name, rules=rules))
            for name, rules in asked
        ]


def _short(name: str) -> str:
    """The ids without the organization."""
    return "/".join(name.split("/")[3::2])
