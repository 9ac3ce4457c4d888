"""``preview``: a project as a branch would make it, in an environment that ends by itself."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cellplane.cli import completion
from cellplane.cli.options import Format, Organization, Output, Profile

app = typer.Typer(
    help="Try branches in environments of their own.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_Name = Annotated[
    str,
    typer.Argument(help="Preview: project/id.", autocompletion=completion.names_of("Preview")),
]


@app.command()
def create(
    name: _Name,
    *,
    template: Annotated[
        str,
        typer.Option(
            help="Environment that it is like.", autocompletion=completion.names_of("Environment")
        ),
    ],
    image: Annotated[
        list[str] | None,
        typer.Option(help="Component and its image: cart=ghcr.io/acme/cart:pr-12. Repeatable."),
    ] = None,
    branch: Annotated[str, typer.Option(help="Branch that it is of.")] = "",
    request: Annotated[str, typer.Option(help="Address of the request that it is of.")] = "",
    ttl: Annotated[
        str, typer.Option(help="How long it lives, such as 8h. Default: the template's.")
    ] = "",
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Create a preview: the project and all that it calls, with the images of a branch.

    Example: cellplane preview create boutique/pr-12 --template development
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.kinds import by_name

    chosen = profiles.load(profile, organization)
    kind, own = by_name("Preview"), chosen.organization
    parent, _, preview_id = kind.parse(name, own).rpartition("/previews/")
    preview: Any = kind.message(
        template=by_name("Environment").parse(template, own), branch=branch, request=request
    )
    for text in image or ():
        component, reference = _image(text)
        preview.components.add(component=f"{parent}/components/{component}", image=reference)
    if ttl:
        preview.ttl.FromTimedelta(_length(ttl, "--ttl"))
    _show(chosen, "CreatePreview", parent=parent, preview_id=preview_id, preview=preview)


@app.command("list")
def list_(
    project: Annotated[
        str,
        typer.Argument(
            help="Project. Default: all.", autocompletion=completion.names_of("Project")
        ),
    ] = "-",
    *,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """List previews, with what they are of and when they end.

    Example: cellplane preview list boutique
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.kinds import by_name
    from cellplane.cli.render.document import dump, plain
    from cellplane.cli.render.output import say, table

    chosen = profiles.load(profile, organization)
    found = run(_list(chosen, f"organizations/{chosen.organization}/projects/{project}"))
    match output:
        case Format.JSON:
            import json

            from google.protobuf.json_format import MessageToDict

            print(json.dumps([MessageToDict(p) for p in found], indent=2, ensure_ascii=False))
        case Format.YAML:
            print(dump([plain(p) for p in found]), end="")
        case Format.NAME:
            print("\n".join(p.name for p in found))
        case _ if not found:
            say("no previews")
        case _:
            kind = by_name("Preview")
            rows = [
                (
                    kind.short(p.name),
                    p.environment.rsplit("/", 1)[-1],
                    p.request or p.branch or "-",
                    p.expire_time.ToJsonString(),
                )
                for p in found
            ]
            for line in table(("PREVIEW", "ENVIRONMENT", "OF", "ENDS"), rows):
                print(line)


@app.command()
def extend(
    name: _Name,
    by: Annotated[str, typer.Argument(help="How much longer it lives, such as 24h.")],
    *,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Let a preview live longer, up to what its template allows.

    Example: cellplane preview extend boutique/pr-12 24h
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.kinds import by_name

    chosen = profiles.load(profile, organization)
    kind = by_name("Preview")
    full = kind.parse(name, chosen.organization)
    found = run(_call(chosen, "GetPreview", {"name": full}))
    preview: Any = kind.message(name=full, etag=found.etag)
    preview.ttl.FromTimedelta(found.ttl.ToTimedelta() + _length(by, "BY"))
    _show(chosen, "UpdatePreview", preview=preview)


@app.command()
def delete(
    name: _Name,
    *,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """End a preview: its environment and everything in it are gone.

    Example: cellplane preview delete boutique/pr-12
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.kinds import by_name

    chosen = profiles.load(profile, organization)
    full = by_name("Preview").parse(name, chosen.organization)
    run(_call(chosen, "DeletePreview", {"name": full}))
    print(f"preview {by_name('Preview').short(full)} deleted")


async def _list(profile: Any, parent: str) -> list[Any]:
    from cellplane.cli.calls import pages
    from cellplane.cli.engine import Client

    async with Client(profile) as client:
        found = pages(client, "PreviewService.ListPreviews", "previews", parent=parent)
        return [one async for one in found]


def _show(profile: Any, method: str, **fields: Any) -> None:
    from cellplane.cli.engine import run
    from cellplane.cli.kinds import by_name

    made = run(_call(profile, method, fields))
    print(
        f"preview {by_name('Preview').short(made.name)} lives until "
        f"{made.expire_time.ToJsonString()} in {made.environment.rsplit('/', 1)[-1]}"
    )


async def _call(profile: Any, method: str, fields: dict[str, Any]) -> Any:
    from cellplane.cli.calls import call
    from cellplane.cli.engine import Client

    async with Client(profile) as client:
        return await call(client, f"PreviewService.{method}", **fields)


def _image(text: str) -> tuple[str, str]:
    from cellplane.cell.names import is_id
    from cellplane.cli.exits import usage

    component, equals, image = text.partition("=")
    if not equals or not image or not is_id(component):
        raise usage(f'"{text}" is no image of a component: write cart=ghcr.io/acme/cart:pr-12')
    return component, image


def _length(text: str, option: str) -> Any:
    from google.protobuf.duration_pb2 import Duration

    from cellplane.cli.documents.nodes import Scalar
    from cellplane.cli.documents.places import Place
    from cellplane.cli.documents.scalars import Unfit, read_duration
    from cellplane.cli.exits import usage

    length = Duration()
    try:
        read_duration(Scalar(text, True, Place(option)), length)
    except Unfit as unfit:
        raise usage(f"{option} {unfit}") from None
    return length.ToTimedelta()
