"""``delete``: one resource by its name, or those of documents, in an order that can succeed."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cellplane.cli import completion
from cellplane.cli.options import Files, Name, Organization, Profile


def delete(
    kind: Annotated[
        str | None, typer.Argument(help="Kind, such as project.", autocompletion=completion.kinds)
    ] = None,
    name: Name = None,
    *,
    filename: Files = None,
    force: Annotated[bool, typer.Option("--force", help="Delete what belongs to it, too.")] = False,
    ignore_not_found: Annotated[
        bool, typer.Option("--ignore-not-found", help="Succeed where it does not exist.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go, and what stands in the way.")
    ] = False,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Delete resources. Without --force, one that others need is refused, naming them.

    With --dry-run nothing changes, and the exit code tells whether it would pass.

    Example: cellplane delete project boutique --force --dry-run
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.exits import usage
    from cellplane.cli.kinds import one_of

    if bool(filename) == bool(kind):
        raise usage("what is to be deleted? give a kind and a name, or documents with -f")
    chosen = profiles.load(profile, organization)
    if kind is not None:
        targets = [one_of(kind, name)]
    else:
        from cellplane.cli.documents.load import load

        documents = load(filename or [], chosen.organization)
        targets = [(document.kind, document.name) for document in documents]
    if dry_run:
        run(_plan(chosen, targets, force, ignore_not_found))
    else:
        run(_delete(chosen, targets, force, ignore_not_found))


async def _delete(
    profile: Any, targets: list[tuple[Any, str]], force: bool, allow_missing: bool
) -> None:
    from cellplane.cli.engine import Client
    from cellplane.cli.exits import Ended
    from cellplane.cli.lookup import close_to, full_name

    targets = _in_order(targets)
    async with Client(profile) as client:
        for kind, given in targets:
            name = await full_name(client, kind, given)
            label = f"{kind.singular} {kind.short(name)}"
            try:
                await client.delete(kind, name, force=force, allow_missing=allow_missing)
            except Ended as ended:
                if ended.status == "NOT_FOUND":
                    ended.findings = [*ended.findings, *await close_to(client, kind, name)]
                if ended.reason == "RESOURCE_IN_USE" and ended.findings:
                    # What is in the way has a line of its own.
                    ended.message = f"{label} cannot be deleted"
                    ended.findings = [
                        line.replace("or use force", "or give --force") for line in ended.findings
                    ]
                raise
            print(f"{label} deleted", flush=True)


def _in_order(targets: list[tuple[Any, str]]) -> list[tuple[Any, str]]:
    # What is deeper belongs to what is not; what others refer to goes after them.
    order = {"Deployment": 0, "Component": 1, "Project": 2, "DeploymentPipeline": 3}
    last = len(order)
    return sorted(
        targets,
        key=lambda t: (order.get(t[0].name, last + (t[0].name == "Organization")), t[1]),
    )


async def _plan(
    profile: Any, targets: list[tuple[Any, str]], force: bool, allow_missing: bool
) -> None:
    from cellplane.cli.engine import Client
    from cellplane.cli.exits import Ended
    from cellplane.cli.lookup import full_name

    obstacles: list[str] = []
    async with Client(profile) as client:
        named = [(kind, await full_name(client, kind, given)) for kind, given in _in_order(targets)]
        going = {name for _, name in named}
        for kind, name in named:
            plan = await client.plan_deletion(kind, name, force=force, allow_missing=allow_missing)
            if plan is None:
                continue
            for deleted in plan.deletions:
                print(f"{deleted} would be deleted")
            for cell in plan.cells:
                print(f"{cell} would end on its clusters")
            # What goes with another document of the same command is in nobody's way.
            obstacles += [
                f"{name}: {obstacle.message}"
                for obstacle in plan.obstacles
                if obstacle.resource not in going
            ]
    if obstacles:
        raise Ended(
            message=f"the deletion would be refused: {len(obstacles)} in the way",
            status="FAILED_PRECONDITION",
            findings=obstacles,
        )
