"""Network policies over the wire, from a process of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from cellplane.api.network_policy.v1 import network_policy_pb2_grpc
from cellplane.api.type.v1 import compile_pb2, resolved_cell_pb2
from cellplane.rpc.client import Channels
from cellplane.rpc.identity import service_uri
from cellplane.rpc.server import read_ports
from cellplane.rpc.tls import ClientTLS
from cellplane.runtime.pki import Authority

ROOT = Path(__file__).parents[3]
DOMAIN = "cellplane.local"


@pytest.mark.asyncio
async def test_a_guard_comes_from_a_running_process(tmp_path: Path) -> None:
    """``python -m cellplane.network_policy`` serves a guard, and stops on a signal."""
    authority = Authority.create("tests")
    ca, _ = authority.save(tmp_path)
    cert, key = authority.issue(
        uri=service_uri(DOMAIN, "network_policy"),
        ips=["127.0.0.1"],
        dns=["localhost"],
        server=True,
    ).save(tmp_path, "server")
    own = authority.issue(uri=service_uri(DOMAIN, "placement")).save(tmp_path, "client")
    told = tmp_path / "ports.json"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'services'}:{ROOT / 'gen'}"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cellplane.network_policy",
        *(f"--tls-ca={ca}", f"--tls-cert={cert}", f"--tls-key={key}"),
        *(f"--state-dir={tmp_path}", f"--port-file={told}"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            # The process says when it serves; its ports are written by then.
            while (line := await process.stdout.readline()) and not told.exists():
                assert line
        ports = read_ports(told)
        assert ports is not None
        async with Channels(ClientTLS(ca=ca, cert=own[0], key=own[1])) as channels:
            stub = network_policy_pb2_grpc.NetworkPolicyServiceStub(
                channels.channel(f"127.0.0.1:{ports.grpc}")
            )
            answer = await stub.Compile(
                compile_pb2.CompileRequest(
                    cell=resolved_cell_pb2.ResolvedCell(
                        cell="organizations/acme/projects/shop/cells/dev",
                        frame=resolved_cell_pb2.CellFrame(namespace="cell-shop-dev-x"),
                    ),
                    data_plane=compile_pb2.DataPlaneProfile(
                        data_plane="plane-a", capabilities=["networkpolicy.cilium"]
                    ),
                    include_frame=True,
                )
            )
        assert [(m.kind, m.object) for m in answer.manifests] == [
            ("CiliumNetworkPolicy", "cell.default-deny")
        ]
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
