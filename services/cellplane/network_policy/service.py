"""The network policy service's gRPC face."""

from __future__ import annotations

from typing import Any

from cellplane.api.network_policy.v1 import network_policy_pb2_grpc
from cellplane.api.type.v1 import compile_pb2
from cellplane.network_policy.convert import compile_adapter


class NetworkPolicyService(network_policy_pb2_grpc.NetworkPolicyServiceServicer):
    """Compiles the policies of Cells."""

    def __init__(self) -> None:
        self._compile = compile_adapter()

    async def Compile(  # noqa: N802 - the contract's name
        self, request: compile_pb2.CompileRequest, context: Any
    ) -> compile_pb2.CompileResponse:
        """See ``network_policy/v1/network_policy.proto``."""
        del context
        return self._compile.answer(request)
