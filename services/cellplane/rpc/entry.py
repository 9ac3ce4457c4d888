"""How a service is run: read its settings, serve what it registers, stop gracefully.

``__main__`` of each service hands over its settings class and an async context manager that builds
its adapters and registers its servicers; nothing else constructs anything.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from cellplane.cell.problem import CellplaneError, Invalid
from cellplane.rpc.roles import RoleFile
from cellplane.rpc.server import Server, ServerOptions
from cellplane.runtime import logs
from cellplane.runtime.config import ServiceSettings
from cellplane.runtime.flags import load_from
from cellplane.runtime.tasks import run_until_signal

S = TypeVar("S", bound=ServiceSettings)


def run_service(
    settings: type[S],
    build: Callable[[S, Server], AbstractAsyncContextManager[None]],
    arguments: Sequence[str] | None = None,
) -> int:
    """Run one service until a signal; the exit code.

    *build* is entered before the port opens and left after it closed: it opens the database,
    registers servicers with ``Server.add``, and runs what works in the background.
    """
    try:
        loaded = load_from(settings, sys.argv[1:] if arguments is None else arguments)
    except Invalid as error:
        for problem in error.problems:
            sys.stderr.write(f"error: {problem.message}\n")
        if not error.problems:
            sys.stderr.write(f"error: {error}\n")
        return 2
    value = loaded.value
    logs.configure(value.log_level, value.log_format, value.service)

    async def serve(stop: asyncio.Event) -> None:
        roles = None if value.roles_file is None else RoleFile(value.roles_file)
        server = Server(ServerOptions.of(value), roles=roles)
        async with build(value, server):
            await server.start()
            await server.serve_until(stop)

    try:
        return run_until_signal(serve)
    except CellplaneError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
