"""Types and traits: whether they can be used, and whether a component uses them rightly.

A component follows the latest version of its type unless it pins one. What counts is recorded when
the component is written, so that a release is what it was, whatever becomes of its type.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from cellplane.cell.definition import (
    Definition,
    RequiredPolicy,
    ResolvedTrait,
    ResolvedType,
)
from cellplane.cell.problem import Findings, Problem
from cellplane.cell.traffic import TrafficPolicy
from cellplane.model.domain.resources import Component, ComponentType, Trait
from cellplane.model.template.findings import Faults
from cellplane.model.template.schema import Schema
from cellplane.model.workload.shipped import compiled, shipped

Defined: TypeAlias = ComponentType | Trait

_FIELDS: Final[Mapping[RequiredPolicy, str]] = {
    RequiredPolicy.AUTHENTICATION: "authentication",
    RequiredPolicy.RATE_LIMIT: "rate_limits",
    RequiredPolicy.TIMEOUT: "timeouts",
    RequiredPolicy.RETRY: "retries",
    RequiredPolicy.CORS: "cors",
}


def definition_of(name: str, defined: Defined) -> Definition:
    """What a compiler needs of a version, by its name."""
    own = Definition(
        definition=name,
        parameters=defined.parameters,
        resources=defined.resources,
        validations=defined.validations,
    )
    if isinstance(defined, ComponentType):
        return replace(own, environment_parameters=defined.environment_parameters)
    return replace(own, patches=defined.patches)


def validate_defined(defined: Defined) -> list[Problem]:
    """Everything that is wrong with a type or a trait in itself."""
    found = compiled(definition_of(defined.name, defined)).faults.found
    return [fault.problem() for fault in found]


def versions_of(component: Component) -> tuple[str, ...]:
    """Names of the versions that a component is made of."""
    own = (component.resolved_type, *(t.resolved_trait for t in component.traits))
    return tuple(name for name in own if name)


def check_types(component: Component, versions: Mapping[str, Defined], findings: Findings) -> None:
    """Check a component against its type and its traits, by the versions that count."""
    _check_instances(component, findings)
    own = versions.get(component.resolved_type)
    if component.type and not isinstance(own, ComponentType):
        if component.type_version:
            findings.at("type_version").add(
                "VERSION_NOT_FOUND",
                f'component type "{component.type}" has no version {component.type_version}: '
                "name one that it has, or follow the latest",
                value=str(component.type_version),
            )
        return
    if isinstance(own, ComponentType):
        _check_kind(component, own, findings)
        _check_allowed(component, own, findings)
        _check_policies(component, own, findings)
        schema = compiled(definition_of(component.resolved_type, own))
    else:
        schema = shipped().types[component.component_kind]
    _check_given(schema.parameters, component.parameters, findings.at("parameters"))
    if component.environment_parameters:
        here = findings.at("environment_parameters")
        _check_given(schema.environment_parameters, component.environment_parameters, here)
    for index, used in enumerate(component.traits):
        at = findings.at("traits").at(index)
        trait = versions.get(used.resolved_trait)
        if isinstance(trait, Trait):
            own_schema = compiled(definition_of(used.resolved_trait, trait)).parameters
            _check_given(own_schema, used.parameters, at.at("parameters"))
        elif used.trait_version:
            at.at("trait_version").add(
                "VERSION_NOT_FOUND",
                f'trait "{used.trait}" has no version {used.trait_version}: name one that it has, '
                "or follow the latest",
                value=str(used.trait_version),
            )


def _check_instances(component: Component, findings: Findings) -> None:
    seen: set[str] = set()
    for index, used in enumerate(component.traits):
        if used.instance in seen:
            findings.at("traits").at(index).at("instance").add(
                "NAME_DUPLICATE",
                f'instance "{used.instance}" is there twice: rename one',
                value=used.instance,
            )
        seen.add(used.instance)


def _check_kind(component: Component, own: ComponentType, findings: Findings) -> None:
    if own.component_kinds and component.component_kind not in own.component_kinds:
        kinds = ", ".join(kind.value for kind in own.component_kinds)
        findings.at("type").add(
            "KIND_MISMATCH",
            f'component type "{own.name}" is for {kinds}, and this is a '
            f"{component.component_kind.value}: choose another type",
            value=own.name,
        )


def _check_allowed(component: Component, own: ComponentType, findings: Findings) -> None:
    for index, used in enumerate(component.traits):
        if own.allowed_traits and used.trait not in own.allowed_traits:
            there = ", ".join(f'"{name}"' for name in own.allowed_traits)
            findings.at("traits").at(index).at("trait").add(
                "TRAIT_NOT_ALLOWED",
                f'trait "{used.trait}" is not allowed by component type "{own.name}": it allows '
                f"{there}",
                value=used.trait,
            )


def _check_policies(component: Component, own: ComponentType, findings: Findings) -> None:
    for index, endpoint in enumerate(component.endpoints):
        if not endpoint.visibilities:
            continue
        for policy in own.required_policies:
            if not _has(endpoint.traffic_policy, policy):
                word = _FIELDS[policy]
                findings.at("endpoints").at(index).at("traffic_policy").add(
                    "POLICY_REQUIRED",
                    f'endpoint "{endpoint.endpoint}" has no {word}, which component type '
                    f'"{own.name}" requires of endpoints that gateways lead to: set '
                    f"traffic_policy.{word}",
                    value=endpoint.endpoint,
                )


def _has(policy: TrafficPolicy | None, wanted: RequiredPolicy) -> bool:
    return policy is not None and bool(getattr(policy, _FIELDS[wanted]))


def _check_given(schema: Schema, given: Mapping[str, object], findings: Findings) -> None:
    faults = Faults(path=findings.path)
    schema.check(schema.fill(dict(given)), faults)
    findings.problems.extend(fault.problem(findings.resource) for fault in faults.found)


def bind_type(
    component: Component, definitions: Mapping[str, Definition], findings: Findings
) -> ResolvedType | None:
    """The type and the traits of a component with what they are given; findings if one is gone."""
    used = bool(component.type or component.traits or component.parameters)
    if not used and not component.environment_parameters:
        return None
    wanted = [("type", component.type, component.resolved_type)] if component.type else []
    wanted += [
        (f"traits[{index}]", trait.trait, trait.resolved_trait)
        for index, trait in enumerate(component.traits)
    ]
    for at, name, version in wanted:
        if version not in definitions:
            findings.at(at).add(
                "VERSION_NOT_FOUND",
                f'version "{version or name}" is not there any more: release the component anew',
                value=version or name,
            )
    if findings.problems:
        return None
    return ResolvedType(
        definition=definitions[component.resolved_type] if component.resolved_type else None,
        parameters=component.parameters,
        environment_parameters=component.environment_parameters,
        traits=tuple(
            ResolvedTrait(
                instance=trait.instance,
                definition=definitions[trait.resolved_trait],
                parameters=trait.parameters,
            )
            for trait in sorted(component.traits, key=lambda t: t.instance)
        ),
    )


def changes_what_is_made(before: Defined | None, after: Defined) -> bool:
    """Whether a change of a type or a trait is another version of it."""
    return before != after


def names_of(components: Iterable[Component]) -> Iterator[str]:
    """Names of all versions that components are made of."""
    for component in components:
        yield from versions_of(component)
