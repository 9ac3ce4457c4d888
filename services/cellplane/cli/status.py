"""``status``: from the project to the pod, with the deepest cause on top.

A tree of what is wanted and what was seen: project, Cell, data plane, component, object, pod. What
is ready is folded unless it is asked for, so that what is not stands out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellplane.cli import completion
from cellplane.cli.options import Organization, Profile

if TYPE_CHECKING:
    from cellplane.cli.engine import Client
    from cellplane.cli.render.tree import Branch

_OWN = ("Resolved", "Compliant", "Placed")
"""Conditions of a Cell that none of its data planes has."""


def status(
    project: Annotated[
        str | None,
        typer.Argument(
            help="Project. Default: every project of the organization.",
            autocompletion=completion.names_of("Project"),
        ),
    ] = None,
    *,
    environment: Annotated[
        str | None,
        typer.Option(
            "--environment",
            "-e",
            help="Only this environment.",
            autocompletion=completion.names_of("Environment"),
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Show objects and pods that are ready, too.")
    ] = False,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Show how projects are, down to the pod; the deepest cause comes first.

    Example: cellplane status boutique --environment development
    """
    import sys

    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.render.output import colours, say

    chosen = profiles.load(profile, organization)
    cells, healths = run(_read(chosen, project, environment))
    if not cells:
        say("no Cells: nothing is deployed yet")
        return
    for line in render(cells, healths, everything=everything, colour=colours(sys.stdout)):
        print(line)


async def _read(
    profile: Any, project: str | None, environment: str | None
) -> tuple[list[Any], dict[str, Any]]:
    import asyncio

    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import by_name

    kind, owner = by_name("Cell"), by_name("Project")
    async with Client(profile) as client:
        if project is not None:
            name = owner.parse(project, profile.organization)
            # A project that does not exist is an answer of its own.
            await client.get(owner, name)
            found = [c async for c in client.list(kind, name)]
        else:
            found = [c async for c in client.list(kind, kind.parent(profile.organization))]
        cells = [c for c in found if environment in (None, c.name.rsplit("/", 1)[-1])]
        answers = await asyncio.gather(*(_health(client, cell.name) for cell in cells))
    return cells, {h.name.removesuffix("/health"): h for h in answers if h is not None}


async def _health(client: Client, cell: str) -> Any:
    """The objects of a Cell; ``None`` where observability does not answer."""
    from cellplane.cli.exits import Ended
    from cellplane.cli.kinds import by_name
    from cellplane.cli.render.output import say

    try:
        return await client.find(by_name("CellHealth"), f"{cell}/health")
    except Ended as ended:
        say(f"objects of {cell} are not known: {ended.message}")
        return None


def render(
    cells: Iterable[Any], healths: dict[str, Any], *, everything: bool, colour: bool
) -> Iterator[str]:
    """Lines of the whole answer."""
    from cellplane.cli.render.tree import Branch, lines

    cells = sorted(cells, key=lambda c: c.name)
    for cell in cells:
        yield from _causes(cell, colour)
    projects: dict[str, Branch] = {}
    for cell in cells:
        own = cell.name.split("/")[3]
        root = projects.setdefault(own, Branch(text=own))
        root.children.append(_cell(cell, healths.get(cell.name), everything))
    for root in projects.values():
        yield from lines(root, colour=colour)


def _causes(cell: Any, colour: bool) -> Iterator[str]:
    from cellplane.cli.render.output import paint
    from cellplane.cli.wait import cause_lines

    if cell.HasField("cause") and cell.cause.reason:
        label = "/".join(cell.name.split("/")[3::2])
        first, *rest = cause_lines(cell.cause)
        style = "red" if cell.cause.terminal else "yellow"
        yield paint(f"{label}: {first}", style, on=colour)
        yield from (f"  {line}" for line in rest)
        yield ""
    for problem in cell.problems:
        label = "/".join(cell.name.split("/")[3::2])
        place = " ".join(p for p in (problem.resource, problem.field) if p)
        yield paint(f"{label}: {place}: {problem.message}", "red", on=colour)


def _cell(cell: Any, health: Any, everything: bool) -> Branch:
    from cellplane.cli.render.tree import Branch

    branch = Branch(
        text=f"{cell.name.rsplit('/', 1)[-1]}  revision {cell.revision}",
        health=_health_word(cell.health),
        # Those of data planes stand with their data plane.
        notes=[*_open_conditions(c for c in cell.conditions if c.type in _OWN)],
    )
    objects = {p.data_plane: p for p in health.data_planes} if health is not None else {}
    for plane in cell.data_planes:
        seen = objects.get(plane.data_plane)
        branch.children.append(_plane(plane, list(seen.objects) if seen else [], everything))
    if not cell.data_planes:
        branch.children += [_component(c, [], everything) for c in cell.components]
    return branch


def _plane(plane: Any, objects: list[Any], everything: bool) -> Branch:
    from cellplane.cli.render.tree import Branch

    revision = f"revision {plane.revision}"
    if plane.applied_revision != plane.revision:
        revision += f", applied {plane.applied_revision}"
    branch = Branch(
        text=f"{plane.data_plane}  {revision}",
        health=_health_word(plane.health),
        notes=[*_open_conditions(plane.conditions)],
    )
    by_component: dict[str, list[Any]] = {}
    for item in objects:
        by_component.setdefault(item.component, []).append(item)
    branch.children += _objects(by_component.get("", []), everything)
    for component in plane.components:
        own = by_component.get(component.component, [])
        branch.children.append(_component(component, own, everything))
    return branch


def _component(component: Any, objects: list[Any], everything: bool) -> Branch:
    from cellplane.cli.render.tree import Branch

    replicas = ""
    health = _health_word(component.health)
    # A folder's replicas are nobody's to count.
    if component.ready_replica_count or (component.replica_count and health != "READY"):
        replicas = f"  {component.ready_replica_count}/{component.replica_count}"
    note = []
    if component.HasField("cause") and component.cause.reason:
        cause = component.cause
        note = [": ".join(part for part in (cause.reason, cause.message) if part)]
    return Branch(
        text=f"{component.component}{replicas}  {component.release}".rstrip(),
        health=health,
        notes=note,
        children=_objects(objects, everything),
    )


def _objects(objects: list[Any], everything: bool) -> list[Branch]:
    """Objects that cellplane made, with those that these made below them."""

    branches = {f"{o.kind}/{o.object}": _object(o) for o in objects}
    roots: list[Branch] = []
    for item in objects:
        branch = branches[f"{item.kind}/{item.object}"]
        owner = branches.get(item.owner)
        (roots if owner is None or owner is branch else owner.children).append(branch)
    return roots if everything else [b for b in roots if _is_open(b)]


def _is_open(branch: Branch) -> bool:
    return branch.health not in ("READY", "SUSPENDED") or any(map(_is_open, branch.children))


def _object(item: Any) -> Branch:
    from cellplane.cli.render.tree import Branch

    why = ": ".join(part for part in (item.reason, item.message) if part)
    health = _health_word(item.health)
    notes = [why] if why and health != "READY" else []
    return Branch(text=f"{item.kind} {item.object}", health=health, notes=notes)


def _open_conditions(conditions: Iterable[Any]) -> Iterator[str]:
    """What does not hold: the first step on the way to Ready, and what stands beside it."""
    on_the_way = True
    for condition in conditions:
        word = condition.Status.Name(condition.status)
        aside = condition.type in ("Compliant", "Isolated")
        if word == "TRUE" or not (on_the_way or aside):
            continue
        on_the_way = on_the_way and aside
        text = f"{condition.type} {word.lower()}: {condition.reason}"
        yield f"{text}: {condition.message}" if condition.message else text


def _health_word(number: int) -> str:
    from cellplane.api.type.v1 import condition_pb2

    word = condition_pb2.Health.Name(condition_pb2.Health.ValueType(number))
    text = word.removeprefix("HEALTH_")
    return "UNKNOWN" if text == "UNSPECIFIED" else text
