"""``compile``: what Cells become on a data plane, without any service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellplane.cli.options import Files, Format, Organization, Output

if TYPE_CHECKING:
    from cellplane.cell.manifest import Manifest


def compile_offline(
    *,
    filename: Files = None,
    data_plane: Annotated[
        Path, typer.Option("--data-plane", help="File that describes the data plane.")
    ],
    environment: Annotated[
        str | None,
        typer.Option("--environment", "-e", help="Environment. Default: the pipeline's first."),
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", "-p", help="Only the Cell of this project.")
    ] = None,
    output: Output = Format.YAML,
    organization: Organization = None,
) -> None:
    """Show the Kubernetes objects that Cells become on a data plane. Needs no server.

    Example: cellplane compile -f samples/platform -f samples/payments
    --data-plane samples/planes/cilium.yaml
    """
    from cellplane.cli.exits import usage
    from cellplane.cli.offline import given

    found = given.read(filename, data_plane, environment, organization)
    wanted = project.rsplit("/", 1)[-1] if project else None
    projects = [cell.frame.project for cell in found.cells]
    if wanted is not None and wanted not in projects:
        raise usage(f'no component of project "{wanted}" is given: there are {", ".join(projects)}')
    _compile(found.world, list(found.cells), wanted, found.plane, output)


def _compile(
    world: Any, resolved: list[Any], wanted: str | None, plane: Any, output: Format
) -> None:
    from cellplane.cell.problem import Severity
    from cellplane.cli.exits import Ended
    from cellplane.cli.offline.compilers import compile_cell
    from cellplane.cli.render.output import say

    manifests: list[Manifest] = []
    wrong: list[str] = []
    warnings: list[str] = []
    for cell in resolved:
        if wanted not in (None, cell.frame.project):
            continue
        compiled = compile_cell(cell, plane, resolved)
        manifests += compiled.manifests
        for problem in compiled.problems:
            known = problem.resource in world.documents
            place = str(world.finding(problem, problem.resource)) if known else _place(problem)
            if problem.severity is Severity.ERROR:
                wrong.append(place)
            else:
                warnings.append(place)
    for warning in dict.fromkeys(warnings):
        say(f"warning: {warning}")
    if wrong:
        raise Ended(
            message=f"data plane {plane.data_plane} cannot have this", findings=sorted(set(wrong))
        )
    _print(manifests, output)


def _place(problem: Any) -> str:
    if problem.message.startswith(problem.resource or " ") and not problem.field:
        return str(problem.message)
    where = " ".join(part for part in (problem.resource, problem.field) if part)
    return f"{where}: {problem.message}" if where else str(problem.message)


def _print(manifests: list[Manifest], output: Format) -> None:
    import json

    from cellplane.cli.render.document import dump
    from cellplane.cli.render.output import table

    match output:
        case Format.JSON:
            bodies = [json.loads(m.content) for m in manifests]
            print(json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies}, indent=2))
        case Format.YAML:
            print("---\n".join(dump(json.loads(m.content)) for m in manifests), end="")
        case Format.NAME:
            for manifest in manifests:
                print(manifest.key)
        case _:
            rows = [
                (m.part or "-", m.phase.value, m.kind, m.namespace, m.object) for m in manifests
            ]
            for line in table(("COMPONENT", "PHASE", "KIND", "NAMESPACE", "NAME"), rows):
                print(line)
