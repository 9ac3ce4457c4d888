"""The kinds of resource that the model keeps, and their names.

A name alternates collections and ids (AIP-122); the pattern of a kind is its collections in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from cellplane.cell.names import CellName, is_id
from cellplane.cell.problem import Findings


class Kind(Enum):
    """The kinds; the values are the names of the contract's messages."""

    ORGANIZATION = "Organization"
    ENVIRONMENT = "Environment"
    DEPLOYMENT_PIPELINE = "DeploymentPipeline"
    COMPONENT_TYPE = "ComponentType"
    COMPONENT_TYPE_VERSION = "ComponentTypeVersion"
    TRAIT = "Trait"
    TRAIT_VERSION = "TraitVersion"
    PROJECT = "Project"
    SECRET_REFERENCE = "SecretReference"  # noqa: S105 - the name of a kind
    COMPONENT = "Component"
    RELEASE = "Release"
    DEPLOYMENT = "Deployment"
    PROMOTION = "Promotion"
    CELL = "Cell"
    CATALOG_ENTRY = "CatalogEntry"
    API_SCHEMA = "ApiSchema"
    ACCESS_GRANT = "AccessGrant"
    OPERATION = "Operation"
    EVENT_SUBSCRIPTION = "EventSubscription"
    PREVIEW = "Preview"
    RESOURCE_TYPE = "ResourceType"
    RESOURCE_CLAIM = "ResourceClaim"


_PROJECT: Final = ("organizations", "projects")
_COMPONENT: Final = (*_PROJECT, "components")

COLLECTIONS: Final[Mapping[Kind, tuple[str, ...]]] = MappingProxyType(
    {
        Kind.ORGANIZATION: ("organizations",),
        Kind.ENVIRONMENT: ("organizations", "environments"),
        Kind.DEPLOYMENT_PIPELINE: ("organizations", "deploymentPipelines"),
        Kind.COMPONENT_TYPE: ("organizations", "componentTypes"),
        Kind.COMPONENT_TYPE_VERSION: ("organizations", "componentTypes", "componentTypeVersions"),
        Kind.TRAIT: ("organizations", "traits"),
        Kind.TRAIT_VERSION: ("organizations", "traits", "traitVersions"),
        Kind.PROJECT: _PROJECT,
        Kind.SECRET_REFERENCE: (*_PROJECT, "secretReferences"),
        Kind.COMPONENT: _COMPONENT,
        Kind.RELEASE: (*_COMPONENT, "releases"),
        Kind.DEPLOYMENT: (*_COMPONENT, "deployments"),
        Kind.PROMOTION: (*_PROJECT, "promotions"),
        Kind.CELL: (*_PROJECT, "cells"),
        Kind.CATALOG_ENTRY: (*_COMPONENT, "catalogEntries"),
        Kind.API_SCHEMA: (*_COMPONENT, "apiSchemas"),
        Kind.ACCESS_GRANT: (*_COMPONENT, "accessGrants"),
        Kind.OPERATION: ("organizations", "operations"),
        Kind.EVENT_SUBSCRIPTION: ("organizations", "eventSubscriptions"),
        Kind.PREVIEW: (*_PROJECT, "previews"),
        Kind.RESOURCE_TYPE: ("organizations", "resourceTypes"),
        Kind.RESOURCE_CLAIM: (*_PROJECT, "resourceClaims"),
    }
)
_KINDS: Final = MappingProxyType({v: k for k, v in COLLECTIONS.items()})

APPLICABLE: Final = (
    Kind.ORGANIZATION,
    Kind.ENVIRONMENT,
    Kind.DEPLOYMENT_PIPELINE,
    Kind.TRAIT,
    Kind.COMPONENT_TYPE,
    Kind.PROJECT,
    Kind.SECRET_REFERENCE,
    Kind.RESOURCE_TYPE,
    Kind.RESOURCE_CLAIM,
    Kind.COMPONENT,
    Kind.DEPLOYMENT,
    Kind.EVENT_SUBSCRIPTION,
)
"""Kinds that people write, each after those that it refers to."""


def pattern(kind: Kind) -> str:
    """``organizations/*/projects/*`` and the like."""
    return "".join(f"/{collection}/*" for collection in COLLECTIONS[kind])[1:]


def ids(kind: Kind, name: str) -> tuple[str, ...] | None:
    """The ids in *name*, outermost first; ``None`` if it is no name of that kind."""
    parts = name.split("/")
    if tuple(parts[0::2]) != COLLECTIONS[kind] or len(parts) % 2:
        return None
    found = tuple(parts[1::2])
    return found if all(is_id(part) for part in found) else None


def kind_of(name: str) -> Kind | None:
    """The kind that a name's collections say."""
    parts = name.split("/")
    return None if len(parts) % 2 else _KINDS.get(tuple(parts[0::2]))


def parent_of(name: str) -> str:
    """The name without its last two segments; empty for the outermost."""
    return "/".join(name.split("/")[:-2])


def organization_of(name: str) -> str:
    """Name of the organization that a resource is in."""
    return "/".join(name.split("/")[:2])


def project_of(name: str) -> str:
    """Name of the project that a resource is in."""
    return "/".join(name.split("/")[:4])


def environment_name(organization: str, environment: str) -> str:
    """Name of an environment, from the organization's name and an id."""
    return f"{organization}/environments/{environment}"


def cell_name(project: str, environment: str) -> CellName:
    """The Cell of a project, by its name, in an environment, by its id."""
    _, organization, _, project_id = project.split("/")
    return CellName(organization=organization, project=project_id, environment=environment)


def check_reference(kind: Kind, name: str, organization: str, findings: Findings) -> bool:
    """Find out whether *name* can be a reference to that kind, within one organization."""
    if ids(kind, name) is None:
        findings.add(
            "NAME_INVALID",
            f'"{name}" is not the name of a {kind.value}: write {pattern(kind)}',
            value=name,
        )
        return False
    if organization_of(name) != organization:
        findings.add(
            "OTHER_ORGANIZATION",
            f'{kind.value} "{name}" belongs to another organization than {organization}: '
            "name one of its own",
            value=name,
        )
        return False
    return True
