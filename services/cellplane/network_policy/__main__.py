"""Runs the network policy service: ``python -m cellplane.network_policy``."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cellplane.api.model.v1 import cell_pb2_grpc
from cellplane.api.network_policy.v1 import network_policy_pb2_grpc
from cellplane.api.placement.v1 import data_plane_pb2_grpc, decision_pb2_grpc
from cellplane.network_policy.config import NetworkPolicySettings
from cellplane.network_policy.known import Known, Stubs
from cellplane.network_policy.service import NetworkPolicyService
from cellplane.rpc.client import Channels
from cellplane.rpc.entry import run_service
from cellplane.rpc.server import Server
from cellplane.rpc.tls import ClientTLS


@asynccontextmanager
async def build(settings: NetworkPolicySettings, server: Server) -> AsyncIterator[None]:
    """Register the servicer; the service keeps no state."""
    tls = ClientTLS(ca=settings.tls_ca, cert=settings.tls_cert, key=settings.tls_key)
    async with Channels(tls) as channels:
        server.add(
            "cellplane.api.network_policy.v1.NetworkPolicyService",
            network_policy_pb2_grpc.add_NetworkPolicyServiceServicer_to_server,
            NetworkPolicyService(Known(_stubs(settings, channels))),
        )
        yield


def _stubs(settings: NetworkPolicySettings, channels: Channels) -> Stubs | None:
    if not (settings.model_address and settings.placement_address):
        return None
    placement = channels.channel(settings.placement_address)
    return Stubs(
        cells=cell_pb2_grpc.CellServiceStub(channels.channel(settings.model_address)),
        decisions=decision_pb2_grpc.DecisionServiceStub(placement),
        data_planes=data_plane_pb2_grpc.DataPlaneServiceStub(placement),
    )


if __name__ == "__main__":
    sys.exit(run_service(NetworkPolicySettings, build))
