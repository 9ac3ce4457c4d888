"""Previews, on the wire: the standard methods, with what a preview stands for in their hooks."""
# ruff: noqa: ARG002, N802

from __future__ import annotations

from typing import Any

from google.protobuf.empty_pb2 import Empty

from cellplane.api.model.v1 import preview_pb2 as pb
from cellplane.api.model.v1 import preview_pb2_grpc
from cellplane.model.domain.kinds import Kind
from cellplane.model.previews import Previews
from cellplane.model.writes import Writes


class PreviewService(preview_pb2_grpc.PreviewServiceServicer):
    """See ``model/v1/preview.proto``."""

    def __init__(self, writes: Writes, previews: Previews) -> None:
        self._methods = writes.methods(Kind.PREVIEW, pb.Preview, previews.hooks())

    async def CreatePreview(self, request: pb.CreatePreviewRequest, context: Any) -> pb.Preview:
        """Create a preview."""
        return await self._methods.create(request)

    async def GetPreview(self, request: pb.GetPreviewRequest, context: Any) -> pb.Preview:
        """Read a preview."""
        return await self._methods.get(request)

    async def ListPreviews(
        self, request: pb.ListPreviewsRequest, context: Any
    ) -> pb.ListPreviewsResponse:
        """List them, by name."""
        return await self._methods.list(request, pb.ListPreviewsResponse())

    async def BatchGetPreviews(
        self, request: pb.BatchGetPreviewsRequest, context: Any
    ) -> pb.BatchGetPreviewsResponse:
        """Read several."""
        return await self._methods.batch_get(request, pb.BatchGetPreviewsResponse())

    async def UpdatePreview(self, request: pb.UpdatePreviewRequest, context: Any) -> pb.Preview:
        """Change a preview."""
        return await self._methods.update(request)

    async def DeletePreview(self, request: pb.DeletePreviewRequest, context: Any) -> Empty:
        """End a preview."""
        return await self._methods.delete(request)
