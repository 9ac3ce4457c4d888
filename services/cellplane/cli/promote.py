"""``promote`` and ``rollback``: releases go along the pipeline, and back: all of them, or none."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cellplane.cli import completion
from cellplane.cli.options import Format, Organization, Output, Profile

_Project = Annotated[
    str, typer.Argument(help="Project.", autocompletion=completion.names_of("Project"))
]
_Reason = Annotated[str, typer.Option("--reason", "--comment", help="Why, for the history.")]
_Wait = Annotated[bool, typer.Option("--wait", help="Until it has ended; shows each gate.")]
_Timeout = Annotated[
    str, typer.Option("--timeout", help="How long to wait at most, such as 90s or 5m.")
]


def promote(
    project: _Project,
    *,
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="Environment that releases are taken of.",
            autocompletion=completion.names_of("Environment"),
        ),
    ],
    target: Annotated[
        str,
        typer.Option(
            "--to",
            help="Environment that they are deployed to.",
            autocompletion=completion.names_of("Environment"),
        ),
    ],
    component: Annotated[
        list[str] | None, typer.Option("--component", "-c", help="Only this one. Repeatable.")
    ] = None,
    reason: _Reason = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
    ] = False,
    wait: _Wait = False,
    timeout: _Timeout = "30m",
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Deploy in one environment what runs in another, through the gates: all of it, or nothing.

    With --wait the exit code is 7 where it is refused, fails or is rolled back.

    Example: cellplane promote boutique --from development --to staging
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.kinds import by_name

    chosen = profiles.load(profile, organization)
    own, environment = chosen.organization, by_name("Environment")
    parent = by_name("Project").parse(project, own)
    promotion = by_name("Promotion").message(
        source_environment=environment.parse(source, own),
        target_environment=environment.parse(target, own),
        components=[
            c if c.startswith("organizations/") else f"{parent}/components/{c.rsplit('/', 1)[-1]}"
            for c in component or ()
        ],
        comment=reason,
    )
    if dry_run:
        answer = run(_call(chosen, "PlanPromotion", parent=parent, promotion=promotion))
        _print_plan(answer, output)
        return
    made = run(_call(chosen, "CreatePromotion", parent=parent, promotion=promotion))
    _follow(chosen, made, timeout if wait else None, output)


def rollback(
    project: _Project,
    *,
    environment: Annotated[
        str,
        typer.Option(
            "--environment",
            "-e",
            help="Environment.",
            autocompletion=completion.names_of("Environment"),
        ),
    ],
    release: Annotated[
        list[str] | None,
        typer.Option("--release", "-r", help="To this one: component/release. Repeatable."),
    ] = None,
    override_freeze: Annotated[
        bool, typer.Option("--override-freeze", help="Through a freeze; needs a reason.")
    ] = False,
    reason: _Reason = "",
    wait: _Wait = False,
    timeout: _Timeout = "30m",
    output: Output = Format.TABLE,
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Take the last promotion to an environment back, or go back to releases that it had.

    Example: cellplane rollback boutique -e production --reason "carts are lost"
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.exits import usage
    from cellplane.cli.kinds import by_name

    if override_freeze and not reason:
        raise usage("--override-freeze needs a --reason: it is kept in the history")
    chosen = profiles.load(profile, organization)
    own = chosen.organization
    parent = by_name("Project").parse(project, own)
    answer = run(
        _call(
            chosen,
            "RollBackEnvironment",
            parent=parent,
            environment=by_name("Environment").parse(environment, own),
            releases=[_release(parent, one, own) for one in release or ()],
            reason=reason,
        )
    )
    made = answer.promotion
    if override_freeze and made.state == made.PENDING:
        made = run(_call(chosen, "OverridePromotionFreeze", name=made.name, reason=reason))
        made = _ended(chosen, made, timeout)
    _follow(chosen, made, timeout if wait else None, output)


def _release(project: str, text: str, organization: str) -> str:
    from cellplane.cli.kinds import by_name

    own = project.rsplit("/", 1)[-1]
    written = f"{own}/{text}" if text.count("/") == 1 else text
    return by_name("Release").parse(written, organization)


def _follow(profile: Any, made: Any, timeout: str | None, output: Format) -> None:
    """Show it, and its end if that is waited for."""
    from cellplane.cli.exits import TERMINAL, Ended

    if timeout is not None:
        made = _ended(profile, made, timeout)
    show(made, output)
    if timeout is not None and made.state != made.SUCCEEDED:
        state = made.State.Name(made.state).lower().replace("_", " ")
        raise Ended(message=f"it is {state}: {made.state_reason}", code=TERMINAL)


def _ended(profile: Any, made: Any, timeout: str) -> Any:
    from cellplane.cli.engine import run
    from cellplane.cli.wait import seconds_of

    return run(_until_ended(profile, made, seconds_of(timeout)))


async def _until_ended(profile: Any, made: Any, seconds: float) -> Any:
    import asyncio

    from cellplane.cli.engine import Client
    from cellplane.cli.exits import TIMEOUT, Ended
    from cellplane.cli.kinds import by_name
    from cellplane.cli.render.output import say
    from cellplane.cli.watch import watch

    said = ""
    try:
        async with asyncio.timeout(seconds), Client(profile) as client:
            async for step in watch(client, by_name("Promotion"), made.name):
                if step.name != made.name or step.resource is None:
                    continue
                made = step.resource
                if made.state not in (made.PENDING, made.RUNNING):
                    return made
                if made.state_reason != said:
                    said = made.state_reason
                    say(f"{made.State.Name(made.state).lower()}: {said}")
    except TimeoutError:
        raise Ended(
            message=f"{made.name} has not ended after {seconds:g}s: {made.state_reason}",
            code=TIMEOUT,
        ) from None
    return made


def show(made: Any, output: Format) -> None:
    """Write a promotion."""
    import json
    import sys

    from google.protobuf.json_format import MessageToDict

    from cellplane.cli.kinds import by_name
    from cellplane.cli.render import promotion
    from cellplane.cli.render.document import document
    from cellplane.cli.render.output import colours

    match output:
        case Format.JSON:
            print(json.dumps(MessageToDict(made), indent=2, ensure_ascii=False))
        case Format.YAML:
            print(document(by_name("Promotion"), made), end="")
        case Format.NAME:
            print(made.name)
        case _:
            for line in promotion.lines(made, colour=colours(sys.stdout)):
                print(line)


def _print_plan(plan: Any, output: Format) -> None:
    import json

    from google.protobuf.json_format import MessageToDict

    from cellplane.cli.render import promotion
    from cellplane.cli.render.document import dump

    match output:
        case Format.JSON:
            print(json.dumps(MessageToDict(plan), indent=2, ensure_ascii=False))
        case Format.YAML:
            print(dump(MessageToDict(plan)), end="")
        case _:
            for line in promotion.plan_lines(plan):
                print(line)


async def _call(profile: Any, method: str, **fields: Any) -> Any:
    from cellplane.cli.calls import call
    from cellplane.cli.engine import Client

    async with Client(profile) as client:
        return await call(client, f"PromotionService.{method}", **fields)
