"""``placement what-if``, ``drain-plan`` and ``rebalance``: what would move, before it does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from cellplane.cli.options import Format, Organization, Output, Profile


def what_if(
    *,
    filename: Annotated[
        str, typer.Option("--filename", "-f", help="Events: YAML or JSON file, or -.")
    ],
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Say which Cells would be elsewhere if some events happened. Changes nothing.

    The events are those of a world: see `cellplane placement simulate --schema`.

    Example: cellplane placement what-if -f events.yaml
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.exits import usage
    from cellplane.cli.simulate import content

    events = content(filename)
    if isinstance(events, dict):
        events = events.get("events")
    if not isinstance(events, list):
        raise usage(f"{filename} is no list of events: write one, or a world with events")
    chosen = profiles.load(profile, organization)
    request = {"parent": f"organizations/{chosen.organization}", "events": events}
    _write(run(call(chosen, "PlanDecisions", request)), output)


def drain_plan(
    data_plane: Annotated[str, typer.Argument(help="Data plane that would be drained.")],
    *,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Say where the Cells of a data plane would go if it were drained. Changes nothing.

    Example: cellplane placement drain-plan west
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run

    _write(run(_plan(profiles.load(profile, organization), data_plane)), output)


def rebalance(
    *,
    move_budget: Annotated[
        int, typer.Option("--move-budget", min=1, max=1000, help="As many copies move at most.")
    ] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would move.")] = False,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Move Cells to where they are better off: each is made there before it leaves.

    Nothing moves by itself because something became better; this is how to ask for it.

    Example: cellplane placement rebalance --move-budget 5 --dry-run
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run

    chosen = profiles.load(profile, organization)
    request = {
        "parent": f"organizations/{chosen.organization}",
        "move_budget": move_budget,
        "validate_only": dry_run,
    }
    _write(run(call(chosen, "RebalanceDecisions", request)), output)


async def _plan(profile: Any, data_plane: str) -> Any:
    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import by_name
    from cellplane.cli.lookup import full_name

    async with Client(profile) as client:
        name = await full_name(client, by_name("DataPlane"), data_plane)
    return await call(profile, "PlanDrain", {"name": name})


async def call(profile: Any, method: str, fields: dict[str, Any]) -> Any:
    """Call a method of placement's decisions."""
    from google.protobuf.json_format import ParseDict

    from cellplane.api.placement.v1 import decision_pb2
    from cellplane.cli.engine import Client

    service = decision_pb2.DESCRIPTOR.services_by_name["DecisionService"]
    found = service.methods_by_name[method]
    request = getattr(decision_pb2, found.input_type.name)()
    ParseDict(fields, request)
    async with Client(profile) as client:
        return await client.call("placement", found, request)


def _write(preview: Any, output: Format) -> None:
    import json

    from google.protobuf.json_format import MessageToDict

    from cellplane.cli.render.document import dump, plain

    match output:
        case Format.JSON:
            print(json.dumps(MessageToDict(preview), indent=2, ensure_ascii=False))
        case Format.YAML:
            print(dump(plain(preview)), end="")
        case Format.NAME:
            for change in preview.changes:
                print(change.cell)
        case _:
            for line in render(preview):
                print(line)


def render(preview: Any) -> Iterator[str]:
    """Lines of a preview: each Cell with where it is and would be, and why."""
    from cellplane.cli.render.output import table

    if preview.brake:
        yield preview.brake
    if not preview.changes:
        yield "nothing would change"
        return
    rows = [
        (
            change.cell,
            ", ".join(change.old_data_planes) or "-",
            ", ".join(change.new_data_planes) or "-",
            f"{change.reason}: {change.summary}" if change.reason else change.summary,
        )
        for change in preview.changes
    ]
    yield from table(("CELL", "IS ON", "WOULD BE ON", "WHY"), rows)
