"""``history --releases``: which release came where, who asked for it, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cellplane.cli.exits import usage
from cellplane.cli.options import Format

if TYPE_CHECKING:
    from cellplane.cli.kinds import Kind


def place(kind: Kind, name: str, organization: str) -> tuple[str, str]:
    """Parent and environment of what is asked for."""
    full = kind.parse(name, organization)
    match kind.name:
        case "Component":
            return full, ""
        case "Project":
            return f"{full}/components/-", ""
        case "Environment":
            return f"organizations/{full.split('/')[1]}/projects/-/components/-", full
        case "Cell":
            project, _, environment = full.rpartition("/cells/")
            parent = "/".join(full.split("/")[:2])
            return f"{project}/components/-", f"{parent}/environments/{environment}"
        case _:
            raise usage("--releases is for a component, a project, an environment or a cell")


async def changes(profile: Any, parent: str, environment: str, limit: int) -> list[Any]:
    """The newest changes first."""
    from cellplane.cli.calls import pages
    from cellplane.cli.engine import Client

    found: list[Any] = []
    async with Client(profile) as client:
        async for change in pages(
            client,
            "DeploymentChangeService.ListDeploymentChanges",
            "deployment_changes",
            parent=parent,
            filter=f'environment = "{environment}"' if environment else "",
        ):
            found.append(change)
            if len(found) >= limit:
                break
    return found


def show(found: list[Any], output: Format) -> None:
    """Write them."""
    import json

    from google.protobuf.json_format import MessageToDict

    from cellplane.cli.render.document import dump
    from cellplane.cli.render.output import say, table

    match output:
        case Format.JSON:
            print(json.dumps([MessageToDict(c) for c in found], indent=2, ensure_ascii=False))
        case Format.YAML:
            print("---\n".join(dump(MessageToDict(c)) for c in found), end="")
        case Format.NAME:
            for change in found:
                print(change.name)
        case _:
            if not found:
                say("nothing was deployed")
                return
            head = ("TIME", "COMPONENT", "ENVIRONMENT", "RELEASE", "CAUSE", "WHO", "WHY")
            for line in table(head, map(_row, found)):
                print(line)


def _row(change: Any) -> tuple[str, ...]:
    cause = change.Cause.Name(change.cause).lower().replace("_", " ")
    ids = change.name.split("/")
    return (
        f"{change.create_time.ToDatetime():%Y-%m-%d %H:%M:%S}Z",
        f"{ids[3]}/{ids[5]}",
        change.environment.rsplit("/", 1)[-1],
        change.release.rsplit("/", 1)[-1] or "(taken away)",
        f"{cause} {change.promotion.rsplit('/', 1)[-1]}".strip(),
        change.actor.rsplit("/", 1)[-1] or "-",
        change.reason or "-",
    )
