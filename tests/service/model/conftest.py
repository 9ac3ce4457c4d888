"""A model service, real on a real port, on a database of its own."""

from __future__ import annotations

import zoneinfo
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cellplane.model.__main__ import MIGRATIONS
from cellplane.model.service import serve_model
from cellplane.rpc.access import Roles
from cellplane.rpc.client import Channels
from cellplane.rpc.identity import service_uri, user_uri
from cellplane.rpc.server import Server, ServerOptions
from cellplane.rpc.tls import ClientTLS, ServerTLS
from cellplane.runtime.clock import SystemClock
from cellplane.runtime.pki import Authority
from cellplane.store.database import Database
from cellplane.testing.postgres import PostgresServer, postgresql
from tests.service.model.world import Api, platform

DOMAIN = "cellplane.local"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One real PostgreSQL for the session."""
    with postgresql(Path(__file__).parents[2] / "postgresql.lock") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/model.db"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


@asynccontextmanager
async def serving(
    tmp_path: Path,
    database_url: str,
    *,
    roles: Roles | None = None,
    users: Sequence[str] = (),
    **more: Any,
) -> AsyncIterator[Api]:
    """A model that serves, and users and a service that are connected to it."""
    authority = Authority.create("test")
    ca, _ = authority.save(tmp_path)
    cert, key = authority.issue(
        uri=service_uri(DOMAIN, "model"), ips=["127.0.0.1"], dns=["localhost"], server=True
    ).save(tmp_path, "model")
    user = authority.issue(uri=user_uri(DOMAIN, "admin")).save(tmp_path, "admin")
    placement = authority.issue(uri=service_uri(DOMAIN, "placement")).save(tmp_path, "placement")
    database = await Database.open(database_url, service="model", migrations=MIGRATIONS)
    server = Server(ServerOptions(tls=ServerTLS(ca=ca, cert=cert, key=key)), roles=roles)
    zones = zoneinfo.available_timezones()
    try:
        async with (
            serve_model(server, database, clock=SystemClock(), key=b"k" * 32, zones=zones, **more),
            Channels(ClientTLS(ca=ca, cert=user[0], key=user[1])) as admins,
            Channels(ClientTLS(ca=ca, cert=placement[0], key=placement[1])) as services,
            AsyncExitStack() as stack,
        ):
            ports = await server.start()
            target = f"127.0.0.1:{ports.grpc}"
            api = Api(
                user=admins.channel(target),
                service=services.channel(target),
                target=target,
                pki=tmp_path,
            )
            for name in users:
                own = authority.issue(uri=user_uri(DOMAIN, name)).save(tmp_path, name)
                tls = ClientTLS(ca=ca, cert=own[0], key=own[1])
                channels = await stack.enter_async_context(Channels(tls))
                api.others[name] = Api(user=channels.channel(target), service=api.service)
            yield api
            await server.stop()
    finally:
        await database.close()


@pytest_asyncio.fixture
async def api(tmp_path: Path, database_url: str) -> AsyncIterator[Api]:
    """A model that serves, as it is without settings."""
    async with serving(tmp_path, database_url) as made:
        yield made


@pytest_asyncio.fixture
async def shop(api: Api) -> Api:
    """The same, with an organization that can deploy."""
    await api.apply(*platform())
    return api
