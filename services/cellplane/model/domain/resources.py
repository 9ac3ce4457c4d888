"""Resources as they are written. Field names are those of the contract, so that one codec serves.

What every resource has (``uid``, times, ``etag``, notes) stays on the wire's message: no rule here
reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any

from cellplane.cell.cell import Injection
from cellplane.cell.definition import Patch, RequiredPolicy, ResourceTemplate, ValidationRule
from cellplane.cell.external import ExternalPolicy
from cellplane.cell.protocol import Protocol
from cellplane.cell.requirement import PlacementRequirement
from cellplane.cell.rules import PlatformRules
from cellplane.cell.traffic import TrafficPolicy
from cellplane.cell.visibility import Encryption, Isolation, Visibility
from cellplane.cell.workload import (
    Autoscaling,
    ComponentKind,
    EnvironmentVariable,
    Resources,
    Workload,
)
from cellplane.model.domain.gate import (
    FreezeWindow,
    Gate,
    PipelineRole,
    ReleaseRetention,
    Verification,
)


class SchemaFormat(Enum):
    """How a schema is written."""

    OPENAPI = "OPENAPI"
    ASYNCAPI = "ASYNCAPI"
    PROTOBUF = "PROTOBUF"
    GRAPHQL = "GRAPHQL"
    JSON_SCHEMA = "JSON_SCHEMA"


class SchemaCompatibility(Enum):
    """What becomes of a schema that breaks those who use the one before."""

    UNSPECIFIED = "UNSPECIFIED"
    NONE = "NONE"
    WARN = "WARN"
    REFUSE = "REFUSE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """The outermost owner; nothing refers across."""

    name: str
    isolation: Isolation = Isolation.UNSPECIFIED
    encryption: Encryption = Encryption.UNSPECIFIED
    placement: PlacementRequirement | None = None
    project_quota: int = 0
    """0 is any number."""
    schema_compatibility: SchemaCompatibility = SchemaCompatibility.UNSPECIFIED
    release_retention: ReleaseRetention | None = None
    rules: PlatformRules | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where releases run: rules, domains, and what its Cells ask of data planes."""

    name: str
    isolation: Isolation = Isolation.UNSPECIFIED
    encryption: Encryption = Encryption.UNSPECIFIED
    placement: PlacementRequirement | None = None
    production: bool = False
    public_domain: str = ""
    organization_domain: str = ""
    freeze_windows: tuple[FreezeWindow, ...] = ()
    rules: PlatformRules | None = None
    template: str = ""
    """Name of the environment that it is like, where it is a preview's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionPath:
    """From where to where releases may be promoted."""

    source_environment: str
    target_environments: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()
    verification: Verification | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentPipeline:
    """The way of a release through environments."""

    name: str
    promotion_paths: tuple[PromotionPath, ...] = ()
    roles: tuple[PipelineRole, ...] = ()
    auto_deploy: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What becomes a Cell in each environment."""

    name: str
    deployment_pipeline: str
    placement: PlacementRequirement | None = None
    component_quota: int = 0
    """0 is any number."""
    owner: str = ""
    auto_deploy: bool | None = None
    release_retention: ReleaseRetention | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InlineSchema:
    """A schema that comes along."""

    format: SchemaFormat
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferSchema:
    """The schema of something that a component offers."""

    api_schema: str = ""
    inline: InlineSchema | None = None
    version: str = ""
    compatibility: SchemaCompatibility = SchemaCompatibility.UNSPECIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A port of a component that others call."""

    endpoint: str
    protocol: Protocol
    port: int
    target_port: int | None = None
    visibilities: tuple[Visibility, ...] = ()
    path: str = ""
    hostname: str = ""
    description: str = ""
    traffic_policy: TrafficPolicy | None = None
    additional_paths: tuple[str, ...] = ()
    additional_hostnames: tuple[str, ...] = ()
    schema: OfferSchema | None = None
    requires_grant: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventChannel:
    """A stream of events, read through an endpoint."""

    event_channel: str
    endpoint: str
    address: str = ""
    schema: OfferSchema | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataProduct:
    """Data that others use, read through an endpoint."""

    data_product: str
    endpoint: str
    address: str = ""
    schema: OfferSchema | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentEndpoint:
    """An endpoint of a component, by the component's name."""

    component: str
    endpoint: str
    offers: tuple[str, ...] = ()
    """Ids of event channels and data products that are used through it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalHost:
    """A host outside of the organization's Cells."""

    host: str
    port: int
    protocol: Protocol
    policy: ExternalPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedResource:
    """A resource that the platform runs for the project, by its name."""

    resource: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Something that a component calls. One target is set."""

    connection: str
    component_endpoint: ComponentEndpoint | None = None
    external_host: ExternalHost | None = None
    managed_resource: ManagedResource | None = None
    inject: Injection = field(default_factory=Injection)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReferenceEntry:
    """One key of a secret, and the property of the remote one that it is read from."""

    key: str
    property: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReferenceEnvironment:
    """Where a secret is in one environment."""

    environment: str
    secret_store: str = ""
    remote_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReference:
    """Where a secret is kept; never a value."""

    name: str
    secret_store: str = ""
    remote_key: str = ""
    keys: tuple[SecretReferenceEntry, ...] = ()
    environments: tuple[SecretReferenceEnvironment, ...] = ()
    refresh_interval: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentTrait:
    """A trait of a component."""

    instance: str
    """Its id, unique in the component."""
    trait: str
    trait_version: int = 0
    """0 follows the latest."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    resolved_trait: str = ""
    """The version of the trait that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One process of a project: what runs, where it can be called, what it calls."""

    name: str
    component_kind: ComponentKind
    workload: Workload
    endpoints: tuple[Endpoint, ...] = ()
    connections: tuple[Connection, ...] = ()
    auto_deploy: bool | None = None
    event_channels: tuple[EventChannel, ...] = ()
    data_products: tuple[DataProduct, ...] = ()
    type: str = ""
    type_version: int = 0
    """0 follows the latest."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    traits: tuple[ComponentTrait, ...] = ()
    resolved_type: str = ""
    """The version of its type that counts."""
    environment_parameters: Mapping[str, Any] = field(default_factory=dict)
    """What a deployment gives to its type; only of what is deployed."""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_parameters(self) -> bool:
        """Whether it gives anything to its type, or adds anything to it."""
        return bool(self.parameters or self.traits)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentType:
    """Which objects a component becomes, by which parameters."""

    name: str
    component_kinds: tuple[ComponentKind, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    environment_parameters: Mapping[str, Any] = field(default_factory=dict)
    resources: tuple[ResourceTemplate, ...] = ()
    validations: tuple[ValidationRule, ...] = ()
    allowed_traits: tuple[str, ...] = ()
    """Names; none are all."""
    required_policies: tuple[RequiredPolicy, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trait:
    """More objects, and changes of those that there are."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    resources: tuple[ResourceTemplate, ...] = ()
    patches: tuple[Patch, ...] = ()
    validations: tuple[ValidationRule, ...] = ()


class DeletionPolicy(Enum):
    """What becomes of the data of a managed resource that is not wanted any more."""

    UNSPECIFIED = "UNSPECIFIED"
    RETAIN = "RETAIN"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceEndpoint:
    """A port of a managed resource."""

    endpoint: str
    protocol: Protocol
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceType:
    """Which objects a managed resource becomes, and what connections to it are told."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    resources: tuple[ResourceTemplate, ...] = ()
    validations: tuple[ValidationRule, ...] = ()
    endpoints: tuple[ResourceEndpoint, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceClaimEnvironment:
    """A claim in one environment."""

    environment: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    deletion_policy: DeletionPolicy = DeletionPolicy.UNSPECIFIED


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceClaim:
    """What a project wants of the platform."""

    name: str
    type: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    deletion_policy: DeletionPolicy = DeletionPolicy.UNSPECIFIED
    environments: tuple[ResourceClaimEnvironment, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What one environment wants otherwise than the release says."""

    env: tuple[EnvironmentVariable, ...] = ()
    replicas: int | None = None
    resources: Resources | None = None
    autoscaling: Autoscaling | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A release in an environment."""

    name: str
    release: str
    overrides: Overrides | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSubscription:
    """Where changes of resources are told."""

    name: str
    url: str
    kinds: tuple[str, ...] = ()
    scope: str = ""
    suspended: bool = False
