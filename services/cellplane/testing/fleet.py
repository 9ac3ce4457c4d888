"""Thousands of simulated agents in one process, for figures and for trying large fleets.

Each is a data plane of its own with a real join, certificate and stream; see ``agents``. Run it
against the control plane of your profile with ``python -m cellplane.testing.fleet --help``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from cellplane.runtime.tasks import run_until_signal
from cellplane.testing.agents import SIMULATED, Agent
from cellplane.testing.joining import join

_AT_ONCE = 16


class Granted(Protocol):
    """A join grant, as the API answers it."""

    name: str
    token: str
    join_address: str
    authority_digest: str


Grant = Callable[[str], Awaitable[Any]]
"""Makes a data plane of that id, and a grant for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A fleet at a moment. Everything in it is simulated but the link."""

    agents: int
    connected: int
    cells: int
    wants: int
    welcomes: int
    resumed_same: int
    bytes_sent: int
    bytes_received: int
    own_cpu_seconds: float
    """Of this process, since it began."""
    own_memory_mebibytes: float
    simulated: bool = True


class Fleet:
    """Simulated agents that stay connected."""

    def __init__(self, grant: Grant, rng: random.Random) -> None:
        self.agents: dict[str, Agent] = {}
        self._grant = grant
        self._rng = rng
        self._staying: list[asyncio.Task[None]] = []

    async def join(self, count: int, prefix: str = "simulated") -> None:
        """Make so many data planes, and an agent for each; none is connected yet."""
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(name: str) -> None:
            async with slots:
                granted = await self._grant(name)
                credentials = await join(
                    join_address=granted.join_address,
                    grant=granted.name,
                    token=granted.token,
                    authority_digest=granted.authority_digest,
                    cluster_uid=f"{prefix}-{name}",
                )
            self.agents[name] = Agent(credentials)

        async with asyncio.TaskGroup() as group:
            for number in range(len(self.agents), len(self.agents) + count):
                group.create_task(one(f"{prefix}-{number:05d}"))

    @asynccontextmanager
    async def staying(self) -> AsyncIterator[None]:
        """Keep all of them connected until left."""
        self._staying = [
            asyncio.create_task(agent.stay(random.Random(self._rng.random())))  # noqa: S311
            for agent in self.agents.values()
        ]
        try:
            yield
        finally:
            for task in self._staying:
                task.cancel()
            if self._staying:
                await asyncio.wait(self._staying)
            for agent in self.agents.values():
                await agent.disconnect()

    async def connected(self) -> float:
        """Wait until every agent is welcomed; answers after how many seconds."""
        began = time.monotonic()
        for agent in self.agents.values():
            await agent.until(lambda a=agent: a.is_connected, 600)  # type: ignore[misc]
        return time.monotonic() - began

    async def storm(self) -> float:
        """Break every stream at once; answers after how many seconds all are welcomed again."""
        seen = {name: len(agent.welcomes) for name, agent in self.agents.items()}
        began = time.monotonic()
        for agent in self.agents.values():
            agent.cut()
        for name, agent in self.agents.items():
            await agent.until(lambda a=agent, n=seen[name]: len(a.welcomes) > n, 600)  # type: ignore[misc]
        return time.monotonic() - began

    def figures(self) -> Figures:
        """The fleet now."""
        agents = list(self.agents.values())
        used = resource.getrusage(resource.RUSAGE_SELF)
        return Figures(
            agents=len(agents),
            connected=sum(a.is_connected for a in agents),
            cells=sum(len(a.stored) for a in agents),
            wants=sum(len(a.wants) for a in agents),
            welcomes=sum(len(a.welcomes) for a in agents),
            resumed_same=sum(bool(a.welcomes) and a.welcomes[-1].resume == 1 for a in agents),
            bytes_sent=sum(a.sent for a in agents),
            bytes_received=sum(a.received for a in agents),
            own_cpu_seconds=round(used.ru_utime + used.ru_stime, 2),
            own_memory_mebibytes=round(used.ru_maxrss / 1024, 1),
        )


def by_profile(client: Any, organization: str) -> Grant:
    """Grants of the control plane that a profile of the command line leads to."""
    from cellplane.cli.kinds import by_name

    plane, grant = by_name("DataPlane"), by_name("JoinGrant")

    async def granted(name: str) -> Any:
        parent = f"organizations/{organization}"
        full = f"{parent}/dataPlanes/{name}"
        await client.ensure(plane, plane.message(name=full, labels=SIMULATED))
        await client.delete(grant, f"{parent}/joinGrants/{name}", force=False, allow_missing=True)
        return await client.create(grant, parent, name, grant.message(data_plane=full))

    return granted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal; the exit code. Prints figures as a line of JSON every few seconds."""
    parser = argparse.ArgumentParser(
        prog="python -m cellplane.testing.fleet", description="Simulated agents, many of them."
    )
    parser.add_argument("count", type=int, help="how many")
    parser.add_argument("--prefix", default="simulated", help="how their data planes' ids begin")
    parser.add_argument("--profile", help="profile of the command line; the current one without")
    parser.add_argument("--organization", help="the profile's without")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between figures")
    parser.add_argument("--storm-every", type=float, default=0.0, help="break all streams, seconds")
    options = parser.parse_args(arguments)
    return run_until_signal(lambda stop: _run(options, stop))


async def _run(options: argparse.Namespace, stop: asyncio.Event) -> None:
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import Client

    profile = profiles.load(options.profile, options.organization)
    async with Client(profile) as client:
        fleet = Fleet(by_profile(client, profile.organization), random.Random())  # noqa: S311
        await fleet.join(options.count, options.prefix)
        async with fleet.staying():
            await fleet.connected()
            stormed = time.monotonic()
            while not stop.is_set():
                sys.stdout.write(json.dumps(asdict(fleet.figures())) + "\n")
                sys.stdout.flush()
                if options.storm_every and time.monotonic() - stormed > options.storm_every:
                    seconds = await fleet.storm()
                    stormed = time.monotonic()
                    sys.stdout.write(json.dumps({"storm_seconds": round(seconds, 2)}) + "\n")
                try:
                    async with asyncio.timeout(options.every):
                        await stop.wait()
                except TimeoutError:
                    continue


if __name__ == "__main__":
    sys.exit(main())
