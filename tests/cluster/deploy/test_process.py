"""What the chart sets is enough: each service starts with it, answers its probes, and ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from cellplane.runtime.pki import Authority, KeyPair
from tests.cluster.deploy.charts import CONTROL_PLANE, HERE, ROOT, Helm, environment, of_kind

SERVICES = ("model", "placement", "network_policy", "gateway", "observability")
DEADLINE = 30.0


@pytest.mark.asyncio
@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_runs_as_the_chart_says(helm: Helm, tmp_path: Path, service: str) -> None:
    """A service with the chart's variables answers the kubelet without TLS, and ends on SIGTERM."""
    environ = await asyncio.to_thread(_environment, helm, tmp_path, service)
    admin = int(environ[f"CELLPLANE_{service.upper()}_ADMIN_LISTEN"].rpartition(":")[2])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"cellplane.{service}",
        env=environ,
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        deadline = time.monotonic() + DEADLINE
        while (status := await _status(admin, "/healthz")) != 200:
            assert process.returncode is None, (await process.communicate())[1].decode()
            assert time.monotonic() < deadline, status
            await asyncio.sleep(0.02)
        ready = await _status(admin, "/readyz")
        # Placement is ready once it follows the model service, which does not run here.
        assert ready == 200 or service == "placement"
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE):
            _, said = await process.communicate()
        assert process.returncode == 0, said.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _environment(helm: Helm, folder: Path, service: str) -> dict[str, str]:
    """The variables of the chart, with files and addresses of this machine."""
    objects = helm.render(CONTROL_PLANE, HERE / "values" / CONTROL_PLANE / "defaults.yaml")
    (deployment,) = (
        each
        for each in of_kind(objects, "Deployment")
        if each["metadata"]["labels"]["app.kubernetes.io/component"] == service.replace("_", "-")
    )
    authority = Authority.create("control plane")
    (folder / "ca.crt").write_bytes(authority.cert_pem)
    pair: KeyPair = authority.issue(
        uri=f"spiffe://cellplane.local/services/{service}", dns=["localhost"], server=True
    )
    pair.save(folder, "tls")
    environ = {
        "PYTHONPATH": f"{ROOT / 'services'}:{ROOT / 'gen'}",
        "PATH": os.environ["PATH"],
    }
    for name, value in environment(deployment).items():
        if name.endswith("_LISTEN"):
            environ[name] = f"127.0.0.1:{_free_port()}"
        elif value.startswith("/etc/cellplane/tls/"):
            environ[name] = str(folder / value.rpartition("/")[2])
        elif value == "/var/lib/cellplane":
            environ[name] = str(folder / "state")
        elif name.endswith("_ADDRESS"):
            environ[name] = "127.0.0.1:1"
        else:
            environ[name] = value
    (folder / "state").mkdir()
    return environ


async def _status(port: int, path: str) -> int:
    """What a probe gets; 0 while nobody answers."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return 0
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await writer.drain()
        answer = await reader.read()
    except ConnectionError:
        return 0
    finally:
        writer.close()
    return int(answer.split(b" ", 2)[1]) if answer else 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
