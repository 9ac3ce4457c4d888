"""``grant``: a project asks for an endpoint of another; the endpoint's owner decides."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cellplane.cli import completion
from cellplane.cli.options import Organization, Profile

app = typer.Typer(
    help="Ask for endpoints, and decide who may.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
_Name = Annotated[
    str,
    typer.Argument(
        help="Grant: project/component/id.", autocompletion=completion.names_of("AccessGrant")
    ),
]
_Comment = Annotated[str, typer.Option(help="Why, for the consumer to read.")]
_Until = Annotated[str, typer.Option(help="When it ends: a time, or a duration such as 720h.")]


@app.command()
def ask(
    component: Annotated[
        str,
        typer.Argument(
            help="Component whose endpoint is asked for.",
            autocompletion=completion.names_of("Component"),
        ),
    ],
    endpoint: Annotated[str, typer.Argument(help="Id of its endpoint.")],
    *,
    consumer: Annotated[
        str,
        typer.Option(
            "--for", help="Project that asks.", autocompletion=completion.names_of("Project")
        ),
    ],
    environment: Annotated[
        list[str] | None, typer.Option(help="Only there. Repeatable. Default: everywhere.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why it is asked for.")] = "",
    until: _Until = "",
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Ask for a grant. Nothing is open until its owner approves it.

    Example: cellplane grant ask payments/charge grpc --for boutique --reason "cards"
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.kinds import by_name

    chosen = profiles.load(profile, organization)
    kind, own = by_name("AccessGrant"), chosen.organization
    parent = by_name("Component").parse(component, own)
    grant = kind.message(
        endpoint=endpoint,
        consumer=by_name("Project").parse(consumer, own),
        environments=[by_name("Environment").parse(e, own) for e in environment or ()],
        reason=reason,
    )
    if until:
        _end(until, getattr(grant, "expire_time"))  # noqa: B009 - a field of this kind
    _show(chosen, "CreateAccessGrant", parent=parent, access_grant=grant)


@app.command()
def approve(
    name: _Name,
    *,
    comment: _Comment = "",
    until: _Until = "",
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Open what was asked for.

    Example: cellplane grant approve payments/charge/g-1f2e3d4c5b6a
    """
    from google.protobuf.timestamp_pb2 import Timestamp

    more: dict[str, Any] = {}
    if until:
        more["expire_time"] = Timestamp()
        _end(until, more["expire_time"])
    _decide("ApproveAccessGrant", name, organization, profile, comment=comment, **more)


@app.command()
def deny(
    name: _Name,
    *,
    comment: _Comment = "",
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Refuse what was asked for.

    Example: cellplane grant deny payments/charge/g-1f2e3d4c5b6a --comment "use the queue"
    """
    _decide("DenyAccessGrant", name, organization, profile, comment=comment)


@app.command()
def revoke(
    name: _Name,
    *,
    comment: _Comment = "",
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Close what a grant opened.

    Example: cellplane grant revoke payments/charge/g-1f2e3d4c5b6a
    """
    _decide("RevokeAccessGrant", name, organization, profile, comment=comment)


def _decide(method: str, name: str, organization: Any, profile: Any, **fields: Any) -> None:
    from cellplane.cli import profile as profiles
    from cellplane.cli.kinds import by_name

    chosen = profiles.load(profile, organization)
    full = by_name("AccessGrant").parse(name, chosen.organization)
    _show(chosen, method, name=full, **fields)


def _show(profile: Any, method: str, **fields: Any) -> None:
    from cellplane.cli.engine import run
    from cellplane.cli.kinds import by_name

    made = run(_call(profile, f"AccessGrantService.{method}", fields))
    word = made.State.Name(made.state).lower()
    print(f"accessGrant {by_name('AccessGrant').short(made.name)} {word}")


async def _call(profile: Any, method: str, fields: dict[str, Any]) -> Any:
    from cellplane.cli.calls import call
    from cellplane.cli.engine import Client

    async with Client(profile) as client:
        return await call(client, method, **fields)


def _end(text: str, stamp: Any) -> None:
    """A time, or how long from now."""
    from datetime import UTC, datetime

    from google.protobuf.duration_pb2 import Duration

    from cellplane.cli.documents.nodes import Scalar
    from cellplane.cli.documents.places import Place
    from cellplane.cli.documents.scalars import Unfit, read_duration, read_time
    from cellplane.cli.exits import usage

    scalar = Scalar(text, True, Place("--until"))
    length = Duration()
    try:
        read_duration(scalar, length)
    except Unfit:
        try:
            read_time(scalar, stamp)
        except Unfit as unfit:
            raise usage(f"--until {unfit}, or a duration such as 720h") from None
    else:
        stamp.FromDatetime(datetime.now(UTC) + length.ToTimedelta())
