"""Runs the placement service: ``python -m cellplane.placement``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from cellplane.api.agent.v1 import join_pb2_grpc, link_pb2_grpc
from cellplane.api.gateway.v1 import gateway_pb2_grpc
from cellplane.api.model.v1 import resource_change_pb2_grpc, workload_pb2_grpc
from cellplane.api.network_policy.v1 import network_policy_pb2_grpc
from cellplane.api.observability.v1 import telemetry_pb2_grpc
from cellplane.api.placement.v1 import (
    cell_revision_pb2_grpc,
    data_plane_pb2,
    data_plane_pb2_grpc,
    decision_pb2_grpc,
    join_grant_pb2_grpc,
    resource_pb2_grpc,
)
from cellplane.placement import convert
from cellplane.placement.assembly import Adapters, Placement
from cellplane.placement.clients import Model, Observability
from cellplane.placement.config import PlacementSettings
from cellplane.placement.failpoints import Reached, from_environment
from cellplane.placement.link.authority import AgentAuthority, GrantVault
from cellplane.placement.link.granting import Granting
from cellplane.placement.link.service import JoinService, LinkService
from cellplane.placement.metrics import PlacementMetrics
from cellplane.placement.planes import Patience
from cellplane.placement.readings import CellRevisionService, DecisionService
from cellplane.placement.repository import Repository
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
from cellplane.rpc.client import Channels
from cellplane.rpc.entry import run_service
from cellplane.rpc.pagination import PageTokens, derive_key
from cellplane.rpc.server import Server, ServerOptions
from cellplane.rpc.tls import ClientTLS, ServerTLS
from cellplane.runtime.clock import SystemClock
from cellplane.runtime.tasks import Loop
from cellplane.store.database import Database
from cellplane.store.feed import Feed
from cellplane.store.history import History
from cellplane.store.resources import Resources

MIGRATIONS = Path(__file__).parent / "migrations"
_RENEW_SERVER = 24 * 3600.0
"""Seconds between new certificates of the ports that agents use."""
_AGENT_GRACE = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ports:
    """The servers of one process."""

    api: Server
    link: Server
    join: Server


@asynccontextmanager
async def build(
    settings: PlacementSettings, server: Server, reached: Reached | None = None
) -> AsyncIterator[None]:
    """Open the database, the other services and the ports of agents; run the loops.

    ``reached`` is told the steps of moves; without it, the environment says what happens there.
    """
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        database = await Database.open(
            settings.database_url,
            service=settings.service,
            migrations=MIGRATIONS,
            path=settings.state_dir / "placement.db",
        )
        stack.push_async_callback(database.close)
        tls = ClientTLS(ca=settings.tls_ca, cert=settings.tls_cert, key=settings.tls_key)
        channels = await stack.enter_async_context(Channels(tls))
        authority = AgentAuthority(
            settings.state_dir / "agents",
            settings.trust_domain,
            SystemClock(),
            settings.agent_certificate_lifetime,
        )
        ports = _ports(settings, server, authority)
        adapters = _adapters(settings, database, channels, authority, ports.link)
        if reached is not None:
            adapters = replace(adapters, reached=reached)
        placement = Placement(adapters, await adapters.repository.next_epoch())
        resources = Resources(resource_tables)
        async with database.snapshot() as tx:
            stored = await resources.below(tx, "", [DATA_PLANES.kind])
        messages = [data_plane_pb2.DataPlane.FromString(s.payload) for s in stored]
        await placement.load(convert.data_plane_of(m) for m in messages)
        feed = await stack.enter_async_context(Feed(database, resources))
        server.metrics.registry.register(PlacementMetrics(placement.engine.deciding))
        _add_services(settings, ports, placement, adapters, database, resources, feed)
        await stack.enter_async_context(_running(placement, authority, settings, ports))
        yield


@asynccontextmanager
async def _running(
    placement: Placement, authority: AgentAuthority, settings: PlacementSettings, ports: _Ports
) -> AsyncIterator[None]:
    async def renew() -> None:
        authority.renew_server(_addresses(settings))

    renewal = Loop(name="server_certificate", body=renew, every=_RENEW_SERVER)
    async with asyncio.TaskGroup() as group:
        loops = [
            group.create_task(loop.run(), name=loop.name) for loop in (*placement.loops(), renewal)
        ]
        try:
            await ports.link.start()
            await ports.join.start()
            yield
        finally:
            await asyncio.gather(ports.link.stop(), ports.join.stop())
            for task in loops:
                task.cancel()
    await placement.engine.deciding.commits.close()
    await placement.desired.flush()


def _ports(settings: PlacementSettings, server: Server, authority: AgentAuthority) -> _Ports:
    tls = authority.server_tls(_addresses(settings), require_client=True)

    def agents(listen: str, port_file: Path | None, tls: ServerTLS) -> Server:
        options = ServerOptions.of(
            settings,
            listen=listen,
            tls=tls,
            admin_listen="",
            admin_grpc_listen="",
            port_file=port_file,
            grace=min(settings.shutdown_grace, _AGENT_GRACE),
        )
        return Server(options, metrics=server.metrics, readiness=server.readiness)

    return _Ports(
        api=server,
        link=agents(settings.link_listen, settings.link_port_file, tls),
        join=agents(
            settings.join_listen, settings.join_port_file, replace(tls, require_client=False)
        ),
    )


def _adapters(
    settings: PlacementSettings,
    database: Database,
    channels: Channels,
    authority: AgentAuthority,
    link: Server,
) -> Adapters:
    model = channels.channel(settings.model_address)
    network_policy = network_policy_pb2_grpc.NetworkPolicyServiceStub(
        channels.channel(settings.network_policy_address)
    )
    observability = channels.channel(settings.observability_address)
    gateway = gateway_pb2_grpc.GatewayServiceStub(channels.channel(settings.gateway_address))
    return Adapters(
        repository=Repository(database),
        model=Model(model),
        observability=Observability(observability),
        compilers={
            "model": workload_pb2_grpc.WorkloadServiceStub(model),
            "network_policy": network_policy,
            "gateway": gateway,
            "observability": telemetry_pb2_grpc.TelemetryServiceStub(observability),
        },
        platform_compilers={"gateway": gateway, "network_policy": network_policy},
        authority=authority,
        vault=GrantVault(settings.state_dir / "agents" / "grants.key"),
        clock=SystemClock(),
        trust_domain=settings.trust_domain,
        patience=Patience(
            suspect=settings.suspect_after.total_seconds(),
            lost=settings.lost_after.total_seconds(),
        ),
        drain_seconds=settings.drain_for.total_seconds(),
        reached=from_environment(),
        draining=link.draining,
    )


def _add_services(
    settings: PlacementSettings,
    ports: _Ports,
    placement: Placement,
    adapters: Adapters,
    database: Database,
    resources: Resources,
    feed: Feed,
) -> None:
    def link_address() -> str:
        return settings.public_link_address or _bound(settings.link_listen, ports.link)

    def join_address() -> str:
        return settings.public_join_address or _bound(settings.join_listen, ports.join)

    ports.link.add(
        "cellplane.api.agent.v1.LinkService",
        link_pb2_grpc.add_LinkServiceServicer_to_server,
        LinkService(placement.planes, adapters.authority, placement.session),
    )
    ports.join.add(
        "cellplane.api.agent.v1.JoinService",
        join_pb2_grpc.add_JoinServiceServicer_to_server,
        JoinService(placement.joining, adapters.authority, link_address),
    )
    secret = (settings.state_dir / "agents" / "grants.key").read_bytes()
    tokens = PageTokens(derive_key(secret))
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
    ports.api.add(
        "cellplane.api.placement.v1.DataPlaneService",
        data_plane_pb2_grpc.add_DataPlaneServiceServicer_to_server,
        data_planes,
    )
    granting = Granting(
        repository=adapters.repository,
        resources=resources,
        authority=adapters.authority,
        vault=adapters.vault,
        clock=adapters.clock,
        join_address=join_address,
        link_address=link_address,
    )
    ports.api.add(
        "cellplane.api.placement.v1.JoinGrantService",
        join_grant_pb2_grpc.add_JoinGrantServiceServicer_to_server,
        JoinGrantService(
            database=database,
            resources=resources,
            granting=granting,
            tokens=tokens,
            clock=adapters.clock,
        ),
    )
    ports.api.add(
        "cellplane.api.placement.v1.ResourceService",
        resource_pb2_grpc.add_ResourceServiceServicer_to_server,
        ResourceService(
            database=database,
            resources=resources,
            feed=feed,
            planes=placement.planes,
            kinds=HISTORY,
            views={DATA_PLANES.kind: data_planes.view, JOIN_GRANTS.kind: granting.on_read},
        ),
    )
    ports.api.add(
        "cellplane.api.model.v1.ResourceChangeService",
        resource_change_pb2_grpc.add_ResourceChangeServiceServicer_to_server,
        ResourceChangeService(database, History(resources.tables), tokens, HISTORY),
    )
    ports.api.add(
        "cellplane.api.placement.v1.DecisionService",
        decision_pb2_grpc.add_DecisionServiceServicer_to_server,
        DecisionService(placement.engine),
    )
    ports.api.add(
        "cellplane.api.placement.v1.CellRevisionService",
        cell_revision_pb2_grpc.add_CellRevisionServiceServicer_to_server,
        CellRevisionService(placement.desired, tokens),
    )


def _addresses(settings: PlacementSettings) -> list[str]:
    return [
        settings.link_listen,
        settings.join_listen,
        settings.public_link_address,
        settings.public_join_address,
    ]


def _bound(listen: str, server: Server) -> str:
    return f"{listen.rpartition(':')[0]}:{server.ports.grpc}"


if __name__ == "__main__":
    sys.exit(run_service(PlacementSettings, build))
