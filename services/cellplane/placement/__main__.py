"""Runs the placement service: ``python -m cellplane.placement``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from cellplane.api.gateway.v1 import gateway_pb2_grpc
from cellplane.api.model.v1 import workload_pb2_grpc
from cellplane.api.network_policy.v1 import network_policy_pb2_grpc
from cellplane.api.observability.v1 import telemetry_pb2_grpc
from cellplane.placement.assembly import Adapters
from cellplane.placement.chair import Chair, Seat
from cellplane.placement.clients import Model, Observability
from cellplane.placement.config import PlacementSettings
from cellplane.placement.failpoints import Reached, from_environment
from cellplane.placement.link.authority import AgentAuthority, GrantVault
from cellplane.placement.link.sharing import share
from cellplane.placement.planes import Patience
from cellplane.placement.relay import Relay
from cellplane.placement.repository import Repository
from cellplane.placement.rollout_store import RolloutStore
from cellplane.placement.seats import Ports, add_services, bound, take_seat
from cellplane.rpc.client import Channels
from cellplane.rpc.entry import run_service
from cellplane.rpc.server import Server, ServerOptions
from cellplane.rpc.tls import ClientTLS, ServerTLS
from cellplane.runtime.clock import SystemClock
from cellplane.runtime.tasks import Loop
from cellplane.store.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"
_RENEW_SERVER = 24 * 3600.0
"""Seconds between new certificates of the ports that agents use."""
_AGENT_GRACE = timedelta(seconds=2)
_STAND_AGAIN = 1.0
"""Seconds after which a replica that has lost the lead waits for it again."""


@asynccontextmanager
async def build(
    settings: PlacementSettings, server: Server, reached: Reached | None = None
) -> AsyncIterator[None]:
    """Open the database, the other services and the ports; lead, or pass calls on to who does.

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
        replicas = await stack.enter_async_context(
            Channels(replace(tls, server_name=settings.replica_server_name))
        )
        vault = GrantVault(settings.key_file or settings.state_dir / "agents" / "grants.key")
        repository = Repository(database)
        if database.dialect != "sqlite":
            await share(repository, vault, settings.state_dir / "agents", settings.trust_domain)
        authority = AgentAuthority(
            settings.state_dir / "agents",
            settings.trust_domain,
            SystemClock(),
            settings.agent_certificate_lifetime,
        )
        ports = _ports(settings, server, authority)
        rollouts = RolloutStore(database, repository)
        adapters = _adapters(settings, repository, rollouts, channels, authority, vault, ports.link)
        if reached is not None:
            adapters = replace(adapters, reached=reached)

        async def open_seat() -> Seat:
            return await take_seat(settings, ports, adapters, database)

        relay = Relay(replicas, repository.leader)
        chair = Chair(
            database=database, leading=repository, open_seat=open_seat, on_lead=relay.moved
        )
        add_services(ports, chair.servicer, relay)
        following = Loop(name="leader", body=lambda: relay.follow(database))
        alone = database.dialect == "sqlite"
        patience = None if alone else settings.replica_patience.total_seconds()
        await stack.enter_async_context(
            _running(chair, authority, settings, ports, patience, following)
        )
        yield


@asynccontextmanager
async def _running(
    chair: Chair,
    authority: AgentAuthority,
    settings: PlacementSettings,
    ports: Ports,
    patience: float | None,
    following: Loop,
) -> AsyncIterator[None]:
    async def renew() -> None:
        authority.renew_server(_addresses(settings))

    async def address() -> str:
        await ports.api.started.wait()
        return settings.replica_address or bound(settings.listen, ports.api)

    loops = (
        Loop(name="server_certificate", body=renew, every=_RENEW_SERVER),
        Loop(name="lead", body=lambda: chair.stand(address), every=_STAND_AGAIN),
        following,
    )
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop.run(), name=loop.name) for loop in loops]
        try:
            await chair.settled(patience)
            await ports.link.start()
            await ports.join.start()
            yield
        finally:
            await asyncio.gather(ports.link.stop(), ports.join.stop())
            for task in tasks:
                task.cancel()


def _ports(settings: PlacementSettings, server: Server, authority: AgentAuthority) -> Ports:
    tls = authority.server_tls(_addresses(settings), require_client=True)

    def agents(listen: str, port_file: Path | None, tls: ServerTLS) -> Server:
        options = ServerOptions.of(
            settings,
            listen=listen,
            tls=tls,
            admin_listen="",
            admin_grpc_listen="",
            port_file=port_file,
            # Replicas meet at the port of the API: agents' certificates say nothing about them.
            replicas_of="",
            grace=min(settings.shutdown_grace, _AGENT_GRACE),
        )
        return Server(options, metrics=server.metrics, readiness=server.readiness)

    return Ports(
        api=server,
        link=agents(settings.link_listen, settings.link_port_file, tls),
        join=agents(
            settings.join_listen, settings.join_port_file, replace(tls, require_client=False)
        ),
    )


def _adapters(
    settings: PlacementSettings,
    repository: Repository,
    rollouts: RolloutStore,
    channels: Channels,
    authority: AgentAuthority,
    vault: GrantVault,
    link: Server,
) -> Adapters:
    model = channels.channel(settings.model_address)
    network_policy = network_policy_pb2_grpc.NetworkPolicyServiceStub(
        channels.channel(settings.network_policy_address)
    )
    observability = channels.channel(settings.observability_address)
    gateway = gateway_pb2_grpc.GatewayServiceStub(channels.channel(settings.gateway_address))
    return Adapters(
        repository=repository,
        rollouts=rollouts,
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
        vault=vault,
        clock=SystemClock(),
        trust_domain=settings.trust_domain,
        patience=Patience(
            suspect=settings.suspect_after.total_seconds(),
            lost=settings.lost_after.total_seconds(),
        ),
        drain_seconds=settings.drain_for.total_seconds(),
        hold_down_seconds=settings.hold_down.total_seconds(),
        reached=from_environment(),
        draining=link.draining,
    )


def _addresses(settings: PlacementSettings) -> list[str]:
    return [
        settings.link_listen,
        settings.join_listen,
        settings.public_link_address,
        settings.public_join_address,
    ]


if __name__ == "__main__":
    sys.exit(run_service(PlacementSettings, build))
