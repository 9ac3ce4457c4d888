"""``wait``: ends as soon as it is known how it ends.

A failure that only a change can mend ends it at once, with the deepest cause; conditions count only
for the revision that is wanted now, so that neither an old success nor an old failure does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellplane.cli.exits import NOT_FOUND, TERMINAL, TIMEOUT, Ended, usage
from cellplane.cli.options import KindName, Name, Organization, Profile

if TYPE_CHECKING:
    from cellplane.cli.kinds import Kind


class State(Enum):
    """What is known of the end."""

    WAITING = "WAITING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How it stands, and why, for people."""

    state: State
    reason: str = ""


def wait(
    kind: KindName,
    name: Name = None,
    *,
    what: Annotated[
        str, typer.Option("--for", help="ready, deleted, condition=TYPE or condition=TYPE=STATUS.")
    ] = "ready",
    timeout: Annotated[
        str, typer.Option("--timeout", help="How long at most, such as 90s or 5m.")
    ] = "5m",
    organization: Organization = None,
    profile: Profile = None,
) -> None:
    """Wait until a resource is as it should be. Exit code 6 after the timeout, 7 on a failure.

    Example: cellplane wait cell boutique/development --for=ready --timeout=60s
    """
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run
    from cellplane.cli.kinds import one_of

    judge = _judge(what)
    seconds = seconds_of(timeout)
    chosen = profiles.load(profile, organization)
    found, name = one_of(kind, name)
    run(_wait(chosen, found, name, what, judge, seconds))


async def _wait(
    profile: Any,
    kind: Kind,
    name: str,
    what: str,
    judge: Callable[[Any], Verdict],
    seconds: float,
) -> None:
    import asyncio

    from cellplane.cli.engine import Client
    from cellplane.cli.lookup import close_to, full_name
    from cellplane.cli.render.output import say
    from cellplane.cli.watch import watch

    began = time.monotonic()
    last = "nothing is known of it"
    seen = False
    label = f"{kind.singular} {name}"
    try:
        async with asyncio.timeout(seconds), Client(profile) as client:
            name = await full_name(client, kind, name)
            label = f"{kind.singular} {kind.short(name)}"
            async for step in watch(client, kind, name):
                if step.name not in ("", name):
                    continue
                seen = seen or step.resource is not None
                if what == "deleted" and (step.type == "DELETED" or not seen):
                    break
                if step.type == "DELETED" or not seen:
                    close = await close_to(client, kind, name)
                    raise Ended(message=f"{label} does not exist", code=NOT_FOUND, findings=close)
                if step.resource is None:
                    continue
                verdict = judge(step.resource)
                if verdict.state is State.DONE:
                    break
                if verdict.state is State.FAILED:
                    raise failure(label, step.resource, verdict.reason, time.monotonic() - began)
                if verdict.reason != last:
                    last = verdict.reason
                    say(f"{time.monotonic() - began:6.1f}s {label}: {last}")
    except TimeoutError:
        raise Ended(
            message=f"{label} is not {what} after {seconds:g}s: {last}", code=TIMEOUT
        ) from None
    print(f"{label} is {what} after {time.monotonic() - began:.1f}s")


def failure(label: str, resource: Any, reason: str, elapsed: float) -> Ended:
    """Make the end of a wait that cannot succeed: the deepest cause, and what to do."""
    findings: list[str] = []
    if "cause" in resource.DESCRIPTOR.fields_by_name and resource.HasField("cause"):
        findings = list(cause_lines(resource.cause))
    return Ended(
        message=f"{label} cannot become as it should without a change, known after "
        f"{elapsed:.1f}s: {reason}",
        code=TERMINAL,
        findings=findings,
    )


def cause_lines(cause: Any) -> list[str]:
    """A cause for people: what, why, since when, what to do, and the last lines of its log."""
    lines = [": ".join(part for part in (cause.resource, cause.reason, cause.message) if part)]
    if cause.HasField("since_time"):
        lines.append(f"since {cause.since_time.ToJsonString()}")
    if cause.remedy:
        lines.append(f"what to do: {cause.remedy}")
    lines += [f"log | {line}" for line in cause.log_lines]
    return lines


def _judge(what: str) -> Callable[[Any], Verdict]:
    word, _, rest = what.partition("=")
    if what == "ready":
        return _ready
    if what == "deleted":
        return lambda _resource: Verdict(state=State.WAITING, reason="it is still there")
    if word == "condition" and rest:
        kind, _, status = rest.partition("=")
        return lambda resource: _condition(resource, kind, status.upper() or "TRUE")
    raise usage(f'--for "{what}" is not known: write ready, deleted or condition=TYPE')


def _ready(resource: Any) -> Verdict:
    fields = resource.DESCRIPTOR.fields_by_name
    state = fields.get("state")
    if state is not None and "READY" in state.enum_type.values_by_name:
        word = state.enum_type.values_by_number[resource.state].name
        done = word == "READY"
        return Verdict(state=State.DONE if done else State.WAITING, reason=f"it is {word}")
    if "conditions" in fields:
        return _condition(resource, "Ready", "TRUE")
    if "reconciling" not in fields:
        raise usage(f"a {resource.DESCRIPTOR.name} is never unready: wait for its Cell")
    done = not resource.reconciling
    return Verdict(state=State.DONE if done else State.WAITING, reason="it is being brought about")


def _condition(resource: Any, kind: str, status: str) -> Verdict:
    if "conditions" not in resource.DESCRIPTOR.fields_by_name:
        raise usage(f"a {resource.DESCRIPTOR.name} has no conditions: wait for its Cell")
    revision = getattr(resource, "revision", 0)
    current = [c for c in resource.conditions if not c.observed_revision < revision]
    for condition in current:
        if condition.terminal and _status(condition) != "TRUE" and condition.type != "Isolated":
            return Verdict(state=State.FAILED, reason=_sentence(condition))
    found = next((c for c in current if c.type == kind), None)
    if found is not None and _status(found) == status:
        return Verdict(state=State.DONE)
    return Verdict(state=State.WAITING, reason=_why(resource, found, kind, revision))


def _why(resource: Any, found: Any, kind: str, revision: int) -> str:
    """What it waits for: the first condition that does not hold says more than the last."""
    open_ones = [
        c
        for c in resource.conditions
        if _status(c) != "TRUE" and c.type != "Isolated" and c.observed_revision >= revision
    ]
    if open_ones:
        return _sentence(open_ones[0])
    if found is not None:
        return _sentence(found)
    return f"{kind} is not known yet for revision {revision}"


def _sentence(condition: Any) -> str:
    text = f"{condition.type} is {_status(condition).lower()}: {condition.reason}"
    return f"{text}: {condition.message}" if condition.message else text


def _status(condition: Any) -> str:
    return str(condition.Status.Name(condition.status))


def seconds_of(text: str) -> float:
    """A `--timeout`; ends the command where it is none."""
    from google.protobuf.duration_pb2 import Duration

    from cellplane.cli.documents.nodes import Scalar
    from cellplane.cli.documents.places import Place
    from cellplane.cli.documents.scalars import Unfit, read_duration

    duration = Duration()
    try:
        written = f"{text}s" if text.isdigit() else text
        read_duration(Scalar(written, plain=True, place=Place("--timeout")), duration)
    except Unfit as unfit:
        raise usage(f"--timeout {unfit}") from None
    return duration.ToMilliseconds() / 1000
