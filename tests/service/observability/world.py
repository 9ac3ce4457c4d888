"""The observability service as its ``__main__`` builds it, with callers of every kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from cellplane.api.observability.v1 import health_pb2, health_pb2_grpc, telemetry_pb2_grpc
from cellplane.api.type.v1 import condition_pb2
from cellplane.observability.__main__ import build
from cellplane.observability.config import ObservabilitySettings
from cellplane.rpc.client import Channels
from cellplane.rpc.identity import service_uri, user_uri
from cellplane.rpc.server import Server, ServerOptions
from cellplane.rpc.tls import ClientTLS
from cellplane.runtime.pki import Authority

DOMAIN = "cellplane.local"
CELL = "organizations/acme/projects/shop/cells/dev"
HEALTH = f"{CELL}/health"


class World:
    """A running service; ``placement`` reports to it and ``admin`` asks it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self._folder = folder
        self._url = database_url
        self._authority = Authority.create("tests")
        self._ca, _ = self._authority.save(folder)
        self.placement: health_pb2_grpc.HealthServiceStub
        self.admin: health_pb2_grpc.HealthServiceStub
        self.telemetry: telemetry_pb2_grpc.TelemetryServiceStub

    @asynccontextmanager
    async def open(self) -> AsyncIterator[World]:
        """Run the service; may be entered again on the same state."""
        cert, key = self._authority.issue(
            uri=service_uri(DOMAIN, "observability"),
            ips=["127.0.0.1"],
            dns=["localhost"],
            server=True,
        ).save(self._folder, "observability")
        settings = ObservabilitySettings(
            tls_ca=self._ca,
            tls_cert=cert,
            tls_key=key,
            state_dir=self._folder / "state",
            database_url=self._url,
            admin_listen="",
            admin_grpc_listen="",
        )
        server = Server(ServerOptions.of(settings))
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(build(settings, server))
            await server.start()
            stack.push_async_callback(server.stop)
            target = f"127.0.0.1:{server.ports.grpc}"
            as_placement = await stack.enter_async_context(
                Channels(self._client(service_uri(DOMAIN, "placement"), "placement"))
            )
            as_admin = await stack.enter_async_context(
                Channels(self._client(user_uri(DOMAIN, "admin"), "admin"))
            )
            self.placement = health_pb2_grpc.HealthServiceStub(as_placement.channel(target))
            self.admin = health_pb2_grpc.HealthServiceStub(as_admin.channel(target))
            self.telemetry = telemetry_pb2_grpc.TelemetryServiceStub(as_placement.channel(target))
            yield self

    def _client(self, uri: str, name: str) -> ClientTLS:
        cert, key = self._authority.issue(uri=uri).save(self._folder, name)
        return ClientTLS(ca=self._ca, cert=cert, key=key)

    async def report(
        self,
        *objects: health_pb2.ObjectHealth,
        plane: str = "plane-a",
        revision: int = 1,
        delta: bool = False,
        removed: bool = False,
        events: list[health_pb2.Event] | None = None,
    ) -> None:
        """Report as placement does."""
        await self.placement.ReportCellHealth(
            health_pb2.ReportCellHealthRequest(
                name=HEALTH,
                health=health_pb2.DataPlaneHealth(
                    data_plane=plane, revision=revision, objects=objects
                ),
                delta=delta,
                removed=removed,
                events=events or [],
            )
        )

    async def health(self) -> dict[str, dict[str, str]]:
        """The health of each object on each data plane, as words."""
        answer = await self.admin.GetCellHealth(health_pb2.GetCellHealthRequest(name=HEALTH))
        return {
            plane.data_plane: {f"{o.kind}/{o.object}": word(o.health) for o in plane.objects}
            for plane in answer.data_planes
        }

    async def events(self) -> list[str]:
        """What happened, newest first, in words."""
        request = health_pb2.ListEventsRequest(parent=CELL, page_size=500)
        return [
            f"{e.data_plane} {e.object} {word(e.previous_health)}>{word(e.health)} {e.reason}"
            for e in (await self.admin.ListEvents(request)).events
        ]


def thing(
    name: str, health: str, reason: str = "", kind: str = "Deployment"
) -> health_pb2.ObjectHealth:
    """The health of one object."""
    return health_pb2.ObjectHealth(
        component="api",
        kind=kind,
        object=name,
        health=condition_pb2.Health.Value(f"HEALTH_{health}"),
        reason=reason,
    )


def word(health: condition_pb2.Health) -> str:
    """A health without the wire's prefix."""
    return condition_pb2.Health.Name(health).removeprefix("HEALTH_")
