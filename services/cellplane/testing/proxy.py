"""A line between agents and a control plane that fails when told to: TCP, in front of any server.

TLS goes through untouched, so nothing needs to trust it. With several upstreams it is a balancer
that takes one that answers. Run it by hand with ``python -m cellplane.testing.proxy --help``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from cellplane.runtime.tasks import run_until_signal

_CHUNK = 16 * 1024
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How the line is."""

    delay: float = 0.0
    """Seconds that everything is later, each way."""
    jitter: float = 0.0
    """Seconds more, at most; order is kept, as TCP does."""
    bytes_per_second: float = 0.0
    """0: as fast as it goes."""
    half_open: bool = False
    """Connections stay, and nothing comes through: neither side is told."""
    partition: bool = False
    """No connection is taken, and those that are there break."""
    cut_every: float = 0.0
    """Seconds after which a connection breaks, on average; 0: never."""


@dataclass(slots=True)
class Traffic:
    """What went through, in bytes."""

    up: int = 0
    down: int = 0
    connections: int = 0


class TcpProxy:
    """Listens, and passes on."""

    def __init__(self, upstreams: Sequence[str], rng: random.Random) -> None:
        """``upstreams`` are tried in a random order for each connection."""
        self.upstreams = list(upstreams)
        self.weather = Weather()
        self.traffic = Traffic()
        self.address = ""
        self._rng = rng
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self, listen: str = "127.0.0.1:0") -> AsyncIterator[TcpProxy]:
        """Pass on until left."""
        host, _, port = listen.rpartition(":")
        server = await asyncio.start_server(self._accept, host, int(port))
        bound = server.sockets[0].getsockname()
        self.address = f"{bound[0]}:{bound[1]}"
        try:
            yield self
        finally:
            server.close()
            await self.cut()
            await server.wait_closed()

    async def become(self, weather: Weather) -> None:
        """Change how the line is, at once."""
        self.weather = weather
        self._changed.set()
        self._changed = asyncio.Event()
        if weather.partition:
            await self.cut()

    async def cut(self) -> None:
        """Break every connection."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.CancelledError):
            if self.weather.partition:
                writer.transport.abort()
                return
            found = await self._dial()
            if found is None:
                writer.transport.abort()
                return
            self.traffic.connections += 1
            there, back = found
            try:
                await self._both(reader, writer, there, back)
            finally:
                # Neither side gets a polite end.
                back.transport.abort()
                writer.transport.abort()

    async def _both(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        tasks = {
            asyncio.create_task(self._pump(reader, back, up=True)),
            asyncio.create_task(self._pump(there, writer, up=False)),
        }
        every = self.weather.cut_every
        timeout = self._rng.expovariate(1 / every) if every else None
        try:
            await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for upstream in self._rng.sample(self.upstreams, len(self.upstreams)):
            host, _, port = upstream.rpartition(":")
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    return await asyncio.open_connection(host, int(port))
        return None

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, up: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(_CHUNK):
                while self.weather.half_open:
                    await self._changed.wait()
                weather = self.weather
                late = weather.delay + self._rng.random() * weather.jitter
                if weather.bytes_per_second:
                    late += len(data) / weather.bytes_per_second
                if late:
                    await asyncio.sleep(late)
                sink.write(data)
                await sink.drain()
                self.traffic.up += len(data) if up else 0
                self.traffic.down += 0 if up else len(data)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m cellplane.testing.proxy", description="A TCP line that fails as told."
    )
    parser.add_argument("listen", help="host:port to listen at")
    parser.add_argument("upstream", nargs="+", help="host:port to pass on to; several: any of them")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds later, each way")
    parser.add_argument("--jitter", type=float, default=0.0, help="seconds more, at most")
    parser.add_argument("--bytes-per-second", type=float, default=0.0, help="a slow line")
    parser.add_argument("--half-open", action="store_true", help="nothing comes through")
    parser.add_argument("--partition", action="store_true", help="nothing is taken")
    parser.add_argument("--cut-every", type=float, default=0.0, help="mean life of a connection, s")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same faults")
    options = parser.parse_args(arguments)
    weather = replace(
        Weather(),
        **{name: getattr(options, name) for name in Weather.__dataclass_fields__},
    )

    async def serve(stop: asyncio.Event) -> None:
        proxy = TcpProxy(options.upstream, random.Random(options.seed))  # noqa: S311 - a seed
        await proxy.become(weather)
        async with proxy.running(options.listen):
            sys.stderr.write(f"{proxy.address} leads to {', '.join(options.upstream)}\n")
            await stop.wait()

    return run_until_signal(serve)


if __name__ == "__main__":
    sys.exit(main())
