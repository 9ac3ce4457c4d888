"""Between the wire and the domain. Stored bytes are the wire's messages, deterministically written.

One ``Codecs`` is built when the service is, and handed to whoever needs it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

from google.protobuf.message import Message

from cellplane.api.model.v1 import (
    access_grant_pb2,
    api_schema_pb2,
    catalog_pb2,
    cell_pb2,
    component_pb2,
    component_type_pb2,
    component_type_version_pb2,
    deployment_pb2,
    deployment_pipeline_pb2,
    environment_pb2,
    event_subscription_pb2,
    gate_pb2,
    operation_pb2,
    organization_pb2,
    preview_pb2,
    project_pb2,
    promotion_pb2,
    release_pb2,
    resource_claim_pb2,
    resource_type_pb2,
    secret_reference_pb2,
    trait_pb2,
    trait_version_pb2,
)
from cellplane.api.type.v1 import placement_pb2, problem_pb2, resolved_cell_pb2
from cellplane.cell.cell import CellFrame, ResolvedComponent
from cellplane.cell.problem import Problem
from cellplane.cell.requirement import PlacementRequirement
from cellplane.model.domain.gate import Verification
from cellplane.model.domain.kinds import Kind
from cellplane.model.domain.references import Resource
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
from cellplane.rpc.codec import Codec

STANDARD: Final = frozenset(
    {
        "uid",
        "display_name",
        "annotations",
        "create_time",
        "update_time",
        "etag",
        "reconciling",
    }
)
"""Fields that every resource has and no rule reads."""

MESSAGES: Final[Mapping[Kind, type[Message]]] = MappingProxyType(
    {
        Kind.ORGANIZATION: organization_pb2.Organization,
        Kind.ENVIRONMENT: environment_pb2.Environment,
        Kind.DEPLOYMENT_PIPELINE: deployment_pipeline_pb2.DeploymentPipeline,
        Kind.COMPONENT_TYPE: component_type_pb2.ComponentType,
        Kind.COMPONENT_TYPE_VERSION: component_type_version_pb2.ComponentTypeVersion,
        Kind.TRAIT: trait_pb2.Trait,
        Kind.TRAIT_VERSION: trait_version_pb2.TraitVersion,
        Kind.PROJECT: project_pb2.Project,
        Kind.SECRET_REFERENCE: secret_reference_pb2.SecretReference,
        Kind.COMPONENT: component_pb2.Component,
        Kind.RELEASE: release_pb2.Release,
        Kind.DEPLOYMENT: deployment_pb2.Deployment,
        Kind.PROMOTION: promotion_pb2.Promotion,
        Kind.CELL: cell_pb2.Cell,
        Kind.CATALOG_ENTRY: catalog_pb2.CatalogEntry,
        Kind.API_SCHEMA: api_schema_pb2.ApiSchema,
        Kind.ACCESS_GRANT: access_grant_pb2.AccessGrant,
        Kind.OPERATION: operation_pb2.Operation,
        Kind.EVENT_SUBSCRIPTION: event_subscription_pb2.EventSubscription,
        Kind.PREVIEW: preview_pb2.Preview,
        Kind.RESOURCE_TYPE: resource_type_pb2.ResourceType,
        Kind.RESOURCE_CLAIM: resource_claim_pb2.ResourceClaim,
    }
)
KINDS: Final[Mapping[str, type[Message]]] = MappingProxyType(
    {kind.value: message for kind, message in MESSAGES.items()}
)
"""The same by the kinds' names, as they are stored."""

D = TypeVar("D")
_KEPT: Final = 256
"""Values that are known by their bytes: an edit reads what the one before it has written."""


class Codecs:
    """Every pair of a domain type and its message."""

    __slots__ = (
        "_kept",
        "_provider",
        "_resources",
        "component",
        "frame",
        "problem",
        "requirement",
        "resolved",
        "verification",
    )

    def __init__(self) -> None:
        self._kept: dict[tuple[Codec[Any, Any], bytes], Any] = {}
        self.component = Codec(
            Component,
            component_pb2.Component,
            ignore=STANDARD | {"latest_release"},
        )
        self._provider = Codec(
            Component,
            component_pb2.Component,
            ignore=STANDARD | {"latest_release"},
        )
        self.frame = Codec(CellFrame, resolved_cell_pb2.CellFrame)
        self.problem = Codec(Problem, problem_pb2.Problem)
        self.verification = Codec(Verification, gate_pb2.Verification)
        self.requirement = Codec(PlacementRequirement, placement_pb2.PlacementRequirement)
        self.resolved = Codec(ResolvedComponent, resolved_cell_pb2.ResolvedComponent)
        self._resources: dict[Kind, Codec[Any, Any]] = {
            Kind.ORGANIZATION: Codec(
                Organization,
                organization_pb2.Organization,
                ignore=STANDARD | {"preview_quota"},
            ),
            Kind.ENVIRONMENT: Codec(
                Environment,
                environment_pb2.Environment,
                ignore=STANDARD
                | {
                    "effective_public_domain",
                    "effective_organization_domain",
                    "preview",
                    "preview_policy",
                },
            ),
            Kind.DEPLOYMENT_PIPELINE: Codec(
                DeploymentPipeline, deployment_pipeline_pb2.DeploymentPipeline, ignore=STANDARD
            ),
            Kind.COMPONENT_TYPE: Codec(
                ComponentType,
                component_type_pb2.ComponentType,
                ignore=STANDARD | {"version", "description"},
            ),
            Kind.TRAIT: Codec(Trait, trait_pb2.Trait, ignore=STANDARD | {"version", "description"}),
            Kind.PROJECT: Codec(Project, project_pb2.Project, ignore=STANDARD | {"preview_quota"}),
            Kind.EVENT_SUBSCRIPTION: Codec(
                EventSubscription,
                event_subscription_pb2.EventSubscription,
                ignore=STANDARD
                | {
                    "types",
                    "secret",
                    "conditions",
                    "pending_count",
                    "dead_letter_count",
                    "last_delivery_time",
                },
            ),
            Kind.RESOURCE_TYPE: Codec(
                ResourceType, resource_type_pb2.ResourceType, ignore=STANDARD | {"description"}
            ),
            Kind.RESOURCE_CLAIM: Codec(
                ResourceClaim, resource_claim_pb2.ResourceClaim, ignore=STANDARD
            ),
            Kind.SECRET_REFERENCE: Codec(
                SecretReference, secret_reference_pb2.SecretReference, ignore=STANDARD
            ),
            Kind.COMPONENT: self.component,
            Kind.DEPLOYMENT: Codec(
                Deployment, deployment_pb2.Deployment, ignore=STANDARD | {"environment"}
            ),
        }

    def resource(self, kind: Kind, message: Message) -> Resource:
        """A resource as it is written."""
        return cast("Resource", self._resources[kind].to_domain(message))

    def component_of(self, stored: bytes) -> Component:
        """A component as it was stored."""
        return self._read(self.component, component_pb2.Component, stored)

    def provider_of(self, stored: bytes) -> Component:
        """A component as it was stored, as far as those who connect to it see it."""
        return self._read(self._provider, component_pb2.Component, stored, "connections")

    def component_bytes(self, component: Component) -> bytes:
        """A component, to be stored."""
        return self._write(self.component, component)

    def resolved_of(self, stored: bytes) -> ResolvedComponent:
        """A resolved component as it was stored."""
        return self._read(self.resolved, resolved_cell_pb2.ResolvedComponent, stored)

    def resolved_bytes(self, component: ResolvedComponent) -> bytes:
        """A resolved component, to be stored: the same meaning, the same bytes."""
        return self._write(self.resolved, component)

    def frame_of(self, stored: bytes) -> CellFrame:
        """A frame as it was stored."""
        return self._read(self.frame, resolved_cell_pb2.CellFrame, stored)

    def frame_bytes(self, frame: CellFrame) -> bytes:
        """A frame, to be stored: the same meaning, the same bytes."""
        return self._write(self.frame, frame)

    def _read(
        self, codec: Codec[D, Any], message: type[Message], stored: bytes, *without: str
    ) -> D:
        """Read what is stored; what was read or written not long ago is known."""
        known = self._kept.get((codec, stored))
        if known is None:
            whole = message.FromString(stored)
            for name in without:
                whole.ClearField(name)
            known = codec.to_domain(whole)
            self._keep(codec, stored, known)
        return cast("D", known)

    def _write(self, codec: Codec[D, Any], value: D) -> bytes:
        stored = write(codec.to_wire(value))
        self._keep(codec, stored, value)
        return stored

    def _keep(self, codec: Codec[Any, Any], stored: bytes, value: Any) -> None:
        if len(self._kept) >= _KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[codec, stored] = value

    def requirement_of(self, stored: bytes) -> PlacementRequirement:
        """A requirement as it was stored."""
        return self.requirement.to_domain(placement_pb2.PlacementRequirement.FromString(stored))

    def requirement_bytes(self, requirement: PlacementRequirement) -> bytes:
        """A requirement, to be stored."""
        return write(self.requirement.to_wire(requirement))

    def problems_bytes(self, problems: Iterable[Problem]) -> bytes:
        """Problems, to be stored."""
        return write(cell_pb2.Cell(problems=[self.problem.to_wire(p) for p in problems]))


def write(message: Message) -> bytes:
    """Equal messages are equal bytes, as long as this library writes them."""
    return message.SerializeToString(deterministic=True)


def intent_of(component: component_pb2.Component) -> component_pb2.Component:
    """What of a component is released: neither notes, nor words for people, nor how it is deployed.

    Lists whose order means nothing are sorted, so that equal intents are equal messages.
    """
    intent = component_pb2.Component(
        component_kind=component.component_kind,
        workload=component.workload,
        endpoints=component.endpoints,
        connections=sorted(component.connections, key=lambda c: c.connection),
        event_channels=component.event_channels,
        data_products=component.data_products,
        type=component.type,
        resolved_type=component.resolved_type,
        traits=sorted(component.traits, key=lambda t: t.instance),
        labels=component.labels,
    )
    if component.HasField("parameters"):
        intent.parameters.CopyFrom(component.parameters)
    for trait in intent.traits:
        # Which version counts is released; that it was pinned is not.
        trait.trait_version = 0
    variables = sorted(intent.workload.env, key=lambda v: v.name)
    del intent.workload.env[:]
    intent.workload.env.extend(variables)
    offers: tuple[Any, ...] = (
        *intent.endpoints,
        *intent.event_channels,
        *intent.data_products,
    )
    for offer in offers:
        offer.description = ""
        if offer.HasField("schema"):
            offer.schema.ClearField("compatibility")
    for endpoint in intent.endpoints:
        visibilities = sorted(endpoint.visibilities)
        del endpoint.visibilities[:]
        endpoint.visibilities.extend(visibilities)
    return intent


def release_of(component: component_pb2.Component) -> release_pb2.Release:
    """The release that a component is: its name follows from its content."""
    digest = hashlib.sha256(write(intent_of(component))).hexdigest()
    snapshot = component_pb2.Component(
        name=component.name,
        component_kind=component.component_kind,
        workload=component.workload,
        endpoints=component.endpoints,
        connections=component.connections,
        event_channels=component.event_channels,
        data_products=component.data_products,
        type=component.type,
        type_version=component.type_version,
        resolved_type=component.resolved_type,
        traits=component.traits,
        labels=component.labels,
    )
    if component.HasField("parameters"):
        snapshot.parameters.CopyFrom(component.parameters)
    return release_pb2.Release(
        name=f"{component.name}/releases/r-{digest[:10]}", snapshot=snapshot, digest=digest
    )
