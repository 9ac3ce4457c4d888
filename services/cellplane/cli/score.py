"""``score``: score.yaml to components and back, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cellplane.cli.options import Files, Organization

app = typer.Typer(
    help="Read and write score.yaml, without a server.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="score.yaml.")],
    *,
    project: Annotated[str, typer.Option(help="Project of the component.")],
) -> None:
    """Write a workload of Score as a component. What cannot be said is said.

    Example: cellplane score import score.yaml --project boutique > component.yaml
    """
    from cellplane.cli.exits import Ended, usage
    from cellplane.cli.render.document import dump
    from cellplane.cli.render.output import say
    from cellplane.model.catalog.exchange.score import from_score
    from cellplane.model.catalog.schemas.document import Unreadable, load

    try:
        content = file.read_bytes()
    except OSError as error:
        raise usage(f"{file} cannot be read: {(error.strerror or '').lower()}") from error
    parent = project if "/" in project else f"projects/{project}"
    try:
        converted = from_score(load(content).value, parent)
    except Unreadable as unreadable:
        raise Ended(message=f"{file}: {unreadable.wrong}") from None
    except ValueError as error:
        raise Ended(message=f"{file} is no workload of Score: {error}") from None
    for note in converted.notes:
        say(f"note: {note}")
    print(dump(converted.document), end="")


@app.command()
def export(
    *,
    filename: Files = None,
    organization: Organization = None,
) -> None:
    """Write components of documents as workloads of Score. What cannot be said is said.

    Example: cellplane score export -f samples/boutique/adservice.yaml
    """
    from cellplane.cli.documents.load import load
    from cellplane.cli.exits import usage
    from cellplane.cli.render.document import dump, plain
    from cellplane.cli.render.output import say
    from cellplane.model.catalog.exchange.score import to_score

    own = organization or "organization"
    found: list[dict[str, Any]] = [
        {**plain(document.resource, written_only=True)}
        for document in load(filename or [], own)
        if document.kind.name == "Component"
    ]
    if not found:
        raise usage("these documents have no component: name some with -f")
    written = []
    for component in found:
        converted = to_score(_relative(component, f"organizations/{own}/"))
        name = converted.document["metadata"]["name"]
        for note in converted.notes:
            say(f"note: {name}: {note}")
        written.append(dump(converted.document))
    print("---\n".join(written), end="")


def _relative(value: Any, prefix: str) -> Any:
    """Names without the organization, as documents write them."""
    if isinstance(value, dict):
        return {key: _relative(item, prefix) for key, item in value.items()}
    if isinstance(value, list):
        return [_relative(item, prefix) for item in value]
    return value.removeprefix(prefix) if isinstance(value, str) else value
