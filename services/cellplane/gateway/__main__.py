"""Runs the gateway service: ``python -m cellplane.gateway``."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cellplane.api.gateway.v1 import gateway_pb2_grpc
from cellplane.gateway.config import GatewaySettings
from cellplane.gateway.service import GatewayService
from cellplane.rpc.entry import run_service
from cellplane.rpc.server import Server


@asynccontextmanager
async def build(settings: GatewaySettings, server: Server) -> AsyncIterator[None]:
    """Register the servicer; the service keeps no state."""
    server.add(
        "cellplane.api.gateway.v1.GatewayService",
        gateway_pb2_grpc.add_GatewayServiceServicer_to_server,
        GatewayService(settings.public_domains),
    )
    yield


if __name__ == "__main__":
    sys.exit(run_service(GatewaySettings, build))
