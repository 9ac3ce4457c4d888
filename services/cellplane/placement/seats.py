"""What a process of placement offers at its ports, and what of it the leader has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from cellplane.api.agent.v1 import join_pb2_grpc, link_pb2_grpc
from cellplane.api.model.v1 import resource_change_pb2_grpc
from cellplane.api.placement.v1 import (
    cell_revision_pb2_grpc,
    data_plane_pb2,
    data_plane_pb2_grpc,
    decision_pb2_grpc,
    join_grant_pb2_grpc,
    resource_pb2_grpc,
    rollout_pb2_grpc,
)
from cellplane.placement import convert
from cellplane.placement.assembly import Adapters, Placement
from cellplane.placement.chair import Seat
from cellplane.placement.config import PlacementSettings
from cellplane.placement.link.granting import Granting
from cellplane.placement.link.service import JoinService, LinkService
from cellplane.placement.metrics import PlacementMetrics
from cellplane.placement.readings import CellRevisionService, DecisionService
from cellplane.placement.relay import Here, Relay, Switch
from cellplane.placement.rollouts import RolloutService
from cellplane.placement.service import (
    DATA_PLANES,
    HISTORY,
    JOIN_GRANTS,
    DataPlaneService,
    JoinGrantService,
)
from cellplane.placement.service_watch import ResourceService
from cellplane.placement.tables import resource_tables
from cellplane.resource.service_changes import ResourceChangeService
from cellplane.rpc.pagination import PageTokens, derive_key
from cellplane.rpc.server import Server
from cellplane.store.database import Database
from cellplane.store.feed import Feed
from cellplane.store.history import History
from cellplane.store.resources import Resources

_LINK = "cellplane.api.agent.v1.LinkService"
_JOIN = "cellplane.api.agent.v1.JoinService"
_DATA_PLANE = "cellplane.api.placement.v1.DataPlaneService"
_JOIN_GRANT = "cellplane.api.placement.v1.JoinGrantService"
_DECISION = "cellplane.api.placement.v1.DecisionService"
_CELL_REVISION = "cellplane.api.placement.v1.CellRevisionService"
_ROLLOUT = "cellplane.api.placement.v1.RolloutService"
_RESOURCES = "cellplane.api.placement.v1.ResourceService"
_CHANGES = "cellplane.api.model.v1.ResourceChangeService"
_SERVICES: Mapping[str, tuple[Callable[[Any, Any], None], type[Any], str]] = {
    _LINK: (
        link_pb2_grpc.add_LinkServiceServicer_to_server,
        link_pb2_grpc.LinkServiceStub,
        "link",
    ),
    _JOIN: (
        join_pb2_grpc.add_JoinServiceServicer_to_server,
        join_pb2_grpc.JoinServiceStub,
        "join",
    ),
    _DATA_PLANE: (
        data_plane_pb2_grpc.add_DataPlaneServiceServicer_to_server,
        data_plane_pb2_grpc.DataPlaneServiceStub,
        "api",
    ),
    _JOIN_GRANT: (
        join_grant_pb2_grpc.add_JoinGrantServiceServicer_to_server,
        join_grant_pb2_grpc.JoinGrantServiceStub,
        "api",
    ),
    _RESOURCES: (
        resource_pb2_grpc.add_ResourceServiceServicer_to_server,
        resource_pb2_grpc.ResourceServiceStub,
        "api",
    ),
    _CHANGES: (
        resource_change_pb2_grpc.add_ResourceChangeServiceServicer_to_server,
        resource_change_pb2_grpc.ResourceChangeServiceStub,
        "api",
    ),
    _DECISION: (
        decision_pb2_grpc.add_DecisionServiceServicer_to_server,
        decision_pb2_grpc.DecisionServiceStub,
        "api",
    ),
    _ROLLOUT: (
        rollout_pb2_grpc.add_RolloutServiceServicer_to_server,
        rollout_pb2_grpc.RolloutServiceStub,
        "api",
    ),
    _CELL_REVISION: (
        cell_revision_pb2_grpc.add_CellRevisionServiceServicer_to_server,
        cell_revision_pb2_grpc.CellRevisionServiceStub,
        "api",
    ),
}
"""By name: how it is added, how it is called elsewhere, and at which port its callers are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The servers of one process."""

    api: Server
    link: Server
    join: Server


def add_services(ports: Ports, here: Here, relay: Relay) -> None:
    """Add every service where its callers are, and those of agents for other replicas, too."""
    for name, (add, stub, own) in _SERVICES.items():
        for server in {ports.api, getattr(ports, own)}:
            server.add(name, add, Switch(name, stub, here, relay))


async def take_seat(
    settings: PlacementSettings, ports: Ports, adapters: Adapters, database: Database
) -> Seat:
    """Take what is stored; the epoch is committed by now."""
    placement = Placement(adapters, adapters.repository.epoch)
    resources = Resources(resource_tables)
    async with database.snapshot() as tx:
        stored = await resources.below(tx, "", [DATA_PLANES.kind])
    messages = [data_plane_pb2.DataPlane.FromString(s.payload) for s in stored]
    await placement.load(convert.data_plane_of(m) for m in messages)
    registry = ports.api.metrics.registry
    metrics = PlacementMetrics(placement.engine.deciding)
    registry.register(metrics)

    stack = AsyncExitStack()
    feed = await stack.enter_async_context(Feed(database, resources))

    async def close() -> None:
        registry.unregister(metrics)
        await stack.aclose()
        await placement.engine.deciding.commits.close()
        await placement.desired.flush()

    return Seat(
        servicers=_servicers(settings, ports, placement, adapters, database, resources, feed),
        loops=placement.loops(),
        end_streams=placement.hub.end_all,
        close=close,
    )


def _servicers(
    settings: PlacementSettings,
    ports: Ports,
    placement: Placement,
    adapters: Adapters,
    database: Database,
    resources: Resources,
    feed: Feed,
) -> dict[str, object]:
    def link_address() -> str:
        return settings.public_link_address or bound(settings.link_listen, ports.link)

    def join_address() -> str:
        return settings.public_join_address or bound(settings.join_listen, ports.join)

    tokens = PageTokens(derive_key(adapters.vault.secret))
    granting = Granting(
        repository=adapters.repository,
        resources=resources,
        authority=adapters.authority,
        vault=adapters.vault,
        clock=adapters.clock,
        join_address=join_address,
        link_address=link_address,
    )
    data_planes = DataPlaneService(
        database=database,
        resources=resources,
        repository=adapters.repository,
        planes=placement.planes,
        desired=placement.desired,
        reserved=placement.engine.deciding.reserved,
        tokens=tokens,
        clock=adapters.clock,
    )
    return {
        _LINK: LinkService(placement.planes, adapters.authority, placement.session),
        _JOIN: JoinService(placement.joining, adapters.authority, link_address),
        _DATA_PLANE: data_planes,
        _JOIN_GRANT: JoinGrantService(
            database=database,
            resources=resources,
            granting=granting,
            tokens=tokens,
            clock=adapters.clock,
        ),
        _RESOURCES: ResourceService(
            database=database,
            resources=resources,
            feed=feed,
            planes=placement.planes,
            kinds=HISTORY,
            views={DATA_PLANES.kind: data_planes.view, JOIN_GRANTS.kind: granting.on_read},
        ),
        _CHANGES: ResourceChangeService(database, History(resources.tables), tokens, HISTORY),
        _DECISION: DecisionService(placement.engine),
        _ROLLOUT: RolloutService(placement.engine),
        _CELL_REVISION: CellRevisionService(placement.desired, tokens),
    }


def bound(listen: str, server: Server) -> str:
    """The address that a server is bound to."""
    return f"{listen.rpartition(':')[0]}:{server.ports.grpc}"
