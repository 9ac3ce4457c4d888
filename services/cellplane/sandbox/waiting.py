"""Wait for facts that a program brings about, for as long as it runs."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from cellplane.sandbox import processes
from cellplane.sandbox.api import Unreachable
from cellplane.sandbox.processes import StartError

PATIENCE = 120.0
"""Seconds until a program that did not bring about a fact counts as failed."""


async def until(
    state: Path,
    program: str,
    fact: str,
    holds: Callable[[], Awaitable[bool]],
    *,
    patience: float = PATIENCE,
) -> None:
    """Wait until a fact holds that this program brings about. Raises StartError if it ends."""
    began = time.monotonic()
    while True:
        with contextlib.suppress(Unreachable):  # not yet, or no longer: then it has ended
            if await holds():
                return
        ended = processes.alive(state, program) is None
        if ended or time.monotonic() - began > patience:
            why = "ended" if ended else f"took more than {patience:.0f} s"
            raise StartError(
                f"{program} {why} before {fact}; the end of its log:\n"
                f"{processes.last_lines(state, program)}"
            )
        await asyncio.sleep(0.05)


async def answers(path: Path) -> bool:
    """Whether somebody accepts connections at this socket."""
    # Through the folder's descriptor: a socket's path has room for about a hundred characters.
    try:
        folder = os.open(path.parent, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"/proc/self/fd/{folder}/{path.name}")
            return True
    except OSError:
        return False
    finally:
        os.close(folder)
