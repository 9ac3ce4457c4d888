"""Managed resources: what a project claims, as the part of a Cell that it becomes.

A claim is in a Cell as long as a component there connects to it. It is then a component like
others, of the claim's type: so it is reached by whoever connects to it and, in an open Cell, by the
Cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from cellplane.cell.definition import Definition
from cellplane.cell.names import last_segment
from cellplane.cell.problem import Findings, Problem
from cellplane.cell.workload import ComponentKind, Workload
from cellplane.model.domain.kinds import Kind, ids, project_of
from cellplane.model.domain.resources import (
    Component,
    DeletionPolicy,
    Endpoint,
    Environment,
    ResourceClaim,
    ResourceType,
)
from cellplane.model.template.findings import Faults
from cellplane.model.workload.shipped import compiled
from cellplane.model.workload.shipped_resources import shipped_resources

_POLICIES: Final = {DeletionPolicy.RETAIN: "Retain", DeletionPolicy.DELETE: "Delete"}
_IMAGE: Final = "managed"
"""Stands where a component has its image: those of a managed resource are its type's."""
_HERE: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"deletionPolicy": {"type": "string", "enum": ["Retain", "Delete"]}},
    "required": ["deletionPolicy"],
}


def is_claim(name: str) -> bool:
    """Tell whether a name is that of a resource claim."""
    return ids(Kind.RESOURCE_CLAIM, name) is not None


def shipped_type(name: str) -> ResourceType | None:
    """The type that comes along under a name, if one does."""
    if ids(Kind.RESOURCE_TYPE, name) is None:
        return None
    return shipped_resources().get(last_segment(name))


def definition_of_type(name: str, written: ResourceType) -> Definition:
    """What a compiler needs of a type of managed resources."""
    return Definition(
        definition=name,
        parameters=written.parameters,
        environment_parameters=_HERE,
        resources=written.resources,
        validations=written.validations,
    )


def validate_resource_type(written: ResourceType) -> list[Problem]:
    """Everything that is wrong with a type in itself."""
    definition = definition_of_type(written.name, written)
    findings = Findings()
    findings.problems.extend(fault.problem() for fault in compiled(definition).faults.found)
    for field in ("endpoint", "port"):
        seen: set[str] = set()
        for index, endpoint in enumerate(written.endpoints):
            value = str(getattr(endpoint, field))
            if value in seen:
                findings.at("endpoints").at(index).at(field).add(
                    "NAME_DUPLICATE", f'"{value}" is there twice: keep one', value=value
                )
            seen.add(value)
    return findings.problems


def check_claim(claim: ResourceClaim, own: ResourceType, findings: Findings) -> None:
    """Check what a claim gives its type, everywhere and in each environment."""
    schema = compiled(definition_of_type(claim.type, own)).parameters
    places = [("parameters", claim.parameters)]
    places += [
        (f"environments[{index}].parameters", {**claim.parameters, **place.parameters})
        for index, place in enumerate(claim.environments)
        if place.parameters
    ]
    for path, given in places:
        faults = Faults(path=path)
        schema.check(schema.fill(dict(given)), faults)
        findings.problems.extend(fault.problem(findings.resource) for fault in faults.found)


def check_outputs(
    component: Component,
    claims: Mapping[str, ResourceClaim],
    types: Mapping[str, ResourceType],
    findings: Findings,
) -> None:
    """Check that connections ask managed resources for what they have, and nobody else for any."""
    for index, connection in enumerate(component.connections):
        at = findings.at("connections").at(index)
        managed = connection.managed_resource
        if managed is None:
            if connection.inject.outputs:
                at.at("inject").at("outputs").add(
                    "OUTPUT_NOT_FOUND",
                    f'connection "{connection.connection}" leads to no managed resource, which '
                    "alone has outputs: remove them",
                )
            continue
        if is_claim(managed.resource) and project_of(managed.resource) != project_of(
            component.name
        ):
            at.at("managed_resource").at("resource").add(
                "OTHER_PROJECT",
                f'resource claim "{managed.resource}" is of another project: claim one in '
                f"{project_of(component.name)}, or connect to a component there",
                value=managed.resource,
            )
        claim = claims.get(managed.resource)
        own = types.get(claim.type) if claim is not None else None
        for name, output in sorted(connection.inject.outputs.items()):
            if own is not None and output not in own.outputs:
                at.at("inject").at(f'outputs["{name}"]').add(
                    "OUTPUT_NOT_FOUND",
                    f'"{output}" is no output of resource type "{claim.type if claim else ""}": it '
                    f"has {', '.join(own.outputs) or 'none'}",
                    value=output,
                )


def as_component(claim: ResourceClaim, own: ResourceType, environment: Environment) -> Component:
    """The part of a Cell that a claim becomes in an environment."""
    place = next(
        (
            e
            for e in claim.environments
            if e.environment == (environment.template or environment.name)
        ),
        None,
    )
    policy = claim.deletion_policy
    if place is not None and place.deletion_policy is not DeletionPolicy.UNSPECIFIED:
        policy = place.deletion_policy
    if environment.template:
        # Nothing of a preview outlives it.
        policy = DeletionPolicy.DELETE
    return Component(
        name=claim.name,
        component_kind=ComponentKind.STATEFUL_SERVICE,
        workload=Workload(image=_IMAGE),
        endpoints=tuple(
            Endpoint(endpoint=e.endpoint, protocol=e.protocol, port=e.port) for e in own.endpoints
        ),
        type=claim.type,
        resolved_type=claim.type,
        parameters={**claim.parameters, **(place.parameters if place is not None else {})},
        environment_parameters={"deletionPolicy": _POLICIES.get(policy, "Retain")},
    )


def parts(
    components: Iterable[Component],
    claims: Mapping[str, ResourceClaim],
    types: Mapping[str, ResourceType],
    environment: Environment,
) -> dict[str, Component]:
    """What claims become in an environment where *components* are deployed, by the claims' names.

    Types that are not given are those that come along.
    """
    wanted = {
        c.managed_resource.resource
        for component in components
        for c in component.connections
        if c.managed_resource is not None
    }
    found: dict[str, Component] = {}
    for name in sorted(wanted & claims.keys()):
        own = types.get(claims[name].type) or shipped_type(claims[name].type)
        if own is not None:
            found[name] = as_component(claims[name], own, environment)
    return found


def twin_of(name: str) -> str:
    """The component that a claim would share its objects' names with, or the reverse."""
    other = "components" if is_claim(name) else "resourceClaims"
    return f"{project_of(name)}/{other}/{last_segment(name)}"
