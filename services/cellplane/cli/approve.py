"""``approve`` and ``refuse``: what people decide at the gates of a promotion."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cellplane.cli import completion
from cellplane.cli.options import Format, Organization, Output, Profile

_Name = Annotated[
    str,
    typer.Argument(help="Promotion: project/id.", autocompletion=completion.names_of("Promotion")),
]
_Gate = Annotated[str, typer.Option(help="Only at this gate. Default: where you may.")]


def approve(
    promotion: _Name,
    *,
    gate: _Gate = "",
    freeze: Annotated[
        bool, typer.Option("--freeze", help="Let it through a freeze instead; needs a reason.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why, for the history.")] = "",
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Let a promotion through the gates whose role you are a member of.

    Example: cellplane approve boutique/p-1f2e3d4c5b6a --reason "tested on Monday"
    """
    from cellplane.cli.exits import usage

    if freeze and not reason:
        raise usage("--freeze needs a --reason: it is kept in the history")
    method = "OverridePromotionFreeze" if freeze else "ApprovePromotion"
    more = {} if freeze else {"gate": gate}
    _decide(method, promotion, organization, profile, output, reason=reason, **more)


def refuse(
    promotion: _Name,
    *,
    gate: _Gate = "",
    reason: Annotated[str, typer.Option(help="Why, for the history.")] = "",
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Refuse a promotion: it ends. Who asked for it may always take it back.

    Example: cellplane refuse boutique/p-1f2e3d4c5b6a --reason "not before the sale"
    """
    _decide("RefusePromotion", promotion, organization, profile, output, reason=reason, gate=gate)


def _decide(
    method: str, name: str, organization: Any, profile: Any, output: Format, **fields: Any
) -> None:
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.kinds import by_name
    from cellplane.cli.promote import show

    chosen = profiles.load(profile, organization)
    full = by_name("Promotion").parse(name, chosen.organization)
    show(run(_call(chosen, method, name=full, **fields)), output)


async def _call(profile: Any, method: str, **fields: Any) -> Any:
    from cellplane.cli.calls import call
    from cellplane.cli.engine import Client

    async with Client(profile) as client:
        return await call(client, f"PromotionService.{method}", **fields)
