"""What many agents cost one placement: idle, and when all of them reconnect at once.

    python -m tests.bench.link 1000

Agents are simulated and say so; joins, certificates, streams and the placement process are real.
The best published figure for the same: 2,000 idle Envoys on one vCPU and 1.5 GB (istiod); for the
reconnect of 5,000 agents, none.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from cellplane.testing.fleet import Fleet
from tests.service.placement.world import World

IDLE = 30.0
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def mebibytes(pid: int) -> float:
    """Memory that a process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def measure(count: int, folder: Path) -> dict[str, Any]:
    """Join so many agents, let them be idle, break all streams."""
    world = World(folder)
    world.as_process = True
    async with world.open():
        assert world.process is not None
        pid = world.process.pid

        async def grant(name: str) -> Any:
            await world.create_plane(name)
            return await world.grant(name)

        empty = mebibytes(pid)
        fleet = Fleet(grant, random.Random(1))  # noqa: S311 - a seed
        began = time.monotonic()
        await fleet.join(count)
        joined = time.monotonic() - began
        async with fleet.staying():
            first = await fleet.connected()
            await asyncio.sleep(5)
            log = folder / "state" / "placement.db-wal"
            before, written, began = cpu_seconds(pid), log.stat().st_mtime_ns, time.monotonic()
            await asyncio.sleep(IDLE)
            idle = (cpu_seconds(pid) - before) / (time.monotonic() - began)
            quiet = log.stat().st_mtime_ns == written
            memory, before = mebibytes(pid), cpu_seconds(pid)
            storm = await fleet.storm()
            spent = cpu_seconds(pid) - before
            bytes_each = [a.sent + a.received for a in fleet.agents.values()]
        return {
            "agents": count,
            "simulated": True,
            "join_seconds": round(joined, 1),
            "first_connect_seconds": round(first, 1),
            "idle_cores": round(idle, 4),
            "idle_no_database_write": quiet,
            "memory_mebibytes": round(memory, 1),
            "memory_mebibytes_empty": round(empty, 1),
            "storm_seconds": round(storm, 2),
            "storm_cpu_seconds": round(spent, 2),
            "storm_payload_bytes_each_max": max(bytes_each),
        }


def main() -> None:
    """Print the figures as JSON."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(measure(count, Path(folder))), indent=2))


if __name__ == "__main__":
    main()
