"""A running placement service with its real ports and certificates, and stand-ins around it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellplane.api.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from cellplane.api.model.v1 import (
    cell_pb2_grpc,
    resource_change_pb2_grpc,
    workload_pb2,
    workload_pb2_grpc,
)
from cellplane.api.network_policy.v1 import network_policy_pb2, network_policy_pb2_grpc
from cellplane.api.observability.v1 import health_pb2_grpc, telemetry_pb2, telemetry_pb2_grpc
from cellplane.api.placement.v1 import (
    cell_revision_pb2_grpc,
    data_plane_pb2,
    data_plane_pb2_grpc,
    decision_pb2_grpc,
    join_grant_pb2,
    join_grant_pb2_grpc,
    resource_pb2_grpc,
    rollout_pb2_grpc,
)
from cellplane.placement.__main__ import build
from cellplane.placement.config import PlacementSettings
from cellplane.placement.failpoints import Reached
from cellplane.rpc.client import Channels
from cellplane.rpc.identity import service_uri, user_uri
from cellplane.rpc.server import Server, ServerOptions
from cellplane.rpc.tls import ClientTLS, ServerTLS
from cellplane.runtime.pki import Authority
from cellplane.testing.agents import Agent
from cellplane.testing.joining import Credentials, join
from tests.service.placement.peers import FakeCompiler, FakeHealth, FakeModel

TRUST_DOMAIN = "cellplane.local"
CONTRACTS = (gateway_pb2, network_policy_pb2, telemetry_pb2, workload_pb2)
"""Modules that register a contract by being imported; their stubs do not import them."""
ORGANIZATION = "organizations/acme"


def cell_name(project: str = "shop", environment: str = "development") -> str:
    """A Cell of acme."""
    return f"{ORGANIZATION}/projects/{project}/cells/{environment}"


@dataclass(slots=True)
class Client:
    """A user of placement."""

    planes: data_plane_pb2_grpc.DataPlaneServiceStub
    grants: join_grant_pb2_grpc.JoinGrantServiceStub
    decisions: decision_pb2_grpc.DecisionServiceStub
    rollouts: rollout_pb2_grpc.RolloutServiceStub
    revisions: cell_revision_pb2_grpc.CellRevisionServiceStub
    changes: resource_change_pb2_grpc.ResourceChangeServiceStub
    resources: resource_pb2_grpc.ResourceServiceStub


class World:
    """Everything around one placement service, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.create("test")
        self.ca, _ = self.authority.save(folder)
        self.model = FakeModel()
        self.health = FakeHealth()
        self.compilers = {
            name: FakeCompiler(name)
            for name in ("model", "network_policy", "gateway", "observability")
        }
        self.addresses: dict[str, str] = {}
        self.client: Client
        self.fixed_ports: dict[str, int] = {}
        self.settings_changes: dict[str, Any] = {}
        self.reached: Reached | None = None
        """What happens where placement can be stopped; nothing if unset."""
        self.environment: dict[str, str] = {}
        """For placement as a process of its own."""
        self.as_process = False
        self.process: asyncio.subprocess.Process | None = None
        self._running: AsyncExitStack | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[World]:
        """Run the stand-ins, and placement."""
        async with AsyncExitStack() as stack:
            for name in self.compilers:
                await self._start_peer(name, stack)
            await self.start()
            stack.push_async_callback(self.stop)
            yield self

    async def start(self) -> None:
        """Start placement, on the ports that it had before if it ran before."""
        stack = AsyncExitStack()
        if self.as_process:
            api = await self._spawn(stack)
        else:
            settings = PlacementSettings(**self._settings())
            server = Server(ServerOptions.of(settings))
            await stack.enter_async_context(build(settings, server, self.reached))
            api = (await server.start()).grpc
            stack.push_async_callback(server.stop)
        user_cert, user_key = self.authority.issue(uri=user_uri(TRUST_DOMAIN, "admin")).save(
            self.folder, "admin"
        )
        channels = await stack.enter_async_context(
            Channels(ClientTLS(ca=self.ca, cert=user_cert, key=user_key))
        )
        channel = channels.channel(f"127.0.0.1:{api}")
        self.client = Client(
            planes=data_plane_pb2_grpc.DataPlaneServiceStub(channel),
            grants=join_grant_pb2_grpc.JoinGrantServiceStub(channel),
            decisions=decision_pb2_grpc.DecisionServiceStub(channel),
            rollouts=rollout_pb2_grpc.RolloutServiceStub(channel),
            revisions=cell_revision_pb2_grpc.CellRevisionServiceStub(channel),
            changes=resource_change_pb2_grpc.ResourceChangeServiceStub(channel),
            resources=resource_pb2_grpc.ResourceServiceStub(channel),
        )
        self.fixed_ports = {
            "api": api,
            "link": _port(self.folder / "link.json"),
            "join": _port(self.folder / "join.json"),
        }
        self._running = stack

    def _settings(self) -> dict[str, Any]:
        ports = self.fixed_ports
        cert, key = self._pair("placement")
        return {
            "listen": f"127.0.0.1:{ports.get('api', 0)}",
            "admin_listen": "",
            "admin_grpc_listen": "",
            "tls_ca": self.ca,
            "tls_cert": cert,
            "tls_key": key,
            "state_dir": self.folder / "state",
            "port_file": self.folder / "api.json",
            "link_listen": f"127.0.0.1:{ports.get('link', 0)}",
            "join_listen": f"127.0.0.1:{ports.get('join', 0)}",
            "link_port_file": self.folder / "link.json",
            "join_port_file": self.folder / "join.json",
            "drain_for": "0s",
            **{f"{name}_address": at for name, at in self.addresses.items()},
        } | self.settings_changes

    async def _spawn(self, stack: AsyncExitStack) -> int:
        """Start placement as a process of its own, as it is run."""
        ready = self.folder / "api.json"
        ready.unlink(missing_ok=True)
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in self._settings().items()]
        root = Path(__file__).parents[3]
        path = os.pathsep.join(str(root / part) for part in ("services", "gen"))
        with (self.folder / "placement.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "cellplane.placement",
                *flags,
                stderr=log,
                stdout=log,
                env={**os.environ, "PYTHONPATH": path, **self.environment},
            )
        stack.push_async_callback(_end, self.process)
        async with asyncio.timeout(30):
            while not ready.exists():
                assert self.process.returncode is None, (self.folder / "placement.log").read_text()
                await asyncio.sleep(0.01)
        return _port(ready)

    async def kill(self) -> None:
        """End placement's process at once, as a crash does."""
        assert self.process is not None
        self.process.kill()
        await self.process.wait()
        await self.stop()

    async def stop(self) -> None:
        """Stop placement; what it stored stays."""
        running, self._running = self._running, None
        if running is not None:
            await running.aclose()

    async def create_plane(self, name: str = "europe-1", **fields: Any) -> data_plane_pb2.DataPlane:
        """Create a data plane."""
        return await self.client.planes.CreateDataPlane(
            data_plane_pb2.CreateDataPlaneRequest(
                parent=ORGANIZATION,
                data_plane_id=name,
                data_plane=data_plane_pb2.DataPlane(**fields),
            )
        )

    async def grant(self, name: str = "europe-1", **fields: Any) -> join_grant_pb2.JoinGrant:
        """Create a grant for a data plane."""
        return await self.client.grants.CreateJoinGrant(
            join_grant_pb2.CreateJoinGrantRequest(
                parent=ORGANIZATION,
                join_grant_id=f"{name}-{uuid.uuid4().hex[:8]}",
                join_grant=join_grant_pb2.JoinGrant(
                    data_plane=f"{ORGANIZATION}/dataPlanes/{name}", **fields
                ),
            )
        )

    async def join(self, name: str = "europe-1", cluster_uid: str = "") -> Credentials:
        """Create a data plane's grant, and join it."""
        granted = await self.grant(name)
        return await join(
            join_address=granted.join_address,
            grant=granted.name,
            token=granted.token,
            authority_digest=granted.authority_digest,
            cluster_uid=cluster_uid or f"cluster-{name}",
        )

    async def agent(self, name: str = "europe-1", **how: Any) -> Agent:
        """Create a data plane and join it; the agent is not connected yet."""
        fields = how.pop("fields", {})
        await self.create_plane(name, **fields)
        return Agent(await self.join(name), **how)

    async def _start_peer(self, name: str, stack: AsyncExitStack) -> None:
        cert, key = self._pair(name)
        server = Server(
            ServerOptions(tls=ServerTLS(ca=self.ca, cert=cert, key=key), reflection=False)
        )
        compiler = self.compilers[name]
        match name:
            case "model":
                server.add(
                    "cellplane.api.model.v1.CellService",
                    cell_pb2_grpc.add_CellServiceServicer_to_server,
                    self.model,
                )
                add: Any = workload_pb2_grpc.add_WorkloadServiceServicer_to_server
                service = "cellplane.api.model.v1.WorkloadService"
            case "network_policy":
                add = network_policy_pb2_grpc.add_NetworkPolicyServiceServicer_to_server
                service = "cellplane.api.network_policy.v1.NetworkPolicyService"
            case "gateway":
                add = gateway_pb2_grpc.add_GatewayServiceServicer_to_server
                service = "cellplane.api.gateway.v1.GatewayService"
            case _:
                server.add(
                    "cellplane.api.observability.v1.HealthService",
                    health_pb2_grpc.add_HealthServiceServicer_to_server,
                    self.health,
                )
                add = telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server
                service = "cellplane.api.observability.v1.TelemetryService"
        server.add(service, add, compiler)
        bound = await server.start()
        stack.push_async_callback(server.stop)
        self.addresses[name] = f"127.0.0.1:{bound.grpc}"

    def _pair(self, name: str) -> tuple[Path, Path]:
        cert, key = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        if not cert.exists():
            pair = self.authority.issue(
                uri=service_uri(TRUST_DOMAIN, name),
                dns=["localhost"],
                ips=["127.0.0.1"],
                server=True,
            )
            pair.save(self.folder, name)
        return cert, key


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    await process.wait()


def _port(path: Path) -> int:
    return int(json.loads(path.read_text())["grpc"])


async def settled(world: World, cell: str, revision: int) -> None:
    """Wait until a Cell is ready at a revision."""
    await world.model.until_condition(cell, "Ready", "TRUE", revision=revision)
