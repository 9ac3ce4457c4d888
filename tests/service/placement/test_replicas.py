"""Several placements on one PostgreSQL: any of them serves any agent, and one may always die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
import psycopg
import pytest
import pytest_asyncio
import sqlalchemy as sa

from cellplane.api.placement.v1 import data_plane_pb2, data_plane_pb2_grpc
from cellplane.cell.problem import Unavailable
from cellplane.placement.__main__ import MIGRATIONS
from cellplane.placement.repository import Repository
from cellplane.placement.tables import epochs
from cellplane.rpc import onbehalf
from cellplane.rpc.client import Channels, explain
from cellplane.rpc.tls import ClientTLS
from cellplane.store.database import Database
from cellplane.testing.agents import Agent
from cellplane.testing.postgres import PostgresServer, postgresql
from cellplane.testing.proxy import TcpProxy
from tests.service.placement.world import ORGANIZATION, World, cell_name, settled

CELL = cell_name()
FULL = os.environ.get("CELLPLANE_FULL") == "1"
FAILOVER = 20.0
"""Seconds that a failover may take on a loaded machine."""


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the tests of this module."""
    with postgresql(Path(__file__).parents[2] / "postgresql.lock") as server:
        yield server


class Pair:
    """Two replicas, and a balancer in front of each port of theirs."""

    def __init__(self, folder: Path, url: str, *, as_process: bool) -> None:
        key_file = folder / "shared.key"
        key_file.write_bytes(secrets.token_bytes(32))
        rng = random.Random(1)  # noqa: S311 - a seed
        self.link, self.join = TcpProxy([], rng), TcpProxy([], rng)
        self.worlds = [World(folder / name) for name in ("one", "two")]
        first = self.worlds[0]
        for world in self.worlds:
            world.as_process = as_process
            # The same authority and the same services around both.
            world.authority, world.model, world.health = first.authority, first.model, first.health
            world.ca, _ = first.authority.save(world.folder)
            world.addresses = first.addresses
            world.settings_changes = {
                "database_url": url,
                "key_file": key_file,
                "replica_patience": "200ms",
            }

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Pair]:
        """Run both, the first one first."""
        one, two = self.worlds
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.link.running())
            await stack.enter_async_context(self.join.running())
            for world in self.worlds:
                world.settings_changes |= {
                    "public_link_address": self.link.address,
                    "public_join_address": self.join.address,
                }
            await stack.enter_async_context(one.open())
            await two.start()
            stack.push_async_callback(two.stop)
            self.lead_to(one, two)
            yield self

    def lead_to(self, *worlds: World) -> None:
        """Have new connections go to these."""
        self.link.upstreams = [f"127.0.0.1:{w.fixed_ports['link']}" for w in worlds]
        # Joining asks twice, and both times the same replica has to answer; agents try again.
        self.join.upstreams = [f"127.0.0.1:{worlds[0].fixed_ports['join']}"]


@pytest_asyncio.fixture
async def pair(tmp_path: Path, postgres_server: PostgresServer) -> AsyncIterator[Pair]:
    """Two replicas on a database of their own."""
    url = postgres_server.new_database()
    async with Pair(tmp_path, url, as_process=False).open() as opened:
        yield opened


@pytest_asyncio.fixture
async def processes(tmp_path: Path, postgres_server: PostgresServer) -> AsyncIterator[Pair]:
    """The same, each a process of its own, as they are run."""
    url = postgres_server.new_database()
    async with Pair(tmp_path, url, as_process=True).open() as opened:
        yield opened


@asynccontextmanager
async def staying(agent: Agent) -> AsyncIterator[None]:
    """An agent that connects again by itself."""
    rng = random.Random(2)  # noqa: S311 - a seed
    task = asyncio.create_task(agent.stay(rng))
    try:
        await agent.until(lambda: bool(agent.welcomes))
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        await agent.disconnect()


@pytest.mark.asyncio
async def test_a_replica_that_does_not_lead_serves_agents_and_people(pair: Pair) -> None:
    """Join, stream, renewal and API through the other replica: as at the one that leads."""
    one, two = pair.worlds
    pair.lead_to(two)
    async with await two.agent("europe-1") as agent:
        assert agent.error is None
        await settled(one, CELL, await one.model.put(CELL, {"a": "1"}))
        assert CELL in agent.stored
        for world in (one, two):
            plane = await world.client.planes.GetDataPlane(
                data_plane_pb2.GetDataPlaneRequest(name=f"{ORGANIZATION}/dataPlanes/europe-1")
            )
            assert plane.state == data_plane_pb2.DataPlane.READY
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await two.client.planes.GetDataPlane(
                data_plane_pb2.GetDataPlaneRequest(name=f"{ORGANIZATION}/dataPlanes/nowhere")
            )
        assert explain(caught.value).reason == "RESOURCE_NOT_FOUND"


@pytest.mark.asyncio
async def test_when_the_leader_dies_another_one_leads_and_nothing_is_lost(processes: Pair) -> None:
    """Killed, its agents and its work are the other's within seconds, with a higher epoch."""
    one, two = processes.worlds
    agents = [await one.agent(name) for name in ("europe-1", "europe-2")]
    async with AsyncExitStack() as stack:
        for agent in agents:
            await stack.enter_async_context(staying(agent))
        await settled(one, CELL, await one.model.put(CELL, {"a": "1"}, copies=2))
        epoch, wants = agents[0].epoch, [len(agent.wants) for agent in agents]
        processes.lead_to(two)
        await one.kill()
        began = time.monotonic()
        for agent in agents:
            await agent.until(lambda a=agent: a.welcomes[-1].epoch > epoch, FAILOVER)
        await settled(two, CELL, await one.model.put(CELL, {"a": "2"}, copies=2))
        print(f"led and delivered again after {time.monotonic() - began:.1f} s")
        assert [len(agent.wants) for agent in agents] == [count + 1 for count in wants]
        assert all(agent.removed == [] for agent in agents)


@pytest.mark.asyncio
async def test_when_another_replica_goes_only_its_agents_connect_again(pair: Pair) -> None:
    """The leader goes on; what was connected through the other comes back with the same."""
    one, two = pair.worlds
    pair.lead_to(two)
    agent = await one.agent()
    async with staying(agent):
        await settled(one, CELL, await one.model.put(CELL, {"a": "1"}))
        seen = len(agent.welcomes)
        pair.lead_to(one)
        await two.stop()
        await agent.until(lambda: len(agent.welcomes) > seen, FAILOVER)
        assert agent.welcomes[-1].epoch == agent.welcomes[0].epoch
        await settled(one, CELL, await one.model.put(CELL, {"a": "2"}))


@pytest.mark.asyncio
async def test_invariant_1_and_case_69_who_led_before_writes_nothing(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    """The epoch is committed before anything else, and each write of an older one is refused."""
    url = postgres_server.new_database()
    async with AsyncExitStack() as stack:
        databases = [
            await Database.open(url, service="placement", migrations=MIGRATIONS, path=tmp_path)
            for _ in range(2)
        ]
        for database in databases:
            stack.push_async_callback(database.close)
        before, after = (Repository(database) for database in databases)
        assert await before.next_epoch() == 1
        await before.announce("before:1")
        assert await after.next_epoch() == 2
        assert await after.leader() == ""
        with pytest.raises(Unavailable, match="another replica leads"):
            await before.announce("before:1")
        with pytest.raises(Unavailable, match="another replica leads"):
            await before.forget_decision("any")
        async with databases[1].snapshot() as tx:
            assert (await tx.execute(sa.select(epochs.c.epoch))).scalar_one() == 2


@pytest.mark.asyncio
async def test_case_28_nobody_but_a_replica_speaks_for_others(pair: Pair) -> None:
    """A user who says whom it calls for is still that user, and an agent an agent."""
    one, _ = pair.worlds
    agent = await one.agent()
    claimed = onbehalf.metadata("spiffe://cellplane.local/users/admin", None)
    nobody = one.authority.issue(uri="spiffe://cellplane.local/users/nobody")
    cert, key = nobody.save(one.folder, "nobody")
    async with Channels(ClientTLS(ca=one.ca, cert=cert, key=key)) as channels:
        channel = channels.channel(f"127.0.0.1:{one.fixed_ports['api']}")
        stub = data_plane_pb2_grpc.DataPlaneServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetDataPlane(
                data_plane_pb2.GetDataPlaneRequest(name=agent.credentials.data_plane),
                metadata=claimed,
            )
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.skipif(not FULL, reason="two processes more: CELLPLANE_FULL=1 (make test-full)")
@pytest.mark.asyncio
async def test_a_paused_leader_is_followed_and_ends_when_it_wakes(
    processes: Pair, postgres_server: PostgresServer
) -> None:
    """Stopped for so long that its lock is taken from it, it wakes up to pass calls on."""
    one, two = processes.worlds
    agent = await one.agent()
    processes.lead_to(two)
    async with staying(agent):
        await settled(one, CELL, await one.model.put(CELL, {"a": "1"}))
        epoch = agent.epoch
        assert one.process is not None
        os.kill(one.process.pid, signal.SIGSTOP)
        try:
            await asyncio.to_thread(_take_lock, postgres_server)
            await agent.until(lambda: agent.welcomes[-1].epoch > epoch, FAILOVER)
        finally:
            os.kill(one.process.pid, signal.SIGCONT)
        await settled(two, CELL, await one.model.put(CELL, {"a": "2"}))
        plane = data_plane_pb2.GetDataPlaneRequest(name=agent.credentials.data_plane)
        async with asyncio.timeout(FAILOVER):
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    found = await one.client.planes.GetDataPlane(plane)
                    if found.cell_count == 1:
                        break
                await asyncio.sleep(0.1)


def _take_lock(server: PostgresServer) -> None:
    """End the connections that hold advisory locks, as a network that was cut does in the end."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        )
