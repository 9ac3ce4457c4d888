"""How long a process takes to serve again, on the state that it left: each service, and an agent.

From the start of the process until it writes its port file, which a service does when its health is
``SERVING`` and an agent when it is connected. Prints the best and the median of some rounds, wall
time and processor time (which does not count what others do on the machine), beside the time that
``python -c 'import grpc.aio'`` takes in the same run.

Usage: ``python -m tests.bench.restart [ROUNDS]``.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cellplane.cli.local import commands, credentials
from cellplane.cli.local.layout import SERVICES, Layout
from tests.service.cli.conftest import free_base_port

_TICK = os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(
    argv: Sequence[str], ready: Path, log: Path, env: Mapping[str, str]
) -> Iterator[tuple[float, float]]:
    """Start a process and wait until it is ready: seconds that passed, and that it computed."""
    ready.unlink(missing_ok=True)
    began = time.perf_counter()
    with log.open("ab") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, env={**os.environ, **env})
    try:
        while not ready.exists():
            if process.poll() is not None or time.perf_counter() - began > 120:
                raise RuntimeError(f"{argv[2]} is not ready: see {log}")
            time.sleep(0.002)
        waited = time.perf_counter() - began
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        yield waited, (int(fields[11]) + int(fields[12])) / _TICK
    finally:
        process.terminate()
        process.wait(60)


def report(name: str, times: Sequence[tuple[float, float]], baseline: float) -> None:
    """One line: wall time and processor time."""
    wall = [wall for wall, _ in times]
    cpu = [cpu for _, cpu in times]
    print(
        f"{name:<16} wall best {min(wall):5.2f} s median {statistics.median(wall):5.2f} s"
        f"   cpu best {min(cpu):5.2f} s median {statistics.median(cpu):5.2f} s"
        f"   {min(cpu) / baseline:4.1f} x",
        flush=True,
    )


def import_cost(rounds: int) -> float:
    """Seconds of processor time that gRPC alone takes."""
    program = "import grpc.aio, time; print(time.process_time())"
    return min(
        float(subprocess.check_output([sys.executable, "-c", program])) for _ in range(rounds)
    )


def agent(layout: Layout, target: Path, rounds: int) -> list[tuple[float, float]]:
    """Restarts of an agent that has joined; its target is a folder."""
    made = subprocess.check_output(
        [sys.executable, "-m", "cellplane.cli", "dataplane", "join", "paper", f"--folder={target}"],
        env={**os.environ, "CELLPLANE_STATE": str(layout.root)},
        text=True,
    )
    token, *words = shlex.split(made.replace("\\\n", ""))
    name, _, secret = token.partition("=")
    ready = layout.ready_file("agent-paper")
    argv = [sys.executable, "-m", "cellplane.agent", *words[3:]]
    argv += [f"--state-dir={layout.state('agent-paper')}", f"--port-file={ready}"]
    times = []
    for _ in range(rounds + 1):
        with running(argv, ready, layout.logs / "agent.log", {name: secret}) as taken:
            times.append(taken)
    return times[1:]


def main() -> None:
    """Print a line for each process."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with tempfile.TemporaryDirectory() as folder:
        layout = Layout(root=Path(folder) / "state", base_port=free_base_port())
        layout.logs.mkdir(parents=True)
        credentials.ensure(layout, organization="acme")
        baseline = import_cost(rounds)
        print(f"import grpc.aio  cpu best {baseline:5.2f} s")
        for name in SERVICES:
            command = commands.service(layout, name)
            times = []
            for _ in range(rounds + 1):
                with running(command.argv, layout.ready_file(name), command.log, {}) as taken:
                    times.append(taken)
            # The first one made the state.
            report(name, times[1:], baseline)
        command = commands.service(layout, "placement")
        with running(command.argv, layout.ready_file("placement"), command.log, {}):
            report("agent (folder)", agent(layout, Path(folder) / "manifests", rounds), baseline)


if __name__ == "__main__":
    main()
