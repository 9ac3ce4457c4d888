"""How long help takes, of each command: processor time and wall time, the best of ten.

The baseline is ``python -c 'import typer'`` in the same run. Processor time does not count what
others do on the machine. Usage: ``python -m tests.bench.help [ROUNDS]``.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time

from typer.main import get_command

from cellplane.cli.main import TABLE, app


def cost(rounds: int, *arguments: str) -> tuple[float, float]:
    """The least processor time and the least wall time, in milliseconds."""
    spent, waited = [], []
    for _ in range(rounds):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        waited.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent) * 1000, min(waited) * 1000


def commands() -> list[list[str]]:
    """Every command, and every one in it."""
    root = get_command(app)
    context = root.make_context("cellplane", [], resilient_parsing=True)
    found: list[list[str]] = [[]]
    for name in TABLE:
        command = root.get_command(context, name)  # type: ignore[attr-defined]
        found += [[name], *([name, own] for own in getattr(command, "commands", {}))]
    return [*found, ["sandbox", "up"], ["serve", "model"]]


def main() -> None:
    """Print a line for each command."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    baseline, _ = cost(rounds, "-c", "import typer")
    print(f"{'import typer':<30} {baseline:6.0f} ms cpu")
    for path in commands():
        cpu, wall = cost(rounds, "-m", "cellplane.cli", *path, "--help")
        name = " ".join(["cellplane", *path, "--help"])
        print(f"{name:<36} {cpu:6.0f} ms cpu {wall:6.0f} ms wall {cpu / baseline:5.2f} x")


if __name__ == "__main__":
    main()
