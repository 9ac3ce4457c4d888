"""``endpoints`` and ``route explain``: how endpoints are called, and what a request meets there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cellplane.cli.options import Files, Format, Organization, Output, Profile

app = typer.Typer(
    help="See what gateways do with a request.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

DataPlane = Annotated[
    Path | None,
    typer.Option("--data-plane", help="File that describes a data plane, to ask no server."),
]
Cell = Annotated[str, typer.Argument(help="Cell, such as boutique/development.")]
_RESOLVED = "cellplane.api.model.v1.CellService.GetResolvedCell"


def endpoints(
    cell: Cell,
    *,
    filename: Files = None,
    data_plane: DataPlane = None,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Show what each endpoint of a Cell is called, by whom, and which policies hold there.

    Example: cellplane endpoints boutique/development
    """
    import dataclasses
    import json

    from cellplane.cli.render.document import dump
    from cellplane.cli.render.output import table
    from cellplane.gateway.compiler import explain

    found, plane = _cell(cell, filename, data_plane, organization, profile)
    without = _refused(found, plane)
    rows = list(explain.urls(found, without))
    told = [{k: v for k, v in dataclasses.asdict(row).items() if v} for row in rows]
    match output:
        case Format.JSON:
            print(json.dumps(told, indent=2))
        case Format.YAML:
            print(dump(json.loads(json.dumps(told))), end="")
        case _:
            names = [f"{row.component}/{row.endpoint}" for row in rows]
            lines = [
                (name, row.caller, row.url, ", ".join(row.policies) or "-")
                for name, row in zip(names, rows, strict=True)
            ]
            for line in table(("ENDPOINT", "CALLED BY", "URL", "POLICIES"), lines):
                print(line)


@app.command("explain")
def explain_route(
    method: Annotated[str, typer.Argument(help="Method of the request, such as GET.")],
    url: Annotated[str, typer.Argument(help="Its URL.")],
    *,
    cell: Annotated[str, typer.Option("--cell", help="Cell whose routes are looked at.")],
    caller: Annotated[
        str, typer.Option("--from", help="Project that calls. Default: the internet.")
    ] = "",
    filename: Files = None,
    data_plane: DataPlane = None,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Say which route and policies a request meets. Exit code 1 if none.

    Example: cellplane route explain GET https://boutique.development.acme.example.com/
    --cell boutique/development
    """
    from cellplane.cli.exits import FAILURE
    from cellplane.cli.render.output import say
    from cellplane.gateway.compiler import explain

    found, plane = _cell(cell, filename, data_plane, organization, profile)
    met = explain.explain(
        found, plane, explain.Asked(method=method.upper(), url=url, caller=caller)
    )
    print(f"gateway    {met.gateway}")
    if met.why:
        say(met.why)
        raise typer.Exit(FAILURE)
    for word, value in (
        ("route", met.route),
        ("path", met.path),
        ("component", met.component),
        ("backend", met.backend),
    ):
        print(f"{word:10} {value}")
    for policy in met.policies:
        print(f"{'policy':10} {policy}")


def _refused(cell: Any, plane: Any) -> set[str]:
    """Components with an error of gateways: they are not applied at all."""
    from cellplane.cell.problem import Severity
    from cellplane.cli.render.output import say
    from cellplane.gateway.compiler import explain

    problems = explain.compiled(cell, plane).problems
    wrong = [problem for problem in problems if problem.severity is Severity.ERROR]
    for problem in wrong:
        say(problem.message)
    return {problem.resource.rsplit("/", 1)[-1] for problem in wrong}


def _cell(
    name: str, filename: Any, data_plane: Path | None, organization: Any, profile: Any
) -> tuple[Any, Any]:
    """The Cell with everything bound, and a data plane that it is compiled for."""
    if data_plane is None:
        return _live(name, organization, profile)
    from cellplane.cli.exits import usage
    from cellplane.cli.offline import given

    project, _, environment = name.rpartition("/")
    found = given.read(filename, data_plane, environment, organization)
    for cell in found.cells:
        if cell.frame.project == project.rsplit("/", 1)[-1]:
            return cell, found.plane
    raise usage(f'no component of project "{project}" is given')


def _live(name: str, organization: Any, profile: Any) -> tuple[Any, Any]:
    from cellplane.api.model.v1 import cell_pb2
    from cellplane.api.type.v1 import resolved_cell_pb2
    from cellplane.cell.cell import ResolvedCell
    from cellplane.cell.plane import CERT_MANAGER, ENVOY_GATEWAY, GATEWAY, DataPlaneProfile
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import Client, run
    from cellplane.cli.kinds import by_name, method
    from cellplane.rpc.codec import Codec

    chosen = profiles.load(profile, organization)
    full = by_name("Cell").parse(name, chosen.organization)

    async def ask() -> Any:
        async with Client(chosen) as client:
            return await client.call(
                "model", method(_RESOLVED), cell_pb2.GetResolvedCellRequest(name=full)
            )

    codec = Codec(
        ResolvedCell,
        resolved_cell_pb2.ResolvedCell,
        ignore=frozenset({"removed_components", "base_revision"}),
    )
    plane = DataPlaneProfile(
        data_plane="any",
        uid="any",
        organization=full.split("/")[1],
        trust_domain="any",
        capabilities=(CERT_MANAGER, GATEWAY, ENVOY_GATEWAY),
    )
    return codec.to_domain(run(ask())), plane
