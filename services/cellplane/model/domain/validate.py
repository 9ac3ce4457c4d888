"""What can be wrong with a resource in itself, for every kind but components.

All findings at once, each with its field's path. References are looked up elsewhere: see
``references``; here they need only be names of the right kind and organization.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from cellplane.cell import addresses, labels
from cellplane.cell.names import is_id
from cellplane.cell.problem import Findings, Problem
from cellplane.cell.requirement import (
    Division,
    LabelSelector,
    Operator,
    PlacementRequirement,
)
from cellplane.model.domain.default import organization_domain, public_domain
from cellplane.model.domain.kinds import Kind, check_reference, ids, organization_of, pattern
from cellplane.model.domain.promote import edges, find_cycle, roots
from cellplane.model.domain.resources import (
    DeploymentPipeline,
    Environment,
    Organization,
    Project,
    SecretReference,
)
from cellplane.model.domain.validate_gates import check_freezes, check_gates

RESERVED_PROJECTS: Final = frozenset(
    {
        "default",
        "kube-system",
        "kube-public",
        "kube-node-lease",
        addresses.GATEWAY_NAMESPACE,
        addresses.OBSERVABILITY_NAMESPACE,
        addresses.DNS_NAMESPACE,
        addresses.NORTHBOUND_GATEWAY,
        addresses.WESTBOUND_GATEWAY,
    }
)
RESERVED_PREFIXES: Final = ("cellplane-", "kube-")


def validate_name(kind: Kind, name: str) -> list[Problem]:
    """A name has the collections of its kind, and ids that are legal."""
    if ids(kind, name) is not None:
        return []
    findings = Findings()
    parts = name.split("/")
    bad = next((part for part in parts[1::2] if not is_id(part)), None)
    why = (
        f'"{bad}" in it is no id: use a letter, then letters, digits and -, at most 63 together'
        if bad is not None and len(parts) > 1
        else f"write {pattern(kind)}"
    )
    findings.at("name").add(
        "NAME_INVALID", f'"{name}" is not the name of a {kind.value}: {why}', value=name
    )
    return findings.problems


def validate_annotations(annotations: Mapping[str, str]) -> list[Problem]:
    """Keys under our prefix are written by cellplane alone."""
    findings = Findings()
    for key in sorted(annotations):
        if key.startswith(labels.PREFIX) or f".{labels.PREFIX}" in key:
            findings.at(f'annotations["{key}"]').add(
                "NAME_RESERVED",
                f'annotation "{key}" is under {labels.PREFIX}, which only cellplane writes: '
                "choose another prefix",
                value=key,
            )
    return findings.problems


def validate_organization(organization: Organization) -> list[Problem]:
    """Find everything that is wrong with an organization."""
    findings = Findings()
    _check_reserved(organization.name, frozenset(), findings)
    _check_requirement(organization.placement, findings.at("placement"))
    return findings.problems


def validate_environment(environment: Environment, zones: Collection[str]) -> list[Problem]:
    """Find everything that is wrong with an environment."""
    findings = Findings()
    check_freezes(environment.freeze_windows, zones, findings)
    _check_requirement(environment.placement, findings.at("placement"))
    public, internal = public_domain(environment), organization_domain(environment)
    if public == internal or public.endswith(f".{internal}") or internal.endswith(f".{public}"):
        findings.at("organization_domain").add(
            "DOMAIN_OVERLAP",
            f'domains "{public}" and "{internal}" overlap: one door must not answer for the other',
            value=internal,
        )
    for step, domain in (
        ("public_domain", environment.public_domain),
        ("organization_domain", environment.organization_domain),
    ):
        if domain.endswith((".cluster.local", ".localhost", ".local")):
            findings.at(step).add(
                "DOMAIN_RESERVED",
                f'domain "{domain}" is the cluster\'s: choose another',
                value=domain,
            )
    return findings.problems


def validate_pipeline(pipeline: DeploymentPipeline) -> list[Problem]:
    """Find everything that is wrong with a pipeline: it has one root and no cycle."""
    findings = Findings()
    at = findings.at("promotion_paths")
    organization = organization_of(pipeline.name)
    seen: set[str] = set()
    whole = True
    for index, step in enumerate(pipeline.promotion_paths):
        source = at.at(index).at("source_environment")
        whole &= check_reference(Kind.ENVIRONMENT, step.source_environment, organization, source)
        for number, target in enumerate(step.target_environments):
            whole &= check_reference(
                Kind.ENVIRONMENT,
                target,
                organization,
                at.at(index).at("target_environments").at(number),
            )
        if step.source_environment in seen:
            source.add(
                "NAME_DUPLICATE",
                f'"{step.source_environment}" has two paths: put all targets in one',
                value=step.source_environment,
            )
        seen.add(step.source_environment)
    if not whole:
        return findings.problems
    graph = edges(pipeline)
    cycle = find_cycle(graph)
    if cycle:
        at.add("PIPELINE_CYCLE", f"paths go round: {' → '.join(cycle)}: remove one of them")
    elif len(roots(graph)) > 1:
        at.add(
            "PIPELINE_ROOTS",
            f"releases could start in {', '.join(roots(graph))}: a pipeline has one first "
            "environment",
        )
    check_gates(pipeline, findings)
    return findings.problems


def validate_project(project: Project) -> list[Problem]:
    """Find everything that is wrong with a project."""
    findings = Findings()
    _check_reserved(project.name, RESERVED_PROJECTS, findings)
    check_reference(
        Kind.DEPLOYMENT_PIPELINE,
        project.deployment_pipeline,
        organization_of(project.name),
        findings.at("deployment_pipeline"),
    )
    _check_requirement(project.placement, findings.at("placement"))
    return findings.problems


def validate_secret_reference(reference: SecretReference) -> list[Problem]:
    """Find everything that is wrong with a secret reference."""
    findings = Findings()
    _check_unique([entry.key for entry in reference.keys], "key", findings.at("keys"))
    places = findings.at("environments")
    _check_unique([e.environment for e in reference.environments], "environment", places)
    for index, place in enumerate(reference.environments):
        at = places.at(index)
        if not place.remote_key and not place.secret_store:
            at.add(
                "FIELD_REQUIRED",
                "says nothing of its own: give it a remote_key or a secret_store, or remove it",
            )
    if not reference.remote_key and not any(e.remote_key for e in reference.environments):
        findings.at("remote_key").add(
            "FIELD_REQUIRED",
            "leads nowhere: give it a remote_key, or one in each environment",
        )
    return findings.problems


def _check_reserved(name: str, reserved: Collection[str], findings: Findings) -> None:
    own_id = name.rsplit("/", 1)[-1]
    if own_id in reserved or own_id.startswith(RESERVED_PREFIXES):
        findings.at("name").add(
            "NAME_RESERVED",
            f'id "{own_id}" is reserved for the platform: choose another',
            value=own_id,
        )


def _check_requirement(requirement: PlacementRequirement | None, at: Findings) -> None:
    if requirement is None:
        return
    for index, selector in enumerate(requirement.selectors):
        _check_selector(selector, at.at("selectors").at(index))
    for index, preference in enumerate(requirement.preferences):
        _check_selector(preference.selector, at.at("preferences").at(index).at("selector"))
    for index, plane in enumerate(requirement.excluded_data_planes):
        if not is_id(plane):
            at.at("excluded_data_planes").at(index).add(
                "NAME_INVALID", f'"{plane}" is not the id of a data plane', value=plane
            )
    for index, tier in enumerate(requirement.tiers):
        for place, selector in enumerate(tier.selectors):
            _check_selector(selector, at.at("tiers").at(index).at("selectors").at(place))
    for index, affinity in enumerate(requirement.affinities):
        parts = affinity.cell.split("/")
        if len(parts) > 2 or not all(is_id(part) for part in parts):
            at.at("affinities").at(index).at("cell").add(
                "NAME_INVALID",
                f'"{affinity.cell}" is no Cell: write "project" or "project/environment"',
                value=affinity.cell,
            )
    if requirement.division is not None:
        _check_division(requirement.division, at.at("division"))
    _check_spreads(requirement, at)


def _check_spreads(requirement: PlacementRequirement, at: Findings) -> None:
    keys = [f"{s.topology_key}{' (soft)' * s.soft}" for s in requirement.spreads]
    _check_unique(keys, "topology_key", at.at("spreads"))
    for index, spread in enumerate(requirement.spreads):
        if spread.max_groups is not None and spread.max_groups < (spread.min_groups or 1):
            at.at("spreads").at(index).at("max_groups").add(
                "SPREAD_IMPOSSIBLE",
                f"max_groups {spread.max_groups} is below min_groups {spread.min_groups}",
                value=str(spread.max_groups),
            )
        if spread.soft:
            continue
        copies = requirement.copies
        if copies is not None and (spread.min_groups or 1) > copies:
            at.at("spreads").at(index).at("min_groups").add(
                "SPREAD_IMPOSSIBLE",
                f"{copies} copies cannot be in {spread.min_groups} groups: raise copies",
                value=str(spread.min_groups),
            )


def _check_division(division: Division, at: Findings) -> None:
    for index, weight in enumerate(division.weights):
        _check_selector(weight.selector, at.at("weights").at(index).at("selector"))
    for index, limit in enumerate(division.limits):
        _check_selector(limit.selector, at.at("limits").at(index).at("selector"))
        if limit.max_replicas is not None and limit.max_replicas < (limit.min_replicas or 1):
            at.at("limits").at(index).at("max_replicas").add(
                "LIMITS_CROSS",
                f"max_replicas {limit.max_replicas} is below min_replicas {limit.min_replicas}",
                value=str(limit.max_replicas),
            )


def _check_selector(selector: LabelSelector, at: Findings) -> None:
    compares = selector.operator in (Operator.AT_LEAST, Operator.AT_MOST)
    if compares and (
        len(selector.values) != 1 or not selector.values[0][:2].strip("v")[:1].isdigit()
    ):
        at.at("values").add(
            "VALUE_INVALID",
            f"{selector.operator.value} compares with one number or version: give one",
            value=", ".join(selector.values),
        )
    needs_values = compares or selector.operator in (Operator.IN, Operator.NOT_IN)
    if needs_values and not selector.values and not compares:
        at.at("values").add(
            "FIELD_REQUIRED", f"{selector.operator.value} needs values: give at least one"
        )
    if not needs_values and selector.values:
        at.at("values").add(
            "FIELDS_EXCLUDE", f"{selector.operator.value} takes no values: remove them"
        )


def _check_unique(values: Iterable[str], step: str, at: Findings) -> None:
    seen: set[str] = set()
    for index, value in enumerate(values):
        if value in seen:
            at.at(index).at(step).add(
                "NAME_DUPLICATE", f'"{value}" is there twice: keep one', value=value
            )
        seen.add(value)
