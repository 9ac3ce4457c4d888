"""Unary Get at saturation against a bare grpcio echo of the same size, in the same run.

Run: ``python tests/bench/get_saturation.py [--seconds 3] [--rounds 3] [--sqlite] [--profile]``.

Both servers are processes of their own behind the same mutual TLS; one after the other is asked by
the same two client processes, many calls at once, round by round. The echo is ``grpc.aio`` with a
handler that answers bytes. Throughput is what the clients counted; beside it stands the time that
the server's process was on a CPU for each call, which other work on the machine disturbs less.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "services"), str(ROOT / "gen")]

import grpc  # noqa: E402
import grpc.aio  # noqa: E402

METHOD = "/cellplane.api.model.v1.ComponentService/GetComponent"
CLIENTS, FLIGHT = 2, 48


def credentials(folder: Path, name: str) -> tuple[bytes, bytes, bytes]:
    """Authority, certificate and key of a process."""
    return tuple((folder / f).read_bytes() for f in ("ca.crt", f"{name}.crt", f"{name}.key"))  # type: ignore[return-value]


async def serve_echo(folder: Path, size: int) -> None:
    """The bare server: bytes in, bytes out."""
    answer = b"x" * size

    async def echo(_request: bytes, _context: Any) -> bytes:
        return answer

    class Handler(grpc.GenericRpcHandler):  # type: ignore[type-arg]
        def service(self, _details: Any) -> Any:
            return handler

    handler = grpc.unary_unary_rpc_method_handler(echo)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    ca, cert, key = credentials(folder, "model")
    port = server.add_secure_port(
        "127.0.0.1:0",
        grpc.ssl_server_credentials([(key, cert)], ca, require_client_auth=True),
    )
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


async def ask(folder: Path, port: int, name: str, count: int, seconds: float) -> None:
    """One client: calls for a while, and prints how many were answered and how long they took."""
    ca, cert, key = credentials(folder, "admin")
    secure = grpc.ssl_channel_credentials(ca, key, cert)
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", secure) as channel:
        call: Any = channel.unary_unary(METHOD)
        raws = [_request(f"{name}{number}") for number in range(count)]
        await call(raws[0], timeout=10)
        end = time.perf_counter() + seconds
        took: list[float] = []

        async def one(number: int) -> None:
            while (begun := time.perf_counter()) < end:
                number = (number * 7 + 1) % count
                await call(raws[number], timeout=10)
                took.append(time.perf_counter() - begun)

        await asyncio.gather(*map(one, range(FLIGHT)))
    print(len(took), statistics.median(took), flush=True)


def _request(name: str) -> bytes:
    from cellplane.api.model.v1 import component_pb2

    return component_pb2.GetComponentRequest(name=name).SerializeToString()


def on_cpu(pid: int) -> float:
    """Seconds that a process was on a CPU."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(
    folder: Path, port: int, name: str, seconds: float, pid: int
) -> tuple[float, float, float]:
    """Calls a second, microseconds on a CPU for each, and the median in milliseconds."""
    before = on_cpu(pid)
    arguments = [sys.executable, __file__, "ask", str(folder), str(port), name, str(seconds)]
    clients = [
        subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(CLIENTS)
    ]
    said = [client.communicate(timeout=120)[0].split() for client in clients]
    count = sum(int(words[0]) for words in said)
    median = statistics.mean(float(words[1]) for words in said)
    return count / seconds, 1e6 * (on_cpu(pid) - before) / count, 1000 * median


async def prepare(folder: Path, port: int) -> tuple[str, int]:
    """Write components; their names without number, and the size of one answer."""
    from cellplane.api.model.v1 import component_pb2
    from cellplane.rpc.client import Channels
    from cellplane.rpc.tls import ClientTLS
    from tests.service.model.world import SHOP, Api, component, endpoint, platform

    tls = ClientTLS(ca=folder / "ca.crt", cert=folder / "admin.crt", key=folder / "admin.key")
    async with Channels(tls) as channels:
        channel = channels.channel(f"127.0.0.1:{port}")
        api = Api(user=channel, service=channel)
        some = [component(f"c{i}", endpoints=[endpoint()]) for i in range(100)]
        await api.apply(*platform(), *some)
        one = await api.components.GetComponent(
            component_pb2.GetComponentRequest(name=f"{SHOP}/components/c1")
        )
    return f"{SHOP}/components/c", one.ByteSize()


def start_model(folder: Path, url: str, *, profile: bool) -> tuple[subprocess.Popen[str], int]:
    """A model as it runs anywhere; its log goes to a file."""
    port_file = folder / "ports.json"
    flags = [
        "--listen=127.0.0.1:0", "--admin-listen=", "--admin-grpc-listen=",
        f"--tls-ca={folder / 'ca.crt'}", f"--tls-cert={folder / 'model.crt'}",
        f"--tls-key={folder / 'model.key'}", f"--state-dir={folder / 'state'}",
        f"--port-file={port_file}", f"--database-url={url}",
    ]  # fmt: skip
    run = ["-m", "cProfile", "-o", "/tmp/model.prof"] if profile else []
    with (folder / "model.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *run, "-m", "cellplane.model", *flags], stderr=log, text=True
        )
    from cellplane.rpc.server import read_ports

    while (ports := read_ports(port_file)) is None:
        if process.poll() is not None:
            raise SystemExit((folder / "model.log").read_text())
        time.sleep(0.05)
    return process, ports.grpc


def main() -> None:
    """Print the table."""
    from cellplane.rpc.identity import service_uri, user_uri
    from cellplane.runtime.pki import Authority
    from cellplane.testing.postgres import postgresql

    seconds = float(sys.argv[sys.argv.index("--seconds") + 1]) if "--seconds" in sys.argv else 3
    rounds = int(sys.argv[sys.argv.index("--rounds") + 1]) if "--rounds" in sys.argv else 3
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        authority = Authority.create("bench")
        authority.save(folder)
        authority.issue(
            uri=service_uri("cellplane.local", "model"), ips=["127.0.0.1"], server=True
        ).save(folder, "model")
        authority.issue(uri=user_uri("cellplane.local", "admin")).save(folder, "admin")
        url = ""
        if "--sqlite" not in sys.argv:
            url = stack.enter_context(postgresql(ROOT / "tests" / "postgresql.lock")).new_database()
        model, port = start_model(folder, url, profile="--profile" in sys.argv)
        stack.callback(model.wait)
        stack.callback(model.terminate)
        name, size = asyncio.run(prepare(folder, port))
        echo = subprocess.Popen(
            [sys.executable, __file__, "echo", str(folder), str(size)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        stack.callback(echo.wait)
        stack.callback(echo.kill)
        assert echo.stdout is not None
        echo_port = int(echo.stdout.readline())
        print(f"answers of {size} bytes, {CLIENTS} clients with {FLIGHT} calls in flight each")
        rates, costs = [], []
        for number in range(rounds):
            bare = load(folder, echo_port, name, seconds, echo.pid)
            ours = load(folder, port, name, seconds, model.pid)
            rates.append(ours[0] / bare[0])
            costs.append(bare[1] / ours[1])
            for word, (rate, cost, median) in (("echo", bare), ("Get", ours)):
                rest = f"{cost:6.0f} us cpu  p50 {median:5.1f} ms"
                print(f"round {number}  {word:5} {rate:7.0f}/s  {rest}")
        print(f"Get reaches {statistics.median(rates):.0%} of the echo's calls a second,")
        print(f"and {statistics.median(costs):.0%} of its calls for each second on a CPU")


if __name__ == "__main__":
    match sys.argv[1:2]:
        case ["echo"]:
            asyncio.run(serve_echo(Path(sys.argv[2]), int(sys.argv[3])))
        case ["ask"]:
            asyncio.run(
                ask(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], 100, float(sys.argv[5]))
            )
        case _:
            main()
