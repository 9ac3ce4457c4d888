"""Runs the network policy service: ``python -m cellplane.network_policy``."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cellplane.api.network_policy.v1 import network_policy_pb2_grpc
from cellplane.network_policy.config import NetworkPolicySettings
from cellplane.network_policy.service import NetworkPolicyService
from cellplane.rpc.entry import run_service
from cellplane.rpc.server import Server


@asynccontextmanager
async def build(settings: NetworkPolicySettings, server: Server) -> AsyncIterator[None]:
    """Register the servicer; the service keeps no state yet."""
    del settings
    server.add(
        "cellplane.api.network_policy.v1.NetworkPolicyService",
        network_policy_pb2_grpc.add_NetworkPolicyServiceServicer_to_server,
        NetworkPolicyService(),
    )
    yield


if __name__ == "__main__":
    sys.exit(run_service(NetworkPolicySettings, build))
