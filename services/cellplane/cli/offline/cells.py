"""Documents to resolved Cells, as the model would: validate, default, resolve.

Every component that is given counts as deployed in the environment at hand. What a component refers
to must be given, too; the platform around it may be left out, and is then as plain as can be.
"""

from __future__ import annotations

import dataclasses
import zoneinfo
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from cellplane.cell.cell import ResolvedCell
from cellplane.cell.definition import Definition
from cellplane.cell.names import last_segment
from cellplane.cell.problem import Findings, Problem
from cellplane.cli.documents.load import Document
from cellplane.cli.documents.places import Finding
from cellplane.model.domain.claimed import (
    check_claim,
    check_outputs,
    definition_of_type,
    parts,
    shipped_type,
    validate_resource_type,
)
from cellplane.model.domain.kinds import Kind, environment_name, organization_of, project_of
from cellplane.model.domain.promote import first_environment
from cellplane.model.domain.references import check_references, references_of
from cellplane.model.domain.resolve import Deployed
from cellplane.model.domain.resolve_all import resolve_cells
from cellplane.model.domain.resources import (
    Component,
    ComponentType,
    DeploymentPipeline,
    Environment,
    Organization,
    Project,
    ResourceClaim,
    ResourceType,
    SecretReference,
    Trait,
)
from cellplane.model.domain.touched import calls_of
from cellplane.model.domain.types import check_types, definition_of, validate_defined
from cellplane.model.domain.validate import (
    validate_annotations,
    validate_environment,
    validate_organization,
    validate_pipeline,
    validate_project,
    validate_secret_reference,
)
from cellplane.model.domain.validate_component import validate_component
from cellplane.rpc.codec import Codec

T = TypeVar("T")
_TYPES: Final[Mapping[str, type[Any]]] = {
    kind.__name__: kind
    for kind in (
        Organization,
        Environment,
        DeploymentPipeline,
        Project,
        SecretReference,
        ComponentType,
        Trait,
        ResourceType,
        ResourceClaim,
        Component,
    )
}
_RELEASE: Final = "offline"
_GIVEN: Final = (
    Kind.COMPONENT,
    Kind.SECRET_REFERENCE,
    Kind.COMPONENT_TYPE,
    Kind.TRAIT,
    Kind.RESOURCE_CLAIM,
)
"""What cannot be left out, as it has a say in what is made."""


class World:
    """Resources by name, and where they are written."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.documents = {d.name: d for d in documents if d.kind.name in _TYPES}
        self.resources: dict[str, Any] = {
            name: _as_latest(to_domain(_TYPES[d.kind.name], d.resource))
            for name, d in self.documents.items()
        }

    def of(self, kind: type[T]) -> list[T]:
        """Resources of a kind, by name."""
        return [r for _, r in sorted(self.resources.items()) if isinstance(r, kind)]

    def finding(self, problem: Problem, owner: str) -> Finding:
        """A problem with its place: in the document of its resource, or of *owner*."""
        document = self.documents.get(problem.resource) or self.documents[owner]
        return Finding(
            place=document.places.of(problem.field), field=problem.field, message=problem.message
        )

    def definitions(self) -> dict[str, Definition]:
        """Types and traits as they are given, by name."""
        given: list[ComponentType | Trait] = [*self.of(ComponentType), *self.of(Trait)]
        claimed = {n: definition_of_type(n, own) for n, own in self.resource_types().items()}
        return {one.name: definition_of(one.name, one) for one in given} | claimed

    def resource_types(self) -> dict[str, ResourceType]:
        """Types of managed resources that claims name: those that are given, or come along."""
        found = {one.name: one for one in self.of(ResourceType)}
        for claim in self.of(ResourceClaim):
            own = shipped_type(claim.type)
            if own is not None:
                found.setdefault(claim.type, own)
        return found


def _as_latest(resource: Any) -> Any:
    """A component of the types that are given: of each there is but one version."""
    if not isinstance(resource, Component):
        return resource
    traits = tuple(dataclasses.replace(t, resolved_trait=t.trait) for t in resource.traits)
    return dataclasses.replace(resource, resolved_type=resource.type, traits=traits)


def to_domain(kind: type[T], message: Any) -> T:
    """Read a message into the domain's type; what no rule reads is left out."""
    own = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    ignore = frozenset(set(message.DESCRIPTOR.fields_by_name) - own)
    value: T = Codec(kind, type(message), ignore=ignore).to_domain(message)
    return value


def check(world: World) -> Iterator[Finding]:
    """Everything that the model would refuse when these documents are applied to it."""
    zones = zoneinfo.available_timezones()
    for name, resource in sorted(world.resources.items()):
        document: Any = world.documents[name].resource
        problems = [*validate_annotations(dict(document.annotations)), *_own(resource, zones)]
        around = {
            reference.target: object()
            for reference in references_of(resource)
            if reference.kind not in _GIVEN
        }
        findings = Findings()
        check_references(resource, around | world.resources, findings)
        if isinstance(resource, Component):
            check_types(resource, world.resources, findings)
            claims = {c.name: c for c in world.of(ResourceClaim)}
            check_outputs(resource, claims, world.resource_types(), findings)
        elif isinstance(resource, ResourceClaim) and resource.type in world.resource_types():
            check_claim(resource, world.resource_types()[resource.type], findings)
        yield from (world.finding(p, name) for p in (*problems, *findings.problems))


def _own(resource: Any, zones: set[str]) -> list[Problem]:
    match resource:
        case Organization():
            return validate_organization(resource)
        case Environment():
            return validate_environment(resource, zones)
        case DeploymentPipeline():
            return validate_pipeline(resource)
        case Project():
            return validate_project(resource)
        case SecretReference():
            return validate_secret_reference(resource)
        case ComponentType() | Trait():
            return validate_defined(resource)
        case ResourceType():
            return validate_resource_type(resource)
        case ResourceClaim():
            return []
        case _:
            return validate_component(resource, zones)


def environments(world: World) -> list[str]:
    """Ids of the environments that can be meant, the first of a pipeline before others."""
    first = [first_environment(pipeline) for pipeline in world.of(DeploymentPipeline)]
    named = [*first, *(environment.name for environment in world.of(Environment))]
    return list(dict.fromkeys(map(last_segment, named)))


def cells(world: World, environment: str) -> Iterator[tuple[ResolvedCell, list[Finding]]]:
    """Resolve every project's Cell in an environment, with what keeps it from being whole."""
    for organization in sorted({organization_of(c.name) for c in world.of(Component)}):
        owner = world.resources.get(organization)
        place = _environment(world, organization, environment)
        own = [c for c in world.of(Component) if organization_of(c.name) == organization]
        claims = {c.name: c for c in world.of(ResourceClaim)}
        claimed = parts(own, claims, world.resource_types(), place)
        found = resolve_cells(
            owner if isinstance(owner, Organization) else Organization(name=organization),
            place,
            {c.name: Deployed(release=_RELEASE, component=c) for c in (*own, *claimed.values())},
            {s.name: s for s in world.of(SecretReference)},
            # Which grants are in force only a server knows: what they open is shown as open.
            frozenset(
                (target, endpoint, project_of(c.name))
                for c in world.of(Component)
                for target, endpoint in calls_of(c)
            ),
            world.definitions(),
        )
        for one in found.values():
            yield one.cell, [world.finding(p, p.resource) for p in one.problems]


def _environment(world: World, organization: str, environment: str) -> Environment:
    name = environment_name(organization, environment)
    found = world.resources.get(name)
    return found if isinstance(found, Environment) else Environment(name=name)
