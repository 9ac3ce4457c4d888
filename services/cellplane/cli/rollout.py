"""``placement rollout``: how far a change of a Cell is, data plane by data plane."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from cellplane.cli import completion
from cellplane.cli.options import Format, Organization, Output, Profile

app = typer.Typer(
    help="Watch, stop and approve changes that come to data planes in waves.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

CellName = Annotated[
    str,
    typer.Argument(
        help="Cell, such as boutique/development.", autocompletion=completion.names_of("Cell")
    ),
]


@app.callback()
def root() -> None:
    """Watch, stop and approve changes that come to data planes in waves."""


@app.command()
def status(
    cell: CellName,
    *,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Say how far the latest change of a Cell is.

    Example: cellplane placement rollout status boutique/production
    """
    _do("GetRollout", cell, output, organization, profile)


@app.command()
def stop(
    cell: CellName,
    *,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Stop a change: no further data plane gets it.

    Example: cellplane placement rollout stop boutique/production
    """
    _do("StopRollout", cell, output, organization, profile)


@app.command()
def resume(
    cell: CellName,
    *,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Go on with a change that was stopped; what it broke gets it once more.

    Example: cellplane placement rollout resume boutique/production
    """
    _do("ResumeRollout", cell, output, organization, profile)


@app.command()
def approve(
    cell: CellName,
    *,
    revision: Annotated[
        int | None,
        typer.Option("--revision", min=1, help="The revision that is approved. Default: this one."),
    ] = None,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Let the wave begin that waits for approval.

    Example: cellplane placement rollout approve boutique/production
    """
    _do("ApproveRollout", cell, output, organization, profile, revision=revision)


def _do(
    method: str,
    cell: str,
    output: Format,
    organization: str | None,
    profile: Path | None,
    *,
    revision: int | None = None,
) -> None:
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run

    chosen = profiles.load(profile, organization)
    _write(run(_call(chosen, method, cell, revision)), output)


async def _call(profile: Any, method: str, cell: str, revision: int | None) -> Any:
    from cellplane.api.placement.v1 import rollout_pb2
    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import by_name
    from cellplane.cli.lookup import full_name

    methods = rollout_pb2.DESCRIPTOR.services_by_name["RolloutService"].methods_by_name
    async with Client(profile) as client:
        name = f"{await full_name(client, by_name('Cell'), cell)}/rollout"
        request = getattr(rollout_pb2, methods[method].input_type.name)(name=name)
        if method == "ApproveRollout":
            asked = rollout_pb2.GetRolloutRequest(name=name)
            known = await client.call("placement", methods["GetRollout"], asked)
            request.revision = revision or known.revision
        return await client.call("placement", methods[method], request)


def _write(rollout: Any, output: Format) -> None:
    import json

    from google.protobuf.json_format import MessageToDict

    from cellplane.cli.render.document import dump, plain

    match output:
        case Format.JSON:
            print(json.dumps(MessageToDict(rollout), indent=2, ensure_ascii=False))
        case Format.YAML:
            print(dump(plain(rollout)), end="")
        case Format.NAME:
            print(rollout.name)
        case _:
            for line in render(rollout):
                print(line)


def render(rollout: Any) -> Iterator[str]:
    """Lines of a rollout: what it does, then each data plane with its wave."""
    from cellplane.cli.render.output import table

    yield f"{type(rollout).Phase.Name(rollout.phase).replace('_', ' ').lower()}: {rollout.summary}"
    yield f"broke {rollout.failure_count} data planes, and may break {rollout.failure_budget}"
    rows = [
        (
            f"{number}{' <' if wave.current else ''}",
            plane.data_plane,
            type(plane).Step.Name(plane.step).replace("_", " ").lower(),
            str(plane.base_revision or "-"),
            plane.message,
        )
        for number, wave in enumerate(rollout.waves, start=1)
        for plane in wave.data_planes
    ]
    yield ""
    yield from table(("WAVE", "DATA PLANE", "STEP", "BEFORE", "WHY"), rows)
