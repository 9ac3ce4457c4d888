"""``dataplane``: a cluster or a folder becomes a data plane.

``join`` makes the data plane and a grant, and prints the command that its agent is started with.
The token goes by the environment: others on the machine can read a process's arguments.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cellplane.cli.options import Format, Organization, Output, Profile

app = typer.Typer(
    help="Join clusters and folders.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command()
def join(
    name: Annotated[str, typer.Argument(help="Id of the data plane.")],
    *,
    folder: Annotated[
        Path | None, typer.Option(help="Write manifests to this folder, instead of a cluster.")
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
    kubeconfig: Annotated[Path | None, typer.Option(help="The kubeconfig.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Label of the data plane, key=value. Repeatable.")
    ] = None,
    westbound_host: Annotated[
        str | None, typer.Option(help="Host of its westbound gateway, for other data planes.")
    ] = None,
    westbound_port: Annotated[int | None, typer.Option(help="Port of that gateway.")] = None,
    internal_network: Annotated[
        list[str] | None,
        typer.Option(help="Range of addresses that may call that gateway; repeatable."),
    ] = None,
    readopt: Annotated[
        bool, typer.Option(help="Take the cluster over from the data plane that it is now.")
    ] = False,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Make a data plane and the right of its agent to join; print how to start the agent.

    Example: cellplane dataplane join europe-1 --label topology.kubernetes.io/region=eu-west
    """
    import json

    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.exits import usage
    from cellplane.cli.render.document import dump
    from cellplane.cli.render.output import say

    if folder is not None and (context or kubeconfig):
        raise usage("--folder excludes --context and --kubeconfig: give one of them")
    labels = dict(_label(text) for text in label or ())
    chosen = profiles.load(profile, organization)
    fields: dict[str, Any] = {"labels": labels}
    fields |= {"westbound_host": westbound_host} if westbound_host else {}
    fields |= {"westbound_port": westbound_port} if westbound_port else {}
    fields |= {"internal_networks": internal_network} if internal_network else {}
    grant = run(_join(chosen, name, fields, readopt=readopt))
    words = {
        "grant": grant.name,
        "token": grant.token,
        "authority_digest": grant.authority_digest,
        "join_address": grant.join_address,
        "link_address": grant.link_address,
    }
    match output:
        case Format.JSON:
            print(json.dumps(words, indent=2))
        case Format.YAML:
            print(dump(words), end="")
        case _:
            print(agent_command(grant, name, folder, context, kubeconfig))
            until = grant.expire_time.ToJsonString()
            say(f"the token works once, until {until}; it is not shown again")


def agent_command(
    grant: Any, name: str, folder: Path | None, context: str | None, kubeconfig: Path | None
) -> str:
    """The command line that starts the agent of a grant."""
    import shlex

    flags: dict[str, object] = {
        "state-dir": f"state/agent-{name}",
        "join-address": grant.join_address,
        "grant": grant.name,
        "authority-digest": grant.authority_digest,
    }
    given = {"folder": folder, "context": context, "kubeconfig": kubeconfig}
    flags |= {flag: value for flag, value in given.items() if value}
    if folder is not None:
        flags["enforcement"] = "external"
    lines = [
        f"CELLPLANE_AGENT_TOKEN={shlex.quote(grant.token)} cellplane serve agent",
        *(f"  --{flag} {shlex.quote(str(value))}" for flag, value in flags.items()),
    ]
    return " \\\n".join(lines)


@app.command()
def manifest(
    name: Annotated[str, typer.Argument(help="Id of the data plane.")],
    *,
    image: Annotated[str, typer.Option(help="Image of the agent.")] = "cellplane:0.1.0",
    enforcement: Annotated[
        str, typer.Option(help="enforcing: your word that the cluster enforces policies.")
    ] = "",
    trust_domain: Annotated[
        str, typer.Option(help="Trust domain of the control plane.")
    ] = "cellplane.local",
    label: Annotated[
        list[str] | None, typer.Option(help="Label of the data plane, key=value. Repeatable.")
    ] = None,
    readopt: Annotated[
        bool, typer.Option(help="Take the cluster over from the data plane that it is now.")
    ] = False,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Make a data plane, and print what installs its agent; for kubectl apply -f -.

    Example: cellplane dataplane manifest europe-1 --enforcement enforcing | kubectl apply -f -
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.exits import usage
    from cellplane.cli.manifest import Values, fill
    from cellplane.cli.render.output import say

    if enforcement not in ("", "enforcing", "simulated"):
        raise usage(f'--enforcement "{enforcement}" is not one of: enforcing, simulated')
    fields: dict[str, Any] = {"labels": dict(_label(text) for text in label or ())}
    grant = run(_join(profiles.load(profile, organization), name, fields, readopt=readopt))
    values = Values(
        join_address=grant.join_address,
        grant=grant.name,
        token=grant.token,
        authority_digest=grant.authority_digest,
        trust_domain=trust_domain,
        image=image,
        enforcement=enforcement,
    )
    print(fill(values), end="")
    say(f"the token in it works once, until {grant.expire_time.ToJsonString()}")


@app.command("list")
def list_planes(
    *,
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Show the data planes.

    Example: cellplane dataplane list -o wide
    """
    from cellplane.cli.get import get

    get(
        "dataPlanes",
        None,
        project=None,
        filter="",
        order_by="",
        watch=False,
        output=output,
        organization=organization,
        profile=profile,
    )


@app.command("confirm-removal")
def confirm_removal(
    name: Annotated[str, typer.Argument(help="Id of the data plane.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Let removals go on that wait because they are many; shows them first.

    Example: cellplane dataplane confirm-removal europe-1
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.render.output import say

    chosen = profiles.load(profile, organization)
    held = run(_held(chosen, name))
    if not held.object_count:
        say(f"nothing waits on {name}")
        return
    for cell in held.cells:
        print(cell)
    question = f"remove {held.object_count} of {held.total_count} objects of {name}?"
    if not yes and not typer.confirm(question, err=True):
        raise typer.Exit(1)
    run(_confirm(chosen, name, held.digest))
    say(f"{held.object_count} objects of {name} are being removed")


@app.command()
def ban(
    name: Annotated[str, typer.Argument(help="Id of the data plane.")],
    *,
    lift: Annotated[bool, typer.Option(help="Let the agent in again.")] = False,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Shut the agent of a data plane out, at once. What runs there, runs on.

    Example: cellplane dataplane ban europe-1
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.render.output import say

    run(_ban(profiles.load(profile, organization), name, banned=not lift))
    say(f"{name} is {'let in again' if lift else 'banned'}")


async def _held(profile: Any, name: str) -> Any:
    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import by_name

    plane = by_name("DataPlane")
    async with Client(profile) as client:
        found = await client.get(plane, plane.parse(name, profile.organization))
    return found.held_removals


async def _confirm(profile: Any, name: str, digest: str) -> None:
    from cellplane.api.placement.v1 import data_plane_pb2, data_plane_pb2_grpc
    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import by_name

    full = by_name("DataPlane").parse(name, profile.organization)
    async with Client(profile) as client:
        stub = data_plane_pb2_grpc.DataPlaneServiceStub(client.channel("placement"))
        await stub.ConfirmRemovals(data_plane_pb2.ConfirmRemovalsRequest(name=full, digest=digest))


async def _ban(profile: Any, name: str, *, banned: bool) -> None:
    from google.protobuf import field_mask_pb2

    from cellplane.api.placement.v1 import data_plane_pb2, data_plane_pb2_grpc
    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import by_name

    full = by_name("DataPlane").parse(name, profile.organization)
    async with Client(profile) as client:
        stub = data_plane_pb2_grpc.DataPlaneServiceStub(client.channel("placement"))
        await stub.UpdateDataPlane(
            data_plane_pb2.UpdateDataPlaneRequest(
                data_plane=data_plane_pb2.DataPlane(name=full, banned=banned),
                update_mask=field_mask_pb2.FieldMask(paths=["banned"]),
            )
        )


async def _join(profile: Any, name: str, fields: dict[str, Any], *, readopt: bool) -> Any:
    from cellplane.cli.engine import Client
    from cellplane.cli.kinds import by_name

    plane, grant = by_name("DataPlane"), by_name("JoinGrant")
    full = plane.parse(name, profile.organization)
    parent, own_id = full.rsplit("/dataPlanes/", 1)
    async with Client(profile) as client:
        await client.ensure(plane, plane.message(name=full, **fields))
        # A grant that was not used gives way: a data plane has one agent.
        await client.delete(grant, f"{parent}/joinGrants/{own_id}", force=False, allow_missing=True)
        return await client.create(
            grant, parent, own_id, grant.message(data_plane=full, readopt=readopt)
        )


def _label(text: str) -> tuple[str, str]:
    from cellplane.cli.exits import usage

    key, mark, value = text.partition("=")
    if not mark or not key:
        raise usage(f'--label "{text}" is not key=value')
    return key, value
