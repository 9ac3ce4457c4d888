"""Promotions: releases go one step along the pipeline, all that are asked for or none."""

from __future__ import annotations

import uuid
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
from cellplane.model.batch import Batch, Change, complete
from cellplane.model.check import Checker
from cellplane.model.convert import Codecs
from cellplane.model.domain.kinds import Kind, check_reference, organization_of, project_of
from cellplane.model.domain.promote import edges
from cellplane.model.domain.resources import DeploymentPipeline
from cellplane.model.effects import Effects
from cellplane.model.records import Record, Records
from cellplane.model.repository import Repository
from cellplane.rpc.identity import current_principal
from cellplane.store.database import Transaction


class Promoter:
    """Promotes inside of transactions."""

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

    async def promote(
        self, tx: Transaction, project: str, promotion_id: str, asked: promotion_pb2.Promotion
    ) -> Record:
        """Bring the releases of one environment to the next.

        Raises:
            Invalid: a name is wrong, or a component is not deployed in the source.
            FailedPrecondition: the pipeline has no such step, or a component would miss another.
        """
        promotion = promotion_pb2.Promotion(
            name=f"{project}/promotions/{promotion_id or 'p-' + uuid.uuid4().hex[:12]}",
            display_name=asked.display_name,
            annotations=asked.annotations,
            source_environment=asked.source_environment,
            target_environment=asked.target_environment,
            components=sorted(asked.components),
            comment=asked.comment,
            creator=current_principal().name,
            state=promotion_pb2.Promotion.SUCCEEDED,
        )
        await self._check_step(tx, project, promotion)
        changes = await self._changes(tx, project, promotion)
        batch = Batch(self._codecs, self._records, changes)
        wrong = await self._checker.check(tx, batch)
        if wrong:
            raise _refused([p for some in wrong.values() for p in some])
        for change in changes:
            record = await self._records.get(tx, change.name) if change.old is not None else None
            await self._records.write(tx, change.new, record.stored if record else None)
        target = promotion.target_environment
        before = {p.resource for p in await self._problems(tx, target, batch)}
        await self._effects.apply(tx, batch)
        moved = {_component(change) for change in changes}
        problems = [
            p
            for p in await self._problems(tx, target, batch)
            if p.resource in moved or p.resource not in before
        ]
        if problems:
            raise _refused(problems)
        for change in changes:
            promotion.changes.add(
                component=_component(change),
                previous_release=change.old.release if change.old is not None else "",
                release=change.new.release,
            )
        stored = await self._records.write(tx, promotion, None)
        return Record(stored=stored, message=promotion)

    async def _check_step(
        self, tx: Transaction, project: str, promotion: promotion_pb2.Promotion
    ) -> None:
        findings = Findings()
        for field in ("source_environment", "target_environment"):
            name: str = getattr(promotion, field)
            at = findings.at("promotion").at(field)
            check_reference(Kind.ENVIRONMENT, name, organization_of(project), at)
        for index, component in enumerate(promotion.components):
            at = findings.at("promotion").at("components").at(index)
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
        owner = await self._records.get(tx, project)
        if owner is None:
            raise NotFound(f"{project} does not exist", metadata={"name": project})
        record = await self._records.get(tx, owner.message.deployment_pipeline)
        pipeline = (
            self._codecs.resource(Kind.DEPLOYMENT_PIPELINE, record.message) if record else None
        )
        graph = edges(pipeline) if isinstance(pipeline, DeploymentPipeline) else {}
        allowed = graph.get(promotion.source_environment, ())
        if promotion.target_environment not in allowed:
            there = ", ".join(allowed) or "nowhere"
            raise FailedPrecondition(
                f'pipeline "{owner.message.deployment_pipeline}" does not lead from '
                f'"{promotion.source_environment}" to "{promotion.target_environment}": from '
                f"there, releases may go to {there}",
                reason="PROMOTION_NOT_ALLOWED",
                preconditions=[
                    Precondition(
                        type="PROMOTION_NOT_ALLOWED",
                        subject=target,
                        description="is an allowed target",
                    )
                    for target in allowed
                ],
                metadata={"allowed_targets": ",".join(allowed)},
            )

    async def _changes(
        self, tx: Transaction, project: str, promotion: promotion_pb2.Promotion
    ) -> list[Change]:
        """Deployments of the target, as they are to be."""
        source = promotion.source_environment.rsplit("/", 1)[-1]
        target = promotion.target_environment.rsplit("/", 1)[-1]
        deployed: dict[tuple[str, str], Any] = {}
        for record in await self._records.below(tx, project, [Kind.DEPLOYMENT]):
            component, _, environment = record.stored.name.rpartition("/deployments/")
            deployed[component, environment] = record.message
        there = [component for component, environment in deployed if environment == source]
        wanted = list(promotion.components) or sorted(there)
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
        changes: list[Change] = []
        for component in wanted:
            old = deployed.get((component, target))
            new = deployment_pb2.Deployment(name=f"{component}/deployments/{target}")
            if old is not None:
                new.CopyFrom(old)
            new.release = deployed[component, source].release
            complete(self._codecs, Kind.DEPLOYMENT, new)
            if old is None or old.release != new.release:
                changes.append(Change(kind=Kind.DEPLOYMENT, name=new.name, old=old, new=new))
        return changes

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
