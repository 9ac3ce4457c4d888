"""Managed resources, on the wire: types and claims, each method one call."""
# ruff: noqa: ARG002, N802

from __future__ import annotations

from typing import Any

from google.protobuf.empty_pb2 import Empty

from cellplane.api.model.v1 import (
    resource_claim_pb2,
    resource_claim_pb2_grpc,
    resource_type_pb2,
    resource_type_pb2_grpc,
)
from cellplane.model.domain.kinds import Kind
from cellplane.model.writes import Writes


class ResourceTypeService(resource_type_pb2_grpc.ResourceTypeServiceServicer):
    """See ``model/v1/resource_type.proto``."""

    def __init__(self, writes: Writes) -> None:
        self._methods = writes.methods(Kind.RESOURCE_TYPE, resource_type_pb2.ResourceType)

    async def CreateResourceType(
        self, request: resource_type_pb2.CreateResourceTypeRequest, context: Any
    ) -> resource_type_pb2.ResourceType:
        """Create a type of managed resources."""
        return await self._methods.create(request)

    async def GetResourceType(
        self, request: resource_type_pb2.GetResourceTypeRequest, context: Any
    ) -> resource_type_pb2.ResourceType:
        """Read a type of managed resources."""
        return await self._methods.get(request)

    async def ListResourceTypes(
        self, request: resource_type_pb2.ListResourceTypesRequest, context: Any
    ) -> resource_type_pb2.ListResourceTypesResponse:
        """List them, by name."""
        return await self._methods.list(request, resource_type_pb2.ListResourceTypesResponse())

    async def BatchGetResourceTypes(
        self, request: resource_type_pb2.BatchGetResourceTypesRequest, context: Any
    ) -> resource_type_pb2.BatchGetResourceTypesResponse:
        """Read several."""
        return await self._methods.batch_get(
            request, resource_type_pb2.BatchGetResourceTypesResponse()
        )

    async def UpdateResourceType(
        self, request: resource_type_pb2.UpdateResourceTypeRequest, context: Any
    ) -> resource_type_pb2.ResourceType:
        """Change a type of managed resources."""
        return await self._methods.update(request)

    async def DeleteResourceType(
        self, request: resource_type_pb2.DeleteResourceTypeRequest, context: Any
    ) -> Empty:
        """Delete a type of managed resources."""
        return await self._methods.delete(request)


class ResourceClaimService(resource_claim_pb2_grpc.ResourceClaimServiceServicer):
    """See ``model/v1/resource_claim.proto``."""

    def __init__(self, writes: Writes) -> None:
        self._methods = writes.methods(Kind.RESOURCE_CLAIM, resource_claim_pb2.ResourceClaim)

    async def CreateResourceClaim(
        self, request: resource_claim_pb2.CreateResourceClaimRequest, context: Any
    ) -> resource_claim_pb2.ResourceClaim:
        """Create a resource claim."""
        return await self._methods.create(request)

    async def GetResourceClaim(
        self, request: resource_claim_pb2.GetResourceClaimRequest, context: Any
    ) -> resource_claim_pb2.ResourceClaim:
        """Read a resource claim."""
        return await self._methods.get(request)

    async def ListResourceClaims(
        self, request: resource_claim_pb2.ListResourceClaimsRequest, context: Any
    ) -> resource_claim_pb2.ListResourceClaimsResponse:
        """List them, by name."""
        return await self._methods.list(request, resource_claim_pb2.ListResourceClaimsResponse())

    async def BatchGetResourceClaims(
        self, request: resource_claim_pb2.BatchGetResourceClaimsRequest, context: Any
    ) -> resource_claim_pb2.BatchGetResourceClaimsResponse:
        """Read several."""
        return await self._methods.batch_get(
            request, resource_claim_pb2.BatchGetResourceClaimsResponse()
        )

    async def UpdateResourceClaim(
        self, request: resource_claim_pb2.UpdateResourceClaimRequest, context: Any
    ) -> resource_claim_pb2.ResourceClaim:
        """Change a resource claim."""
        return await self._methods.update(request)

    async def DeleteResourceClaim(
        self, request: resource_claim_pb2.DeleteResourceClaimRequest, context: Any
    ) -> Empty:
        """Delete a resource claim."""
        return await self._methods.delete(request)
