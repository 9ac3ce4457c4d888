"""``placement simulate``: what would become of Cells in a world that a file describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cellplane.cli.options import Format, Output


def simulate(
    *,
    filename: Annotated[
        str | None, typer.Option("--filename", "-f", help="The world: YAML or JSON file, or -.")
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Write the JSON Schema of worlds instead.")
    ] = False,
    output: Output = Format.TABLE,
) -> None:
    """Say where Cells are placed, what moves and why, after each event of a world.

    Needs no server: it decides with the same code as the control plane.

    Example: cellplane placement simulate -f samples/worlds/outage.yaml -o json
    """
    import json

    from cellplane.cli.exits import usage
    from cellplane.cli.render.document import dump
    from cellplane.placement.simulation import document
    from cellplane.placement.simulation.run import run

    if schema:
        print(json.dumps(document.schema(), indent=2))
        return
    if filename is None:
        raise usage("which world? give --filename, or --schema for what can be in it")
    reports = run(document.read(content(filename)))
    match output:
        case Format.JSON:
            print(json.dumps({"steps": list(reports)}, indent=2, ensure_ascii=False))
        case Format.YAML:
            print(dump({"steps": list(reports)}), end="")
        case _:
            for report in reports:
                for line in _lines(report):
                    print(line)


def content(filename: str) -> Any:
    """What a YAML file, or standard input, says."""
    import sys

    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    from cellplane.cli.exits import usage

    text = sys.stdin.read() if filename == "-" else Path(filename).read_text(encoding="utf-8")
    try:
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise usage(f"{filename} is no YAML: {' '.join(str(error).split())}") from error


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    """One report for people."""
    said = dict(report["event"])
    kind = said.pop("event")
    words = " ".join(f"{key}={value}" for key, value in said.items())
    yield f"{report['time']:g} s  {kind} {words}".rstrip()
    for plane, state in report["not_ready"].items():
        yield f"  {plane} is {state}"
    if report["brake"]:
        yield f"  brake: {report['brake']}"
    for change in report["changes"]:
        yield f"  {change['cell']} {change['summary']}"
        for component, counts in change.get("shares", {}).items():
            shown = ", ".join(f"{count} on {plane}" for plane, count in counts.items())
            yield f"    {component}: {shown}"
        for gone in change.get("preempts", ()):
            yield f"    {gone['cell']} has to go for it from {gone['data_plane']}"
    for move in report["moves"]:
        where = f"from {move['from'] or 'nowhere'} to {move['to'] or 'nowhere'}"
        yield f"  {move['cell']} moves {where}: {move['reason']}, {move['step']}"
    for cell, why in report["unplaceable"].items():
        yield f"  {cell} is blocked: {why['reason']}: {why['summary']}"
