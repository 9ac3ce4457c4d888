"""One step of releases from one environment to another: what it changes, and the change itself.

All that a promotion names is deployed, or nothing: a component that would miss another refuses the
whole. What it deploys was written down when it was asked for, so that approvals are of that.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cellplane.api.model.v1 import cell_pb2, deployment_pb2, promotion_pb2
from cellplane.cell.problem import (
    FailedPrecondition,
    Findings,
    Invalid,
    NotFound,
    Precondition,
    Problem,
)
from cellplane.model.batch import Batch, Cause, CauseType, Change, complete
from cellplane.model.check import Checker
from cellplane.model.convert import Codecs
from cellplane.model.domain.gates import path_between
from cellplane.model.domain.kinds import Kind, check_reference, organization_of, project_of
from cellplane.model.domain.promote import edges
from cellplane.model.domain.resources import DeploymentPipeline, PromotionPath
from cellplane.model.effects import Effects
from cellplane.model.records import Record, Records
from cellplane.model.repository import Repository
from cellplane.store.database import Transaction

Promotion = promotion_pb2.Promotion
_CAUSES = {
    Promotion.PROMOTION: CauseType.PROMOTION,
    Promotion.ROLLBACK: CauseType.ROLLBACK,
    Promotion.AUTOMATIC_ROLLBACK: CauseType.AUTOMATIC_ROLLBACK,
}


class Steps:
    """Takes steps inside of transactions."""

    def __init__(
        self,
        codecs: Codecs,
        repository: Repository,
        records: Records,
        checker: Checker,
        effects: Effects,
    ) -> None:
        self._codecs = codecs
        self._repository = repository
        self._records = records
        self._checker = checker
        self._effects = effects

    async def project(self, tx: Transaction, name: str) -> Any:
        """A project's message; raises ``NotFound``."""
        owner = await self._records.get(tx, name)
        if owner is None:
            raise NotFound(f"{name} does not exist", metadata={"name": name})
        return owner.message

    async def pipeline(self, tx: Transaction, project: str) -> DeploymentPipeline | None:
        """The pipeline of a project, as it is now."""
        owner = await self.project(tx, project)
        record = await self._records.get(tx, owner.deployment_pipeline)
        found = self._codecs.resource(Kind.DEPLOYMENT_PIPELINE, record.message) if record else None
        return found if isinstance(found, DeploymentPipeline) else None

    async def path(
        self, tx: Transaction, project: str, promotion: Promotion
    ) -> tuple[DeploymentPipeline, PromotionPath]:
        """The path that a promotion takes.

        Raises:
            Invalid: a name is wrong.
            FailedPrecondition: the pipeline has no such step.
        """
        _check_names(project, promotion)
        pipeline = await self.pipeline(tx, project)
        source, target = promotion.source_environment, promotion.target_environment
        found = path_between(pipeline, source, target) if pipeline is not None else None
        if pipeline is not None and found is not None:
            return pipeline, found
        allowed = edges(pipeline).get(source, ()) if pipeline is not None else ()
        there = ", ".join(allowed) or "nowhere"
        name = pipeline.name if pipeline is not None else ""
        raise FailedPrecondition(
            f'pipeline "{name}" does not lead from "{source}" to "{target}": from there, releases '
            f"may go to {there}",
            reason="PROMOTION_NOT_ALLOWED",
            preconditions=[
                Precondition(
                    type="PROMOTION_NOT_ALLOWED", subject=one, description="is an allowed target"
                )
                for one in allowed
            ],
            metadata={"allowed_targets": ",".join(allowed)},
        )

    async def fill(self, tx: Transaction, project: str, promotion: Promotion) -> None:
        """Write down what a promotion changes: the releases of its source, as they are now."""
        source, target = _id(promotion.source_environment), _id(promotion.target_environment)
        deployed = await self.deployed(tx, project)
        there = sorted(component for component, environment in deployed if environment == source)
        wanted = list(promotion.components) or there
        missing = [component for component in wanted if component not in there]
        if missing or not wanted:
            what = ", ".join(missing) or f"nothing of {project}"
            raise FailedPrecondition(
                f'{what} is not deployed in "{promotion.source_environment}": deploy it there '
                "first",
                reason="NOT_DEPLOYED",
                preconditions=[
                    Precondition(
                        type="NOT_DEPLOYED",
                        subject=component,
                        description=f"is not deployed in {promotion.source_environment}",
                    )
                    for component in missing
                ],
            )
        own = {o.component: o.overrides for o in promotion.overrides}
        if strange := sorted(own.keys() - set(wanted)):
            findings = Findings(path="promotion.overrides")
            findings.add("NOT_PROMOTED", f'"{strange[0]}" is not promoted: name it, too')
            raise Invalid("promotion is invalid", problems=findings.problems)
        for component in wanted:
            old = deployed.get((component, target))
            change = promotion_pb2.ReleaseChange(
                component=component, release=deployed[component, source].release
            )
            if component in own:
                change.overrides.CopyFrom(own[component])
            elif old is not None and old.HasField("overrides"):
                change.overrides.CopyFrom(old.overrides)
            note_before(change, old)
            if is_change(change):
                promotion.changes.append(change)

    async def deploy(self, tx: Transaction, promotion: Promotion) -> None:
        """Deploy what a promotion changes: all of it, or it raises ``FailedPrecondition``."""
        target = _id(promotion.target_environment)
        names = [f"{c.component}/deployments/{target}" for c in promotion.changes]
        before = await self._records.get_many(tx, names)
        changes: list[Change] = []
        for change, name in zip(promotion.changes, names, strict=True):
            record = before.get(name)
            note_before(change, record.message if record else None)
            if is_change(change):
                changes.append(self._change(change, name, record))
        cause = Cause(
            type=_CAUSES[promotion.type],
            promotion=promotion.name,
            actor=promotion.creator,
            reason=promotion.comment,
        )
        batch = Batch(self._codecs, self._records, changes, cause=cause)
        wrong = await self._checker.check(tx, batch)
        if wrong:
            raise _refused([p for some in wrong.values() for p in some])
        for one in changes:
            record = before.get(one.name)
            if one.new is None:
                await self._records.remove(tx, one.name)
            else:
                await self._records.write(tx, one.new, record.stored if record else None)
        await self._settle(tx, promotion.target_environment, batch)

    async def deployed(self, tx: Transaction, project: str) -> dict[tuple[str, str], Any]:
        """Deployments of a project, by component's name and environment's id."""
        found: dict[tuple[str, str], Any] = {}
        for record in await self._records.below(tx, project, [Kind.DEPLOYMENT]):
            component, _, environment = record.stored.name.rpartition("/deployments/")
            found[component, environment] = record.message
        return found

    def _change(
        self, change: promotion_pb2.ReleaseChange, name: str, record: Record | None
    ) -> Change:
        old = record.message if record is not None else None
        if not change.release:
            return Change(kind=Kind.DEPLOYMENT, name=name, old=old)
        new = deployment_pb2.Deployment(name=name)
        if old is not None:
            new.CopyFrom(old)
        new.release = change.release
        new.ClearField("overrides")
        if change.HasField("overrides"):
            new.overrides.CopyFrom(change.overrides)
        complete(self._codecs, Kind.DEPLOYMENT, new)
        return Change(kind=Kind.DEPLOYMENT, name=name, old=old, new=new)

    async def _settle(self, tx: Transaction, target: str, batch: Batch) -> None:
        """What follows; raises where that leaves anybody with a problem that was not there."""
        before = {p.resource for p in await self._problems(tx, target, batch)}
        try:
            await self._effects.apply(tx, batch)
        except Invalid as error:
            raise _refused(list(error.problems)) from error
        moved = {_component(change) for change in batch.changes}
        problems = [
            p
            for p in await self._problems(tx, target, batch)
            if p.resource in moved or p.resource not in before
        ]
        if problems:
            raise _refused(problems)

    async def _problems(self, tx: Transaction, environment: str, batch: Batch) -> list[Problem]:
        """Problems of what is promoted, and of who calls it, in the target."""
        moved = {_component(change) for change in batch.changes}
        callers = await self._repository.read_callers(tx, environment, moved)
        rows = await self._repository.read_deployed(
            tx, environment, moved | {caller for caller, _, _ in callers}
        )
        return [
            self._codecs.problem.to_domain(problem)
            for name in sorted(rows)
            for problem in cell_pb2.Cell.FromString(rows[name].problems or b"").problems
        ]


def note_before(change: promotion_pb2.ReleaseChange, old: Any) -> None:
    """Write down what the target had."""
    change.previous_release = old.release if old is not None else ""
    change.ClearField("previous_overrides")
    if old is not None and old.HasField("overrides"):
        change.previous_overrides.CopyFrom(old.overrides)


def is_change(change: promotion_pb2.ReleaseChange) -> bool:
    """Whether anything of it differs."""
    return (
        change.previous_release != change.release
        or change.HasField("previous_overrides") != change.HasField("overrides")
        or change.previous_overrides != change.overrides
    )


def reverse(changes: Iterable[promotion_pb2.ReleaseChange]) -> list[promotion_pb2.ReleaseChange]:
    """What takes changes back."""
    found: list[promotion_pb2.ReleaseChange] = []
    for change in changes:
        back = promotion_pb2.ReleaseChange(
            component=change.component,
            previous_release=change.release,
            release=change.previous_release,
        )
        if change.HasField("previous_overrides"):
            back.overrides.CopyFrom(change.previous_overrides)
        if change.HasField("overrides"):
            back.previous_overrides.CopyFrom(change.overrides)
        found.append(back)
    return found


def _check_names(project: str, promotion: Promotion) -> None:
    findings = Findings(path="promotion")
    for field in ("source_environment", "target_environment"):
        name: str = getattr(promotion, field)
        check_reference(Kind.ENVIRONMENT, name, organization_of(project), findings.at(field))
    named = [("components", index, c) for index, c in enumerate(promotion.components)]
    named += [("overrides", index, o.component) for index, o in enumerate(promotion.overrides)]
    for field, index, component in named:
        at = findings.at(field).at(index)
        if check_reference(Kind.COMPONENT, component, organization_of(project), at) and (
            project_of(component) != project
        ):
            at.add(
                "OTHER_PROJECT",
                f'component "{component}" is not of project "{project}"',
                value=component,
            )
    if findings.problems:
        raise Invalid("promotion is invalid", problems=findings.problems)


def _id(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _component(change: Change) -> str:
    return change.name.rpartition("/deployments/")[0]


def _refused(problems: list[Problem]) -> FailedPrecondition:
    first = problems[0]
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return FailedPrecondition(
        f"nothing was promoted: {first.resource}: {first.field}: {first.message}{more}",
        reason="PROMOTION_REFUSED",
        preconditions=[
            Precondition(
                type=p.reason, subject=f"{p.resource} {p.field}".strip(), description=p.message
            )
            for p in problems
        ],
    )
