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

from cellplane.rpc.client import Channels
from cellplane.rpc.identity import service_uri, user_uri
from cellplane.rpc.server import read_ports
from cellplane.rpc.tls import ClientTLS
from cellplane.runtime.pki import Authority
from tests.service.model.world import Api, component, platform

DOMAIN = "cellplane.local"


@asynccontextmanager
async def process(folder: Path, authority: Authority) -> AsyncIterator[tuple[Api, int]]:
    """A model that serves, and its process id."""
    ca, _ = authority.save(folder)
    cert, key = authority.issue(
        uri=service_uri(DOMAIN, "model"), ips=["127.0.0.1"], dns=["localhost"], server=True
    ).save(folder, "model")
    user = authority.issue(uri=user_uri(DOMAIN, "admin")).save(folder, "admin")
    port_file = folder / "ports.json"
    port_file.unlink(missing_ok=True)
    flags = {
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
