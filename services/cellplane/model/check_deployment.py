"""Whether a deployment may be stored: its place in the pipeline, its release, what it overrides."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from cellplane.api.model.v1 import release_pb2
from cellplane.cell.problem import Findings, Problem
from cellplane.model.batch import Batch
from cellplane.model.convert import Codecs
from cellplane.model.domain.default import override
from cellplane.model.domain.gates import doors
from cellplane.model.domain.kinds import (
    Kind,
    environment_name,
    ids,
    organization_of,
    parent_of,
    project_of,
)
from cellplane.model.domain.promote import edges
from cellplane.model.domain.references import Resource
from cellplane.model.domain.rehearse import rehearse
from cellplane.model.domain.resources import Component, Deployment, DeploymentPipeline, Project
from cellplane.model.domain.types import check_types, definition_of, versions_of
from cellplane.model.domain.validate_component import validate_component


class DeploymentChecker:
    """Checks deployments of batches."""

    def __init__(self, codecs: Codecs, zones: Collection[str]) -> None:
        self._codecs = codecs
        self._zones = zones

    def check(self, batch: Batch, deployment: Deployment, findings: Findings) -> None:
        """Add what is wrong with it where it goes."""
        component = parent_of(deployment.name)
        environment = environment_name(
            organization_of(deployment.name), deployment.name.rsplit("/", 1)[-1]
        )
        project = batch.message(project_of(deployment.name))
        pipeline = (
            batch.resource(Kind.DEPLOYMENT_PIPELINE, project.deployment_pipeline)
            if project is not None
            else None
        )
        if batch.is_preview:
            pipeline = None
        if isinstance(pipeline, DeploymentPipeline) and batch.cause.is_direct:
            self._check_doors(batch, pipeline, deployment, environment, findings)
        if isinstance(pipeline, DeploymentPipeline) and environment not in edges(pipeline):
            findings.at("name").add(
                "ENVIRONMENT_NOT_IN_PIPELINE",
                f'environment "{environment}" is not in the pipeline "{pipeline.name}": it has '
                f"{', '.join(sorted(edges(pipeline)))}",
                value=environment,
            )
        if ids(Kind.RELEASE, deployment.release) and parent_of(deployment.release) != component:
            findings.at("release").add(
                "OTHER_COMPONENT",
                f'release "{deployment.release}" is of another component than "{component}"',
                value=deployment.release,
            )
            return
        release = batch.message(deployment.release)
        if isinstance(release, release_pb2.Release) and deployment.overrides is not None:
            self._check_overrides(batch, release, deployment, findings)

    def _check_doors(
        self,
        batch: Batch,
        pipeline: DeploymentPipeline,
        deployment: Deployment,
        environment: str,
        findings: Findings,
    ) -> None:
        """A guarded environment is written by promotions and rollbacks alone."""
        change = batch.by_name[deployment.name]
        sources = doors(pipeline, environment)
        if not sources or batch.before(change) == deployment:
            return
        own = environment.rsplit("/", 1)[-1]
        project = project_of(deployment.name).rsplit("/", 1)[-1]
        findings.at("release").add(
            "ENVIRONMENT_GUARDED",
            f'environment "{own}" takes releases through its gates alone: use '
            f"`cellplane promote {project} --from {sources[0].rsplit('/', 1)[-1]} --to {own}`, or "
            "`cellplane rollback` for one that was there",
            value=deployment.release,
        )

    def _check_overrides(
        self, batch: Batch, release: release_pb2.Release, deployment: Deployment, findings: Findings
    ) -> None:
        """What an override makes wrong that was right in the release."""
        overrides = deployment.overrides
        at = findings.at("overrides")
        if overrides and overrides.replicas is not None and overrides.autoscaling is not None:
            at.at("replicas").add(
                "FIELDS_EXCLUDE", "replicas and autoscaling exclude each other: keep one of them"
            )
        snapshot = self._codecs.component.to_domain(release.snapshot)
        before = {_sign(p) for p in validate_component(snapshot, self._zones)}
        merged = override(snapshot, overrides)
        if overrides is not None and overrides.parameters:
            given = Findings()
            check_own_types(batch, merged, given)
            findings.problems.extend(
                replace(problem, field=f"overrides.{problem.field.removeprefix('environment_')}")
                for problem in given.problems
                if problem.field.startswith("environment_parameters")
            )
        for problem in validate_component(merged, self._zones):
            if _sign(problem) not in before:
                step = problem.field.removeprefix("workload.").partition("[")[0]
                at.at(step).add(problem.reason, problem.message, value=problem.value)


def check_pipeline(
    batch: Batch, before: Resource | None, project: Project, findings: Findings
) -> None:
    """A project takes no other pipeline to get around the gates of its own."""
    if not isinstance(before, Project):
        return
    left = batch.resource(Kind.DEPLOYMENT_PIPELINE, before.deployment_pipeline)
    taken = batch.resource(Kind.DEPLOYMENT_PIPELINE, project.deployment_pipeline)
    if not (isinstance(left, DeploymentPipeline) and isinstance(taken, DeploymentPipeline)):
        return
    for environment in sorted(edges(left).keys() & edges(taken).keys()):
        if doors(left, environment) and not doors(taken, environment):
            findings.at("deployment_pipeline").add(
                "PIPELINE_UNGUARDED",
                f'"{left.name}" guards "{environment}" by gates, and "{taken.name}" does not: who '
                "may change pipelines gives it gates there, or takes those of the first away",
                value=taken.name,
            )


def check_own_types(batch: Batch, component: Component, findings: Findings) -> None:
    found = {name: batch.defined(name) for name in versions_of(component)}
    known = {n: d for n, d in found.items() if d is not None}
    before = len(findings.problems)
    check_types(component, known, findings)
    if len(findings.problems) == before and (component.type or component.has_parameters):
        definitions = {n: definition_of(n, d) for n, d in known.items()}
        findings.problems.extend(rehearse(component, definitions))


def _sign(problem: Problem) -> tuple[str, str, str]:
    return problem.reason, problem.field, problem.value
