"""``type``: types and traits of components; and ``render``: what a component becomes by its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellplane.cli.options import Files, Format, Organization, Output, Profile

if TYPE_CHECKING:
    from cellplane.cell.plane import DataPlaneProfile

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
_ORGANIZATION = "example"
Plane = Annotated[
    Path | None,
    typer.Option(
        "--data-plane", help="File that describes the data plane. Default: one with everything."
    ),
]


@app.callback()
def root() -> None:
    """Check types and traits, and see whom a change of one changes."""


@app.command("vet")
def vet(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE|FOLDER", help="Types, traits, and examples.")
    ],
    *,
    update: Annotated[
        bool, typer.Option("--update", help="Write what examples become as what is expected.")
    ] = False,
    data_plane: Plane = None,
    organization: Organization = None,
) -> None:
    """Check types and traits, and run the examples beside them. Needs no server.

    Example: cellplane type vet samples/types
    """
    from cellplane.cli.exits import Ended
    from cellplane.cli.offline.examples import vet as run
    from cellplane.cli.render.output import say

    found = run(paths, organization or _ORGANIZATION, _plane(data_plane), update=update)
    for path in found.written:
        say(f"wrote {path}")
    counts = (
        f"{_count(found.types, 'type')}, {_count(found.traits, 'trait')}, "
        f"{_count(found.examples, 'example')}"
    )
    if found.findings:
        raise Ended(message=f"not every type is right: {counts}", findings=list(found.findings))
    print(f"{counts}: all as expected")


def render(
    component: Annotated[
        str | None,
        typer.Argument(metavar="PROJECT/COMPONENT", help="Only this one. Default: all."),
    ] = None,
    *,
    filename: Files = None,
    environment: Annotated[
        str | None,
        typer.Option("--environment", "-e", help="Environment. Default: the pipeline's first."),
    ] = None,
    data_plane: Plane = None,
    output: Output = Format.YAML,
    organization: Organization = None,
) -> None:
    """Show the objects that components become by their types and traits. Needs no server.

    Example: cellplane render boutique/cartservice -f samples/boutique -f samples/platform
    """
    from cellplane.cli.documents.load import load, refuse
    from cellplane.cli.exits import Ended, usage
    from cellplane.cli.offline import cells
    from cellplane.cli.offline.rendering import PLANE, outcomes, vetted

    plane = _plane(data_plane) or PLANE
    own = organization or (plane.organization if data_plane else _ORGANIZATION)
    world = cells.World(load(filename or [], own))
    broken = list(vetted(world))
    if broken:
        raise Ended(message="a type is wrong", findings=broken)
    wrong = list(cells.check(world))
    if wrong:
        raise refuse(wrong)
    named = environment or next(iter(cells.environments(world)), "development")
    found = list(outcomes(world, named.rsplit("/", 1)[-1], plane))
    if component is not None:
        there = [o.component for o in found]
        found = [o for o in found if o.component == component]
        if not found:
            raise usage(f'no component "{component}" is given: there are {", ".join(there)}')
    refused = [line for outcome in found for line in outcome.findings]
    if refused:
        raise Ended(message="not every component can be rendered", findings=refused)
    _print(found, output)


def _print(found: list[Any], output: Format) -> None:
    import json

    from cellplane.cli.render.output import table

    manifests = [m for outcome in found for m in outcome.manifests]
    match output:
        case Format.JSON:
            bodies = [json.loads(m.content) for m in manifests]
            print(json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies}, indent=2))
        case Format.NAME:
            for manifest in manifests:
                print(manifest.key)
        case Format.YAML:
            print("---\n".join(outcome.text for outcome in found), end="")
        case _:
            rows = [(m.part, m.kind, m.object) for m in manifests]
            for line in table(("COMPONENT", "KIND", "NAME"), rows):
                print(line)


def _plane(path: Path | None) -> DataPlaneProfile | None:
    from cellplane.cli.offline import planes

    return None if path is None else planes.load(path)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


@app.command("impact")
def impact(
    *,
    filename: Files = None,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Show whom a change of types and traits would change, and how. Nothing is stored.

    Example: cellplane type impact -f samples/types/web-service.yaml
    """
    import json

    from google.protobuf.json_format import MessageToDict

    from cellplane.cli import profile as profiles
    from cellplane.cli.documents.load import load
    from cellplane.cli.engine import run
    from cellplane.cli.exits import usage
    from cellplane.cli.render.document import dump, plain

    chosen = profiles.load(profile, organization)
    documents = load(filename or [], chosen.organization, [])
    types = [d.resource for d in documents if d.kind.name == "ComponentType"]
    traits = [d.resource for d in documents if d.kind.name == "Trait"]
    if not types and not traits:
        raise usage("the documents have no ComponentType and no Trait: name the changed ones")
    found = run(_analyze(chosen, types, traits))
    match output:
        case Format.JSON:
            print(json.dumps(MessageToDict(found), indent=2, ensure_ascii=False))
        case Format.YAML:
            print(dump(plain(found)), end="")
        case Format.NAME:
            print("\n".join(dict.fromkeys(i.component for i in found.impacts)))
        case _:
            _tell(found)


async def _analyze(profile: Any, types: list[Any], traits: list[Any]) -> Any:
    from google.protobuf import message_factory

    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import method

    target = method("cellplane.api.model.v1.TypeImpactService.AnalyzeTypeChanges")
    request = message_factory.GetMessageClass(target.input_type)(
        parent=f"organizations/{profile.organization}", component_types=types, traits=traits
    )
    async with Client(profile) as client:
        return await client.call("model", target, request)


def _tell(found: Any) -> None:
    from cellplane.cli.render.output import say

    actions = {1: "+", 2: "~", 3: "-"}
    for one in found.impacts:
        component = "/".join(one.component.split("/")[3::2])
        when = "at once" if one.immediate else "when it is promoted"
        print(f"{component} in {one.environment.rsplit('/', 1)[-1]}, {when}:")
        for problem in one.problems:
            print(f"  ! {problem.message}")
        for change in one.changes:
            print(f"  {actions[change.action]} {change.object}")
            for field in change.fields:
                print(f"      {field.path}: {field.old_value or '-'} -> {field.new_value or '-'}")
    pinned = f", {found.pinned_count} pin a version" if found.pinned_count else ""
    changed = len({i.component for i in found.impacts})
    say(f"{changed} of {_count(found.follower_count, 'follower')} would change{pinned}")
