"""What a step back goes back to: only what the environment had before.

A release that never was there has not passed the gates; bringing it there is a promotion's.
"""

from __future__ import annotations

from collections.abc import Sequence

from cellplane.api.model.v1 import promotion_pb2
from cellplane.cell.problem import FailedPrecondition, Findings, Invalid, Precondition
from cellplane.model.domain.kinds import (
    Kind,
    check_reference,
    organization_of,
    parent_of,
    project_of,
)
from cellplane.model.promotions.history import History
from cellplane.model.promotions.step import is_change, note_before, reverse
from cellplane.model.records import Records
from cellplane.store.database import Transaction

Promotion = promotion_pb2.Promotion


async def fill(
    tx: Transaction,
    records: Records,
    history: History,
    rollback: Promotion,
    releases: Sequence[str],
) -> None:
    """Write down what a rollback changes.

    Raises:
        Invalid: a name is wrong.
        FailedPrecondition: there is nothing to go back to, or a release is not kept.
    """
    project, environment = project_of(rollback.name), rollback.target_environment
    findings = Findings()
    check_reference(
        Kind.ENVIRONMENT, environment, organization_of(project), findings.at("environment")
    )
    for index, release in enumerate(releases):
        at = findings.at("releases").at(index)
        if check_reference(Kind.RELEASE, release, organization_of(project), at) and (
            project_of(release) != project
        ):
            at.add("OTHER_PROJECT", f'release "{release}" is not of "{project}"', value=release)
    if findings.problems:
        raise Invalid(findings.problems[0].message, problems=findings.problems)
    if releases:
        await _to(tx, records, history, rollback, releases)
    else:
        await _last(tx, records, rollback)


async def _to(
    tx: Transaction,
    records: Records,
    history: History,
    rollback: Promotion,
    releases: Sequence[str],
) -> None:
    own = rollback.target_environment.rsplit("/", 1)[-1]
    by = {parent_of(release): release for release in releases}
    known = await history.releases_in(tx, rollback.target_environment, by)
    there = await records.get_many(
        tx, {*releases, *(f"{component}/deployments/{own}" for component in by), *_all(known)}
    )
    refused: list[Precondition] = []
    for component, release in by.items():
        kept = sorted(name for name in known[component] if name in there)
        if release not in known[component] or release not in there:
            what = "was never there" if release in there else "is not kept"
            refused.append(
                Precondition(
                    type="RELEASE_NOT_KEPT" if release not in there else "NEVER_DEPLOYED_HERE",
                    subject=release,
                    description=f"{what}: {own} can go back to "
                    f"{', '.join(n.rsplit('/', 1)[-1] for n in kept) or 'nothing'}",
                )
            )
            continue
        record = there.get(f"{component}/deployments/{own}")
        change = promotion_pb2.ReleaseChange(component=component, release=release)
        if record is not None and record.message.HasField("overrides"):
            change.overrides.CopyFrom(record.message.overrides)
        note_before(change, record.message if record else None)
        if is_change(change):
            rollback.changes.append(change)
    if refused:
        raise FailedPrecondition(
            f"{refused[0].subject} {refused[0].description}",
            reason=refused[0].type,
            preconditions=refused,
        )


async def _last(tx: Transaction, records: Records, rollback: Promotion) -> None:
    """What the last promotion changed there, taken back."""
    found = [
        record.message
        for record in await records.below(tx, project_of(rollback.name), [Kind.PROMOTION])
        if record.message.target_environment == rollback.target_environment
        and record.message.type in (Promotion.PROMOTION, Promotion.TYPE_UNSPECIFIED)
        and record.message.state in (Promotion.SUCCEEDED, Promotion.RUNNING)
        and record.message.changes
    ]
    last = max(found, key=lambda p: (_deployed(p), p.name), default=None)
    if last is None:
        raise FailedPrecondition(
            f'no promotion of {project_of(rollback.name)} to "{rollback.target_environment}" is '
            "left to take back: name releases to go back to",
            reason="NOTHING_TO_ROLL_BACK",
        )
    rollback.undone_promotion = last.name
    rollback.changes.extend(reverse(last.changes))


def _deployed(promotion: Promotion) -> tuple[int, int]:
    stamp = promotion.deploy_time if promotion.HasField("deploy_time") else promotion.create_time
    return stamp.seconds, stamp.nanos


def _all(known: dict[str, set[str]]) -> set[str]:
    return {name for names in known.values() for name in names}
