"""Types and traits of components, and their versions, on the wire: each method one call.

The methods' names are the contract's; what they mean stands in its files.
"""
# ruff: noqa: ARG002, N802

from __future__ import annotations

from typing import Any

from google.protobuf.empty_pb2 import Empty

from cellplane.api.model.v1 import (
    component_type_pb2,
    component_type_pb2_grpc,
    component_type_version_pb2,
    component_type_version_pb2_grpc,
    trait_pb2,
    trait_pb2_grpc,
    trait_version_pb2,
    trait_version_pb2_grpc,
)
from cellplane.model.domain.kinds import Kind
from cellplane.model.writes import Writes


class ComponentTypeService(component_type_pb2_grpc.ComponentTypeServiceServicer):
    """See ``model/v1/component_type.proto``."""

    def __init__(self, writes: Writes) -> None:
        self._methods = writes.methods(Kind.COMPONENT_TYPE, component_type_pb2.ComponentType)

    async def CreateComponentType(
        self, request: component_type_pb2.CreateComponentTypeRequest, context: Any
    ) -> component_type_pb2.ComponentType:
        """Create a component type."""
        return await self._methods.create(request)

    async def GetComponentType(
        self, request: component_type_pb2.GetComponentTypeRequest, context: Any
    ) -> component_type_pb2.ComponentType:
        """Read a component type."""
        return await self._methods.get(request)

    async def ListComponentTypes(
        self, request: component_type_pb2.ListComponentTypesRequest, context: Any
    ) -> component_type_pb2.ListComponentTypesResponse:
        """List them, by name."""
        return await self._methods.list(request, component_type_pb2.ListComponentTypesResponse())

    async def BatchGetComponentTypes(
        self, request: component_type_pb2.BatchGetComponentTypesRequest, context: Any
    ) -> component_type_pb2.BatchGetComponentTypesResponse:
        """Read several."""
        return await self._methods.batch_get(
            request, component_type_pb2.BatchGetComponentTypesResponse()
        )

    async def UpdateComponentType(
        self, request: component_type_pb2.UpdateComponentTypeRequest, context: Any
    ) -> component_type_pb2.ComponentType:
        """Change a component type."""
        return await self._methods.update(request)

    async def DeleteComponentType(
        self, request: component_type_pb2.DeleteComponentTypeRequest, context: Any
    ) -> Empty:
        """Delete a component type."""
        return await self._methods.delete(request)


class TraitService(trait_pb2_grpc.TraitServiceServicer):
    """See ``model/v1/trait.proto``."""

    def __init__(self, writes: Writes) -> None:
        self._methods = writes.methods(Kind.TRAIT, trait_pb2.Trait)

    async def CreateTrait(
        self, request: trait_pb2.CreateTraitRequest, context: Any
    ) -> trait_pb2.Trait:
        """Create a trait."""
        return await self._methods.create(request)

    async def GetTrait(self, request: trait_pb2.GetTraitRequest, context: Any) -> trait_pb2.Trait:
        """Read a trait."""
        return await self._methods.get(request)

    async def ListTraits(
        self, request: trait_pb2.ListTraitsRequest, context: Any
    ) -> trait_pb2.ListTraitsResponse:
        """List them, by name."""
        return await self._methods.list(request, trait_pb2.ListTraitsResponse())

    async def BatchGetTraits(
        self, request: trait_pb2.BatchGetTraitsRequest, context: Any
    ) -> trait_pb2.BatchGetTraitsResponse:
        """Read several."""
        return await self._methods.batch_get(request, trait_pb2.BatchGetTraitsResponse())

    async def UpdateTrait(
        self, request: trait_pb2.UpdateTraitRequest, context: Any
    ) -> trait_pb2.Trait:
        """Change a trait."""
        return await self._methods.update(request)

    async def DeleteTrait(self, request: trait_pb2.DeleteTraitRequest, context: Any) -> Empty:
        """Delete a trait."""
        return await self._methods.delete(request)


class ComponentTypeVersionService(
    component_type_version_pb2_grpc.ComponentTypeVersionServiceServicer
):
    """See ``model/v1/component_type_version.proto``."""

    def __init__(self, writes: Writes) -> None:
        self._methods = writes.reads(
            Kind.COMPONENT_TYPE_VERSION, component_type_version_pb2.ComponentTypeVersion
        )

    async def GetComponentTypeVersion(
        self, request: component_type_version_pb2.GetComponentTypeVersionRequest, context: Any
    ) -> component_type_version_pb2.ComponentTypeVersion:
        """Read a version of a component type."""
        return await self._methods.get(request)

    async def ListComponentTypeVersions(
        self, request: component_type_version_pb2.ListComponentTypeVersionsRequest, context: Any
    ) -> component_type_version_pb2.ListComponentTypeVersionsResponse:
        """List them, by name."""
        return await self._methods.list(
            request, component_type_version_pb2.ListComponentTypeVersionsResponse()
        )

    async def BatchGetComponentTypeVersions(
        self, request: component_type_version_pb2.BatchGetComponentTypeVersionsRequest, context: Any
    ) -> component_type_version_pb2.BatchGetComponentTypeVersionsResponse:
        """Read several."""
        return await self._methods.batch_get(
            request, component_type_version_pb2.BatchGetComponentTypeVersionsResponse()
        )


class TraitVersionService(trait_version_pb2_grpc.TraitVersionServiceServicer):
    """See ``model/v1/trait_version.proto``."""

    def __init__(self, writes: Writes) -> None:
        self._methods = writes.reads(Kind.TRAIT_VERSION, trait_version_pb2.TraitVersion)

    async def GetTraitVersion(
        self, request: trait_version_pb2.GetTraitVersionRequest, context: Any
    ) -> trait_version_pb2.TraitVersion:
        """Read a version of a trait."""
        return await self._methods.get(request)

    async def ListTraitVersions(
        self, request: trait_version_pb2.ListTraitVersionsRequest, context: Any
    ) -> trait_version_pb2.ListTraitVersionsResponse:
        """List them, by name."""
        return await self._methods.list(request, trait_version_pb2.ListTraitVersionsResponse())

    async def BatchGetTraitVersions(
        self, request: trait_version_pb2.BatchGetTraitVersionsRequest, context: Any
    ) -> trait_version_pb2.BatchGetTraitVersionsResponse:
        """Read several."""
        return await self._methods.batch_get(
            request, trait_version_pb2.BatchGetTraitVersionsResponse()
        )
