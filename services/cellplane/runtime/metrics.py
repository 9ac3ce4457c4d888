"""What a process says of itself: metrics, and whether it lives and is ready, over plain HTTP.

A small handler of one request per connection, for scrapers and probes on a loopback or cluster
address; it reads no bodies and serves three paths.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Check = Callable[[], Awaitable[str]]
"""Answers an empty text when all is well, else what is wrong."""

_TIMEOUT = 5.0
_MAX_HEAD = 8192


def new_registry() -> CollectorRegistry:
    """A registry with the process's own figures in it."""
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class Readiness:
    """Named checks that must all pass before a process gets traffic."""

    __slots__ = ("_checks", "_stopping")

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._stopping = False

    def add(self, name: str, check: Check) -> None:
        """Add a check; it should answer within a second, and never change anything."""
        self._checks[name] = check

    def stop(self) -> None:
        """Never ready again: the process is ending."""
        self._stopping = True

    async def failures(self) -> Mapping[str, str]:
        """What is wrong, by check; empty when ready."""
        found = {"process": "is stopping"} if self._stopping else {}
        for name, check in self._checks.items():
            try:
                async with asyncio.timeout(1.0):
                    wrong = await check()
            except TimeoutError:
                wrong = "did not answer within 1s"
            except Exception as error:  # noqa: BLE001 - a check that breaks is a check that fails
                wrong = f"{type(error).__name__}: {error}"
            if wrong:
                found[name] = wrong
        return found


class AdminServer:
    """Serves ``/metrics``, ``/healthz`` and ``/readyz``."""

    def __init__(self, registry: CollectorRegistry, readiness: Readiness) -> None:
        self._registry = registry
        self._readiness = readiness
        self._server: asyncio.Server | None = None

    async def start(self, listen: str) -> int:
        """Listen on ``host:port``; returns the bound port."""
        host, _, port = listen.rpartition(":")
        self._server = await asyncio.start_server(
            self._serve, host.strip("[]") or None, int(port), limit=_MAX_HEAD
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                head = await reader.readuntil(b"\r\n\r\n")
                status, kind, body = await self._answer(head)
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                )
                if not head.startswith(b"HEAD "):
                    writer.write(body)
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # a prober that went away, or never was one
        finally:
            writer.close()

    async def _answer(self, head: bytes) -> tuple[str, str, bytes]:
        plain = "text/plain; charset=utf-8"
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or words[0] not in ("GET", "HEAD"):
            return "405 Method Not Allowed", plain, b"only GET and HEAD\n"
        match words[1].partition("?")[0]:
            case "/metrics":
                return "200 OK", CONTENT_TYPE_LATEST, generate_latest(self._registry)
            case "/healthz":
                return "200 OK", plain, b"ok\n"
            case "/readyz":
                failures = await self._readiness.failures()
                if not failures:
                    return "200 OK", plain, b"ok\n"
                lines = "".join(f"{name}: {wrong}\n" for name, wrong in failures.items())
                return "503 Service Unavailable", plain, lines.encode()
            case _:
                return "404 Not Found", plain, b"try /metrics, /healthz or /readyz\n"
