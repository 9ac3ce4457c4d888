"""What a resource refers to, and whether it may.

References are found without looking anything up, so that a batch can fetch all of them at once and
see itself. A reference that cannot be kept when it is written is refused; one that is broken later,
in an environment, is a problem of the Cell (``resolve``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cellplane.cell.problem import Findings
from cellplane.cell.visibility import Visibility
from cellplane.model.domain.kinds import (
    Kind,
    check_reference,
    environment_name,
    organization_of,
    parent_of,
    project_of,
)
from cellplane.model.domain.offers import offers_of
from cellplane.model.domain.resources import (
    Component,
    ComponentEndpoint,
    ComponentType,
    Connection,
    Deployment,
    DeploymentPipeline,
    Endpoint,
    Environment,
    EventSubscription,
    Organization,
    Project,
    ResourceClaim,
    ResourceType,
    SecretReference,
    Trait,
)
from cellplane.model.domain.secrets import SecretUse, check_uses, secret_uses, variable_uses

Resource: TypeAlias = (
    Organization
    | Environment
    | DeploymentPipeline
    | Project
    | SecretReference
    | EventSubscription
    | ComponentType
    | ResourceType
    | ResourceClaim
    | Trait
    | Component
    | Deployment
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One field that names another resource."""

    field: str
    kind: Kind
    target: str
    endpoint: str = ""
    """Of a component: the endpoint that is meant. Of a secret reference: the key."""


def references_of(resource: Resource) -> tuple[Reference, ...]:
    """Every reference that *resource* writes, and the one to its parent, in the order of fields."""
    match resource:
        case Organization():
            return ()
        case Environment():
            own = resource.template
            like = (Reference(field="template", kind=Kind.ENVIRONMENT, target=own),) if own else ()
            return (_parent(Kind.ORGANIZATION, resource.name), *like)
        case DeploymentPipeline():
            return (_parent(Kind.ORGANIZATION, resource.name), *_environments(resource))
        case Project():
            return (
                _parent(Kind.ORGANIZATION, resource.name),
                Reference(
                    field="deployment_pipeline",
                    kind=Kind.DEPLOYMENT_PIPELINE,
                    target=resource.deployment_pipeline,
                ),
            )
        case EventSubscription():
            return (_parent(Kind.ORGANIZATION, resource.name),)
        case ResourceType():
            return (_parent(Kind.ORGANIZATION, resource.name),)
        case ResourceClaim():
            return (_parent(Kind.PROJECT, resource.name), *_claimed(resource))
        case SecretReference():
            return (_parent(Kind.PROJECT, resource.name), *_places(resource))
        case Component():
            return (
                _parent(Kind.PROJECT, resource.name),
                *_connections(resource.connections),
                *_schemas(resource),
                *_secrets(secret_uses(resource)),
                *_type(resource),
            )
        case ComponentType() | Trait():
            return (_parent(Kind.ORGANIZATION, resource.name),)
        case Deployment():
            environment = environment_name(
                organization_of(resource.name), resource.name.rsplit("/", 1)[-1]
            )
            return (
                _parent(Kind.COMPONENT, resource.name),
                Reference(field="name", kind=Kind.ENVIRONMENT, target=environment),
                Reference(field="release", kind=Kind.RELEASE, target=resource.release),
                *_secrets(_override_uses(resource)),
            )


def _parent(kind: Kind, name: str) -> Reference:
    return Reference(field="name", kind=kind, target=parent_of(name))


def _environments(pipeline: DeploymentPipeline) -> Iterable[Reference]:
    for index, step in enumerate(pipeline.promotion_paths):
        at = f"promotion_paths[{index}]"
        yield Reference(
            field=f"{at}.source_environment", kind=Kind.ENVIRONMENT, target=step.source_environment
        )
        for number, target in enumerate(step.target_environments):
            yield Reference(
                field=f"{at}.target_environments[{number}]", kind=Kind.ENVIRONMENT, target=target
            )


def _places(reference: SecretReference) -> Iterable[Reference]:
    for index, place in enumerate(reference.environments):
        yield Reference(
            field=f"environments[{index}].environment",
            kind=Kind.ENVIRONMENT,
            target=place.environment,
        )


def _claimed(claim: ResourceClaim) -> Iterable[Reference]:
    yield Reference(field="type", kind=Kind.RESOURCE_TYPE, target=claim.type)
    for index, place in enumerate(claim.environments):
        yield Reference(
            field=f"environments[{index}].environment",
            kind=Kind.ENVIRONMENT,
            target=place.environment,
        )


def _secrets(uses: Iterable[SecretUse]) -> Iterable[Reference]:
    for use in uses:
        yield Reference(
            field=use.key_at,
            kind=Kind.SECRET_REFERENCE,
            target=use.secret_reference,
            endpoint=use.key,
        )


def _override_uses(deployment: Deployment) -> Iterable[SecretUse]:
    env = deployment.overrides.env if deployment.overrides is not None else ()
    return variable_uses(env, "overrides.env")


def _connections(connections: Iterable[Connection]) -> Iterable[Reference]:
    for index, connection in enumerate(connections):
        target = connection.component_endpoint
        if connection.managed_resource is not None:
            yield Reference(
                field=f"connections[{index}].managed_resource.resource",
                kind=Kind.RESOURCE_CLAIM,
                target=connection.managed_resource.resource,
            )
        if target is not None:
            yield Reference(
                field=f"connections[{index}].component_endpoint.component",
                kind=Kind.COMPONENT,
                target=target.component,
                endpoint=target.endpoint,
            )
            for number, offer in enumerate(target.offers):
                yield Reference(
                    field=f"connections[{index}].component_endpoint.offers[{number}]",
                    kind=Kind.COMPONENT,
                    target=target.component,
                    endpoint=offer,
                )


def _type(component: Component) -> Iterable[Reference]:
    if component.type:
        yield Reference(field="type", kind=Kind.COMPONENT_TYPE, target=component.type)
    for index, trait in enumerate(component.traits):
        yield Reference(field=f"traits[{index}].trait", kind=Kind.TRAIT, target=trait.trait)


def _schemas(component: Component) -> Iterable[Reference]:
    for offer in offers_of(component):
        if offer.schema is not None and offer.schema.api_schema:
            yield Reference(
                field=f"{offer.field}.schema.api_schema",
                kind=Kind.API_SCHEMA,
                target=offer.schema.api_schema,
            )


def check_references(resource: Resource, known: Mapping[str, object], findings: Findings) -> None:
    """Check what *resource* refers to against *known*: by name, whatever is there after the batch.

    A component's value must be its ``Component``, a secret reference's its ``SecretReference``; of
    other kinds only the key counts.
    """
    organization = organization_of(resource.name)
    if isinstance(resource, Component):
        check_uses(resource.name, secret_uses(resource), known, findings)
    elif isinstance(resource, Deployment):
        check_uses(resource.name, _override_uses(resource), known, findings)
    for reference in references_of(resource):
        if reference.kind is Kind.SECRET_REFERENCE:
            continue
        at = findings.at(reference.field)
        if not check_reference(reference.kind, reference.target, organization, at):
            continue
        target = known.get(reference.target)
        if target is None:
            at.add(
                "REFERENCE_NOT_FOUND",
                f'{reference.kind.value} "{reference.target}" does not exist: create it first, or '
                "apply both together",
                value=reference.target,
            )
        elif reference.kind is Kind.API_SCHEMA and parent_of(reference.target) != resource.name:
            at.add(
                "OTHER_COMPONENT",
                f'schema "{reference.target}" is kept of another component than {resource.name}: '
                "keep it of this one",
                value=reference.target,
            )
        elif isinstance(target, Component) and reference.field.endswith(".component"):
            where = findings.at(reference.field.removesuffix(".component"))
            check_reach(resource.name, target, reference.endpoint, where)
    for index, connection in enumerate(getattr(resource, "connections", ())):
        used = connection.component_endpoint
        provider = known.get(used.component) if used is not None else None
        if used is not None and isinstance(provider, Component):
            where = findings.at("connections").at(index).at("component_endpoint")
            check_offers(provider, used, where)


def check_offers(provider: Component, used: ComponentEndpoint, at: Findings) -> None:
    """Every channel and product that is used is there, and read through the endpoint that is."""
    if not used.offers:
        return
    there = {o.offer: o.endpoint for o in offers_of(provider) if o.offer != o.endpoint}
    for index, offer in enumerate(used.offers):
        if there.get(offer) == used.endpoint:
            continue
        where = (
            f'it is read through "{there[offer]}"'
            if offer in there
            else "it has "
            + (
                ", ".join(f'"{o}"' for o, e in sorted(there.items()) if e == used.endpoint)
                or "none"
            )
        )
        at.at("offers").at(index).add(
            "OFFER_NOT_FOUND",
            f'component "{provider.name}" offers no event channel or data product "{offer}" '
            f'through endpoint "{used.endpoint}": {where}',
            value=offer,
        )


def check_reach(caller: str, target: Component, endpoint: str, at: Findings) -> Endpoint | None:
    """The endpoint, if it is there and visible to the component *caller*; findings otherwise.

    *at* is the place of the ``ComponentEndpoint``.
    """
    found = next((e for e in target.endpoints if e.endpoint == endpoint), None)
    if found is None:
        there = ", ".join(f'"{e.endpoint}"' for e in target.endpoints) or "none"
        at.at("endpoint").add(
            "ENDPOINT_NOT_FOUND",
            f'component "{target.name}" has no endpoint "{endpoint}": it has {there}',
            value=endpoint,
        )
        return None
    if project_of(caller) != project_of(target.name) and (
        Visibility.ORGANIZATION not in found.visibilities
    ):
        at.at("component").add(
            "ENDPOINT_NOT_VISIBLE",
            f'endpoint "{endpoint}" of component "{target.name}" is not for other projects: add '
            "ORGANIZATION to its visibilities, or connect to another one",
            value=endpoint,
        )
        return None
    return found
