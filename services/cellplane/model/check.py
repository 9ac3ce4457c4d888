"""Whether a batch may be stored: everything that is wrong with each of its resources, at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from cellplane.api.model.v1 import release_pb2
from cellplane.api.type.v1 import endpoint_pb2
from cellplane.cell.problem import Findings, Problem
from cellplane.model.batch import (
    Batch,
    CauseType,
    Change,
    auto_deploys,
    is_new_intent,
    may_deploy_now,
    otherwise_of,
    read_along,
)
from cellplane.model.catalog.check import SchemaChecker
from cellplane.model.check_deployment import DeploymentChecker, check_own_types, check_pipeline
from cellplane.model.compliance import Admission
from cellplane.model.convert import Codecs
from cellplane.model.domain.claimed import (
    check_claim,
    check_outputs,
    is_claim,
    twin_of,
    validate_resource_type,
)
from cellplane.model.domain.default import override
from cellplane.model.domain.kinds import (
    Kind,
    environment_name,
    ids,
    organization_of,
    project_of,
)
from cellplane.model.domain.promote import edges, first_environment
from cellplane.model.domain.references import Resource, check_references, references_of
from cellplane.model.domain.resources import (
    Component,
    ComponentType,
    Deployment,
    DeploymentPipeline,
    Environment,
    EventSubscription,
    Organization,
    Project,
    ResourceClaim,
    ResourceType,
    SecretReference,
    Trait,
)
from cellplane.model.domain.types import (
    validate_defined,
    versions_of,
)
from cellplane.model.domain.validate import (
    validate_annotations,
    validate_environment,
    validate_name,
    validate_organization,
    validate_pipeline,
    validate_project,
    validate_secret_reference,
)
from cellplane.model.domain.validate_component import validate_component
from cellplane.model.domain.validate_events import validate_event_subscription
from cellplane.model.quotas import Quotas
from cellplane.model.repository import Mention, Repository
from cellplane.store.database import Transaction


class Checker:
    """Checks batches against the rules of the domain and what is stored."""

    def __init__(
        self,
        codecs: Codecs,
        repository: Repository,
        zones: Collection[str],
        *,
        quotas: Quotas,
        schemas: SchemaChecker,
    ) -> None:
        self._quotas = quotas
        self._admission = Admission(codecs)
        self._codecs = codecs
        self._schemas = schemas
        self._repository = repository
        self._zones = zones
        self._deployments = DeploymentChecker(codecs, zones)

    async def check(self, tx: Transaction, batch: Batch) -> dict[str, list[Problem]]:
        """Every problem, by the name of the resource that has it; paths are the resource's own.

        Raises:
            ResourceExhausted: nothing is wrong, but a quota is used up.
        """
        found: dict[str, list[Problem]] = defaultdict(list)
        good: list[tuple[Change, Resource]] = []
        for change in batch.changes:
            if change.new is None:
                continue
            misnamed = validate_name(change.kind, change.name)
            found[change.name] += misnamed + validate_annotations(change.new.annotations)
            if not misnamed:
                resource = batch.resource(change.kind, change.name)
                if resource is not None:
                    good.append((change, resource))
                    found[change.name] += self._validate(resource)
                    found[change.name] += _check_own(change)
        # What is stored refers to what is there: deleting and hiding see to that.
        fresh = [(c, r) for c, r in good if not _is_settled(batch, batch.before(c), r)]
        await self._look_up(tx, batch, fresh)
        for change, resource in fresh:
            findings = Findings(found[change.name])
            known = _Known(batch)
            check_references(resource, known, findings)
            if isinstance(resource, Deployment):
                self._deployments.check(batch, resource, findings)
            if isinstance(resource, Component):
                check_own_types(batch, resource, findings)
            if isinstance(resource, Project):
                check_pipeline(batch, batch.before(change), resource, findings)
        await self._check_claims(tx, batch, good, found)
        for name, problem in (
            *await self._check_callers(tx, batch),
            *await self._schemas.check(tx, batch),
            *await self._admission.check(tx, batch, await self._placed(tx, batch)),
        ):
            found[name].append(problem)
        answer = {
            name: [replace(p, resource=name) for p in problems]
            for name, problems in found.items()
            if problems
        }
        if not answer:
            await self._quotas.check(tx, batch)
        return answer

    def _validate(self, resource: Resource) -> list[Problem]:
        match resource:
            case Organization():
                return validate_organization(resource)
            case Environment():
                return validate_environment(resource, self._zones)
            case DeploymentPipeline():
                return validate_pipeline(resource)
            case Project():
                return validate_project(resource)
            case EventSubscription():
                return validate_event_subscription(resource)
            case SecretReference():
                return validate_secret_reference(resource)
            case Component():
                return validate_component(resource, self._zones)
            case ResourceType():
                return validate_resource_type(resource)
            case ResourceClaim():
                return []
            case ComponentType() | Trait():
                return validate_defined(resource)
            case Deployment():
                return []

    async def _look_up(
        self, tx: Transaction, batch: Batch, good: list[tuple[Change, Resource]]
    ) -> None:
        wanted = {r.target for _, resource in good for r in references_of(resource)}
        projects = {project_of(c.name) for c, _ in good if c.kind is Kind.DEPLOYMENT}
        versions = {v for _, r in good if isinstance(r, Component) for v in versions_of(r)}
        # A project that goes from one pipeline to another.
        left = {b.deployment_pipeline for c, _ in good if isinstance(b := batch.before(c), Project)}
        await batch.look_up(tx, wanted | projects | versions | left)
        releases = [
            batch.message(r.release)
            for _, r in good
            if isinstance(r, Deployment) and r.overrides is not None and r.overrides.parameters
        ]
        # What an environment gives is checked by the type as it was released.
        await batch.look_up(
            tx,
            {
                name
                for release in releases
                if release is not None
                for name in versions_of(self._codecs.component.to_domain(release.snapshot))
            },
        )
        pipelines = {
            message.deployment_pipeline
            for message in map(batch.message, projects)
            if message is not None
        }
        await batch.look_up(tx, pipelines)

    async def _check_claims(
        self,
        tx: Transaction,
        batch: Batch,
        good: list[tuple[Change, Resource]],
        found: dict[str, list[Problem]],
    ) -> None:
        """Claims against their types, components against what they are to get of claims."""
        wanted = {r.target for _, resource in good for r in references_of(resource)}
        claims = {c.name for c, r in good if isinstance(r, ResourceClaim)}
        claims |= {name for name in wanted if is_claim(name)}
        mine = [c.name for c, r in good if isinstance(r, Component | ResourceClaim)]
        twins = {name: twin_of(name) for name in mine if batch.by_name[name].old is None}
        await batch.look_up(tx, {*claims, *twins.values()})
        there = {n: batch.resource(Kind.RESOURCE_CLAIM, n) for n in claims}
        known = {n: c for n, c in there.items() if isinstance(c, ResourceClaim)}
        await batch.look_up(tx, {claim.type for claim in known.values()})
        types = {c.type: own for c in known.values() if (own := batch.resource_type(c.type))}
        for change, resource in good:
            findings = Findings(found[change.name])
            if isinstance(resource, Component):
                check_outputs(resource, known, types, findings)
            elif isinstance(resource, ResourceClaim) and resource.type in types:
                check_claim(resource, types[resource.type], findings)
            twin = twins.get(change.name)
            if twin is not None and batch.is_there(twin):
                findings.at("name").add(
                    "NAME_COLLISION",
                    f'"{twin}" is there, and their objects would have the same names: choose '
                    "another id",
                    value=change.name,
                )

    async def _placed(self, tx: Transaction, batch: Batch) -> list[tuple[str, str, Component]]:
        """What a batch deploys: the resource that says so, the environment, the component there.

        The environment is empty for what is written and not deployed by that.
        """
        if batch.cause.type is CauseType.AUTOMATIC_ROLLBACK:
            # What ran before a rule came may run again: better than what fails. The Cell says so.
            return []
        found: list[tuple[str, str, Component]] = []
        components = [
            c
            for c in batch.of_kind(Kind.COMPONENT)
            if c.new and (is_new_intent(c) or may_deploy_now(c))
        ]
        await batch.look_up(tx, {project_of(c.name) for c in components})
        projects = {c.name: batch.message(project_of(c.name)) for c in components}
        await batch.look_up(tx, {p.deployment_pipeline for p in projects.values() if p})
        wanted: set[str] = set()
        for change in components:
            component, project = batch.component(change.name), projects[change.name]
            pipeline = project and batch.resource(
                Kind.DEPLOYMENT_PIPELINE, project.deployment_pipeline
            )
            first = ""
            wanted.add(change.new.latest_release)
            if isinstance(pipeline, DeploymentPipeline) and edges(pipeline):
                deploys = auto_deploys(change.new, otherwise=otherwise_of(project, pipeline))
                first = first_environment(pipeline) if deploys else ""
                wanted |= read_along(change.name, first) if first else set()
            if component is not None:
                found.append((change.name, first, component))
        await batch.look_up(tx, wanted)
        for change in batch.of_kind(Kind.DEPLOYMENT):
            written = batch.resource(change.kind, change.name) if change.new else None
            release = batch.message(written.release) if isinstance(written, Deployment) else None
            if isinstance(written, Deployment) and isinstance(release, release_pb2.Release):
                own = change.name.rsplit("/", 1)[-1]
                where = environment_name(organization_of(change.name), own)
                snapshot = self._codecs.component.to_domain(release.snapshot)
                found.append((change.name, where, override(snapshot, written.overrides)))
        return found

    async def _check_callers(self, tx: Transaction, batch: Batch) -> list[tuple[str, Problem]]:
        """What others refer to neither goes, nor is hidden: endpoints, and keys of secrets."""
        lost = {
            change.name: parts
            for change in batch.changes
            if change.old is not None and change.new is not None and (parts := _lost(change))
        }
        if not lost:
            return []
        found: list[tuple[str, Problem]] = []
        for mention in await self._repository.read_mentions(tx, lost):
            is_own = project_of(mention.source) == project_of(mention.target)
            gone = lost[mention.target].get(mention.endpoint)
            if mention.source in batch.by_name or gone is None or (gone == "hidden" and is_own):
                continue
            found.append((mention.target, _in_use(mention, gone)))
        return found


class _Known(dict[str, object]):
    """What is there after a batch; what is looked into, as values of the domain."""

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self._batch = batch

    def get(self, key: str, default: object = None) -> object:
        if ids(Kind.COMPONENT, key) is not None:
            return self._batch.component(key) or default
        if ids(Kind.RESOURCE_TYPE, key) is not None:
            return self._batch.resource_type(key) or default
        if ids(Kind.SECRET_REFERENCE, key) is not None:
            return self._batch.resource(Kind.SECRET_REFERENCE, key) or default
        return self._batch.message(key) or default


def _check_own(change: Change) -> list[Problem]:
    """What stands for a preview is changed through that alone."""
    if change.kind is not Kind.ENVIRONMENT or not (change.old and change.old.preview):
        return []
    findings = Findings()
    findings.at("name").add(
        "OF_A_PREVIEW",
        f'environment "{change.name}" is of preview "{change.old.preview}": change that, or its '
        "template",
        value=change.name,
    )
    return findings.problems


def _is_settled(batch: Batch, before: Resource | None, after: Resource) -> bool:
    """Tell whether neither what a resource refers to, nor that itself, changes."""
    if before is None or isinstance(after, Deployment):
        return False
    if isinstance(after, Component) and before != after and (after.type or after.has_parameters):
        return False
    references = references_of(after)
    return references_of(before) == references and not any(
        r.target in batch.by_name for r in references
    )


def _in_use(mention: Mention, gone: str) -> Problem:
    is_key = ids(Kind.SECRET_REFERENCE, mention.target) is not None
    what, does, field = (
        ("key", "reads", "keys") if is_key else ("endpoint", "connects to", "endpoints")
    )
    return Problem(
        reason="SECRET_KEY_IN_USE" if is_key else "ENDPOINT_IN_USE",
        field=field,
        value=mention.endpoint,
        message=f'{what} "{mention.endpoint}" would be {gone}, but "{mention.source}" {does} it '
        f"({mention.field}): change that first, or apply both together",
    )


def _lost(change: Change) -> dict[str, str]:
    """Endpoints that go, or are hidden from other projects; keys of a secret that go."""
    if change.kind is Kind.SECRET_REFERENCE:
        kept = {entry.key for entry in change.new.keys}
        return {e.key: "removed" for e in change.old.keys if e.key not in kept}
    if change.kind is not Kind.COMPONENT:
        return {}
    new = {e.endpoint: _is_open(e) for e in change.new.endpoints}
    found: dict[str, str] = {}
    for endpoint in change.old.endpoints:
        if endpoint.endpoint not in new:
            found[endpoint.endpoint] = "removed"
        elif _is_open(endpoint) and not new[endpoint.endpoint]:
            found[endpoint.endpoint] = "hidden"
    there = {c.event_channel: c.endpoint for c in change.new.event_channels}
    there |= {p.data_product: p.endpoint for p in change.new.data_products}
    for offer, endpoint in (
        *((c.event_channel, c.endpoint) for c in change.old.event_channels),
        *((p.data_product, p.endpoint) for p in change.old.data_products),
    ):
        if there.get(offer) != endpoint:
            found[offer] = "moved" if offer in there else "removed"
    return found


def _is_open(endpoint: Any) -> bool:
    return endpoint_pb2.VISIBILITY_ORGANIZATION in endpoint.visibilities
