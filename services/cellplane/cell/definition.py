"""What platform engineers define: types and traits of components, as they are written.

Templates, schemas and values are JSON, with ``${…}`` for expressions; ``model/template`` gives them
their meaning. Field names are those of the contract (``type/v1/definition.proto``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, Final

MADE_BY_TYPES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "": frozenset({"ConfigMap", "PersistentVolumeClaim", "Service", "ServiceAccount"}),
        "apps": frozenset({"Deployment", "StatefulSet"}),
        "autoscaling": frozenset({"HorizontalPodAutoscaler"}),
        "batch": frozenset({"CronJob", "Job"}),
        "external-secrets.io": frozenset({"ExternalSecret"}),
        "generators.external-secrets.io": frozenset({"Password"}),
        "keda.sh": frozenset({"ScaledObject"}),
        "policy": frozenset({"PodDisruptionBudget"}),
    }
)
"""By API group, the kinds of object that types and traits can make: no policy, no gateway, nothing
outside of a namespace. Agents apply all of them."""


class RequiredPolicy(Enum):
    """What an endpoint that gateways lead to must have a traffic policy for."""

    AUTHENTICATION = "AUTHENTICATION"
    RATE_LIMIT = "RATE_LIMIT"
    TIMEOUT = "TIMEOUT"
    RETRY = "RETRY"
    CORS = "CORS"


class PatchAction(Enum):
    """What a patch does at a path; the words of RFC 6902."""

    ADD = "ADD"
    REPLACE = "REPLACE"
    REMOVE = "REMOVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceTemplate:
    """One object, or one for each item of a list."""

    template: str
    """Its id, unique in the definition."""
    manifest: Mapping[str, Any]
    include_when: str = ""
    for_each: str = ""
    variable: str = ""
    """What an item is called in expressions; empty is ``item``."""
    ready_when: str = ""
    """An expression about ``resource``, the object as its data plane has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchTarget:
    """Which objects are patched: all that meet everything that is set."""

    kind: str = ""
    api_version: str = ""
    template: str = ""
    where: str = ""
    """An expression about ``resource``, the object as it was before any patch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchOperation:
    """One operation at a JSON pointer, whose steps may be ``[name=x]`` in lists."""

    action: PatchAction
    path: str
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """What is changed of objects."""

    target: PatchTarget
    include_when: str = ""
    for_each: str = ""
    variable: str = ""
    operations: tuple[PatchOperation, ...] = ()
    merge: Mapping[str, Any] | None = None
    """Merged into the object: maps by key, lists of named items by name, all else replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationRule:
    """What must be true of a component, and what its developer is told if it is not."""

    rule: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A version of a type or of a trait."""

    definition: str
    """Name of the version."""
    parameters: Mapping[str, Any] | None = None
    environment_parameters: Mapping[str, Any] | None = None
    resources: tuple[ResourceTemplate, ...] = ()
    patches: tuple[Patch, ...] = ()
    validations: tuple[ValidationRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedTrait:
    """A trait of one component, with what it is given."""

    instance: str
    """Its id, unique in the component."""
    definition: Definition
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedType:
    """The type of one component, with what it is given and what is added to it."""

    definition: Definition | None = None
    """Unset: the one that comes with cellplane for the component's kind."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    environment_parameters: Mapping[str, Any] = field(default_factory=dict)
    traits: tuple[ResolvedTrait, ...] = ()


def content_of(definition: Definition) -> bytes:
    """A definition as text: equal definitions have equal ones."""
    return json.dumps(asdict(definition), sort_keys=True, default=_value).encode()


def _value(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    return dict(value) if isinstance(value, Mapping) else str(value)
