"""What is refused while an environment is frozen: whatever would deploy there, or take away.

Promotions and rollbacks do not come here: the freeze is one of their gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from cellplane.cell.problem import FailedPrecondition, Invalid, Precondition, Problem
from cellplane.model.batch import Batch, Change
from cellplane.model.domain.freeze import frozen
from cellplane.model.domain.kinds import Kind, environment_name, organization_of
from cellplane.model.domain.resources import Environment
from cellplane.store.database import Transaction


def zone(name: str) -> ZoneInfo:
    """A time zone that was checked when it was written."""
    return ZoneInfo(name)


async def refuse_frozen(
    tx: Transaction, batch: Batch, deployments: Sequence[Change], now: datetime
) -> None:
    """Raise what a freeze refuses of these.

    Raises:
        Invalid: something would be deployed; each finding is of what was written.
        FailedPrecondition: something would be taken away.
    """
    places = {change.name: _environment(change.name) for change in deployments}
    await batch.look_up(tx, set(places.values()))
    messages: dict[str, str] = {}
    for name in set(places.values()):
        environment = batch.resource(Kind.ENVIRONMENT, name)
        if isinstance(environment, Environment) and environment.freeze_windows:
            held = frozen(environment.freeze_windows, now, zone)
            if held is not None:
                messages[name] = (
                    f'environment "{name.rsplit("/", 1)[-1]}" is frozen: {held.message}'
                )
    held_up = [change for change in deployments if places[change.name] in messages]
    gone = [change for change in held_up if change.new is None]
    if gone:
        raise FailedPrecondition(
            f"{gone[0].name} cannot be deleted: {messages[places[gone[0].name]]}",
            reason="ENVIRONMENT_FROZEN",
            preconditions=[
                Precondition(
                    type="ENVIRONMENT_FROZEN",
                    subject=change.name,
                    description=messages[places[change.name]],
                )
                for change in gone
            ],
        )
    problems = [_problem(batch, change, messages[places[change.name]]) for change in held_up]
    if problems:
        raise Invalid(problems[0].message, problems=problems, reason="RESOURCE_INVALID")


def _problem(batch: Batch, change: Change, message: str) -> Problem:
    if change.name in batch.by_name:
        return Problem(
            reason="ENVIRONMENT_FROZEN", resource=change.name, field="release", message=message
        )
    return Problem(
        reason="ENVIRONMENT_FROZEN",
        resource=change.name.rpartition("/deployments/")[0],
        field="auto_deploy",
        message=f"{message}; with auto_deploy: false it is released, and not deployed",
    )


def _environment(deployment: str) -> str:
    return environment_name(organization_of(deployment), deployment.rsplit("/", 1)[-1])
