"""A certificate authority, identities and servers on free ports for the tests of ``rpc``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cellplane.rpc.client import Channels
from cellplane.rpc.identity import agent_uri, service_uri, user_uri
from cellplane.rpc.server import Server, ServerOptions
from cellplane.rpc.tls import ClientTLS, ServerTLS
from cellplane.runtime.pki import Authority
from tests.service.rpc.echo import ECHO, Echo, Stub, add_echo

DOMAIN = "cellplane.local"


@dataclass
class Keys:
    """Certificates in a folder."""

    folder: Path
    authority: Authority

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    def server(self, *, require_client: bool = True) -> ServerTLS:
        cert, key = self.authority.issue(
            uri=service_uri(DOMAIN, "echo"), ips=["127.0.0.1"], dns=["localhost"], server=True
        ).save(self.folder, "server")
        return ServerTLS(ca=self.ca, cert=cert, key=key, require_client=require_client)

    def client(self, uri: str, name: str = "client") -> ClientTLS:
        cert, key = self.authority.issue(uri=uri).save(self.folder, name)
        return ClientTLS(ca=self.ca, cert=cert, key=key)


@dataclass
class Plane:
    """Runs servers and channels, and ends them with the test."""

    keys: Keys
    servers: list[Server] = field(default_factory=list)
    channels: list[Channels] = field(default_factory=list)

    async def serve(self, echo: Echo, **changes: Any) -> Server:
        rest = {name: changes.pop(name) for name in ("tracer_provider",) if name in changes}
        options = ServerOptions(**({"tls": self.keys.server()} | changes))
        server = Server(options, **rest)
        server.add(ECHO, add_echo, echo)
        await server.start()
        self.servers.append(server)
        return server

    def dial(self, server: Server, tls: ClientTLS | None) -> Any:
        channels = Channels(tls, default_timeout=10)
        self.channels.append(channels)
        return channels.channel(f"127.0.0.1:{server.ports.grpc}")

    def as_user(self, server: Server, user: str = "admin") -> Stub:
        return Stub(self.dial(server, self.keys.client(user_uri(DOMAIN, user), user)))

    def as_agent(self, server: Server) -> Stub:
        return Stub(self.dial(server, self.keys.client(agent_uri(DOMAIN, "acme", "uid-1"))))


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    authority = Authority.create("tests")
    authority.save(tmp_path)
    return Keys(tmp_path, authority)


@pytest_asyncio.fixture
async def plane(keys: Keys) -> AsyncIterator[Plane]:
    plane = Plane(keys)
    yield plane
    for channels in plane.channels:
        await channels.close()
    for server in plane.servers:
        await server.stop()


Serve = Callable[..., Awaitable[Server]]
