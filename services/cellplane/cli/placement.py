"""``placement``: on which data planes Cells are, why there, and what would change it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from cellplane.cli import completion, rollout
from cellplane.cli.options import Format, Organization, Output, Profile
from cellplane.cli.simulate import simulate
from cellplane.cli.what_if import call, drain_plan, rebalance, what_if

app = typer.Typer(
    help="Explain where Cells are.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def root() -> None:
    """Explain where Cells are."""


app.command()(simulate)
app.command()(what_if)
app.command()(drain_plan)
app.command()(rebalance)
app.add_typer(rollout.app, name="rollout")


@app.command()
def explain(
    cell: Annotated[
        str,
        typer.Argument(
            help="Cell, such as boutique/development.", autocompletion=completion.names_of("Cell")
        ),
    ],
    *,
    data_plane: Annotated[
        str, typer.Option("--data-plane", help="Say why it is, or is not, on this one.")
    ] = "",
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Say on which data planes a Cell is, why there, why not elsewhere, and what would help.

    Example: cellplane placement explain boutique/development
    """
    import json

    from google.protobuf.json_format import MessageToDict

    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.render.document import dump, plain

    chosen = profiles.load(profile, organization)
    decision, explained = run(_read(chosen, cell, data_plane))
    if data_plane and output not in (Format.JSON, Format.YAML):
        print(explained.answer)
        return
    match output:
        case Format.JSON:
            both = {**MessageToDict(decision), **MessageToDict(explained)}
            print(json.dumps(both, indent=2, ensure_ascii=False))
        case Format.YAML:
            print(dump({**plain(decision), **plain(explained)}), end="")
        case Format.NAME:
            print("\n".join(decision.data_planes))
        case _:
            for line in render(decision):
                print(line)
            if explained.brake:
                print(explained.brake)
            for advice in explained.advices:
                print(f"what would help: {advice.message}")


async def _read(profile: Any, cell: str, data_plane: str) -> tuple[Any, Any]:
    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import by_name
    from cellplane.cli.lookup import full_name

    async with Client(profile) as client:
        name = await full_name(client, by_name("Cell"), cell)
        decision = await client.get(by_name("Decision"), f"{name}/decision")
    fields = {"name": f"{name}/decision", "data_plane": data_plane}
    return decision, await call(profile, "ExplainDecision", fields)


def render(decision: Any) -> Iterator[str]:
    """Lines of a decision: the answer, then each data plane with its reasons."""
    from cellplane.cli.render.output import table

    yield decision.summary
    chosen = ", ".join(decision.data_planes) or "none"
    yield f"data planes: {chosen} ({len(decision.data_planes)} of {decision.copy_count} copies)"
    for move in decision.moves:
        there = move.new_data_plane or "nowhere"
        step = type(move).Step.Name(move.step).lower().replace("_", " ")
        yield f"on its way from {move.old_data_plane} to {there} ({move.reason}): {step}"
    for other in decision.preemptions:
        yield f"takes the place of {other.cell} on {other.data_plane} next"
    if decision.candidates:
        words = list(dict.fromkeys(s.score for c in decision.candidates for s in c.scores))
        rows = [
            (
                candidate.data_plane,
                "yes" if candidate.chosen else "",
                *(_score(candidate, word) for word in words),
            )
            for candidate in decision.candidates
        ]
        yield ""
        yield from table(("FEASIBLE", "CHOSEN", *(word.upper() for word in words)), rows)
    if decision.rejections:
        rows = [(r.data_plane, r.reason, r.message) for r in decision.rejections]
        yield ""
        yield from table(("TURNED DOWN", "REASON", "WHY"), rows)


def _score(candidate: Any, word: str) -> str:
    found = next((s.value for s in candidate.scores if s.score == word), None)
    return "-" if found is None else f"{found:g}"
