"""The model as a process of its own: what it acknowledged outlives it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cellplane.api.model.v1 import component_pb2, resource_pb2
from cellplane.rpc.client import Channels
from cellplane.rpc.identity import service_uri, user_uri
from cellplane.rpc.server import read_ports
from cellplane.rpc.tls import ClientTLS
from cellplane.runtime.pki import Authority
from tests.service.model.world import ORG, Api, component, platform

DOMAIN = "cellplane.local"


def _make(folder: Path) -> None:
    folder.mkdir(exist_ok=True)


@asynccontextmanager
async def process(
    folder: Path, authority: Authority, *, database_url: str = ""
) -> AsyncIterator[tuple[Api, int]]:
    """A model that serves, and its process id."""
    _make(folder)
    ca, _ = authority.save(folder)
    cert, key = authority.issue(
        uri=service_uri(DOMAIN, "model"), ips=["127.0.0.1"], dns=["localhost"], server=True
    ).save(folder, "model")
    user = authority.issue(uri=user_uri(DOMAIN, "admin")).save(folder, "admin")
    port_file = folder / "ports.json"
    port_file.unlink(missing_ok=True)
    flags: dict[str, object] = {
        "listen": "127.0.0.1:0",
        "admin-listen": "",
        "admin-grpc-listen": "",
        "tls-ca": ca,
        "tls-cert": cert,
        "tls-key": key,
        "trust-domain": DOMAIN,
        "state-dir": folder / "state",
        "port-file": port_file,
    }
    if database_url:
        flags["database-url"] = database_url
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cellplane.model",
        *arguments,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert running.stdout is not None
    try:
        async with asyncio.timeout(60):
            while b"server.started" not in (line := await running.stdout.readline()):
                assert line, "the process ended"
        ports = read_ports(port_file)
        assert ports is not None
        tls = ClientTLS(ca=ca, cert=user[0], key=user[1])
        async with Channels(tls) as channels:
            channel = channels.channel(f"127.0.0.1:{ports.grpc}")
            yield Api(user=channel, service=channel), running.pid
    finally:
        if running.returncode is None:
            running.terminate()
        async with asyncio.timeout(30):
            await running.wait()


@pytest.mark.asyncio
async def test_a_killed_model_has_lost_nothing(tmp_path: Path) -> None:
    """After kill -9 in the middle of work, whatever was answered is there."""
    authority = Authority.create("test")
    async with process(tmp_path, authority) as (api, pid):
        await api.apply(*platform(), component("cart"))
        await api.apply(component("cart", image="app:2"))
        os.kill(pid, signal.SIGKILL)
    async with process(tmp_path, authority) as (api, _):
        cell = await api.resolved()

    assert cell.revision == 2
    assert cell.components[0].workload.image == "app:2"


class Follower:
    """Watches components; goes on where it was, with whichever process it is given."""

    def __init__(self) -> None:
        self.token = ""
        self.images: list[str] = []

    async def follow(self, api: Api, count: int) -> None:
        """Read until it knows of as many changes."""
        request = resource_pb2.WatchResourcesRequest(kinds=["Component"], resume_token=self.token)
        call = api.resources.WatchResources(request)
        async with asyncio.timeout(60):
            while len(self.images) < count:
                change = (await call.read()).change
                self.token = change.resume_token or self.token
                if change.type in (change.CREATED, change.UPDATED):
                    one = component_pb2.Component()
                    change.resource.Unpack(one)
                    self.images.append(one.workload.image)
        call.cancel()


@pytest.mark.asyncio
async def test_a_watcher_loses_nothing_when_a_replica_is_killed(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Two share a PostgreSQL and both are written to; one is killed: all is told once, in order."""
    url = request.getfixturevalue("postgres_server").new_database()
    authority, seen = Authority.create("test"), Follower()
    total, answered = 60, 0
    async with process(tmp_path / "b", authority, database_url=url) as (b, _):
        async with process(tmp_path / "a", authority, database_url=url) as (a, pid):
            await a.apply(*platform())
            await a.apply(component("cart", image="app:start"), component("other"))
            started = asyncio.create_task(seen.follow(a, 20))

            async def write() -> None:
                nonlocal answered
                for number in range(total):
                    # Both replicas take writes; one at a time here, so that their order is known.
                    writer = a if number % 2 and number < total // 2 else b
                    await writer.apply(component("cart", image=f"app:{number}"))
                    answered = number
                    if number == total // 2:
                        os.kill(pid, signal.SIGKILL)

            first = await a.components.ListComponents(
                component_pb2.ListComponentsRequest(parent=ORG + "/projects/-", page_size=1)
            )
            writing = asyncio.create_task(write())
            await started
            await writing
        assert answered == total - 1
        await seen.follow(b, total)
        again = component_pb2.ListComponentsRequest(
            parent=ORG + "/projects/-", page_size=1, page_token=first.next_page_token
        )
        assert len((await b.components.ListComponents(again)).components) == 1
    assert seen.images[-total:] == [f"app:{number}" for number in range(total)]
    assert len(seen.images) == len(set(seen.images))
