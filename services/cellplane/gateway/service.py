"""The gateway service's gRPC face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cellplane.api.gateway.v1 import gateway_pb2_grpc
from cellplane.api.type.v1 import compile_pb2
from cellplane.gateway.convert import compile_adapter, platform_adapter


class GatewayService(gateway_pb2_grpc.GatewayServiceServicer):
    """Compiles the gateways and routes of Cells."""

    def __init__(self, public_domains: Sequence[str] = ()) -> None:
        self._compile = compile_adapter()
        self._compile_platform = platform_adapter(public_domains)

    async def Compile(  # noqa: N802 - the contract's name
        self, request: compile_pb2.CompileRequest, context: Any
    ) -> compile_pb2.CompileResponse:
        """See ``gateway/v1/gateway.proto``."""
        del context
        return self._compile.answer(request)

    async def CompilePlatform(  # noqa: N802
        self, request: compile_pb2.CompilePlatformRequest, context: Any
    ) -> compile_pb2.CompilePlatformResponse:
        """See ``gateway/v1/gateway.proto``."""
        del context
        return self._compile_platform.answer(request)
