"""Makes a data plane and the right of its agent to join."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
import grpc.aio

from cellplane.api.placement.v1 import (
    data_plane_pb2,
    data_plane_pb2_grpc,
    join_grant_pb2,
    join_grant_pb2_grpc,
)
from cellplane.cli.local.commands import Grant
from cellplane.cli.local.layout import Layout
from cellplane.rpc.client import Channels, explain


async def join(
    channels: Channels,
    layout: Layout,
    organization: str,
    name: str,
    *,
    labels: Mapping[str, str],
) -> Grant:
    """Make the data plane *name* where it is missing, and a grant for its agent."""
    channel = channels.channel(layout.address("placement"))
    planes = data_plane_pb2_grpc.DataPlaneServiceStub(channel)
    grants = join_grant_pb2_grpc.JoinGrantServiceStub(channel)
    parent = f"organizations/{organization}"
    resource = f"{parent}/dataPlanes/{name}"
    try:
        await planes.UpdateDataPlane(
            data_plane_pb2.UpdateDataPlaneRequest(
                data_plane=data_plane_pb2.DataPlane(
                    name=resource,
                    labels=labels,
                    westbound_host=f"westbound.{name}.cellplane.internal",
                    westbound_port=443,
                ),
                allow_missing=True,
            )
        )
        await grants.DeleteJoinGrant(
            join_grant_pb2.DeleteJoinGrantRequest(
                name=f"{parent}/joinGrants/{name}", allow_missing=True
            )
        )
        grant = await grants.CreateJoinGrant(
            join_grant_pb2.CreateJoinGrantRequest(
                parent=parent,
                join_grant_id=name,
                join_grant=join_grant_pb2.JoinGrant(data_plane=resource),
            )
        )
    except grpc.aio.AioRpcError as error:
        raise explain(error).to_error() from error
    return Grant(
        name=grant.name,
        token=grant.token,
        authority_digest=grant.authority_digest,
        join_address=grant.join_address,
    )
