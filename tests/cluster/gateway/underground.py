"""A thread whose network and mounts are its own: what it starts can meet nobody else.

Namespaces belong to threads; sockets, children and workers that a thread makes inherit them. Its
event loop lives for as long as the block, and the kernel takes everything away with the last
process in it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

_NEW_NETWORK, _NEW_MOUNTS = 0x40000000, 0x00020000
_LIBC = ctypes.CDLL(None, use_errno=True)

T = TypeVar("T")


class Underground:
    """Runs coroutines below."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, T], *, seconds: float) -> T:
        """The result of *work*, from any thread above."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(seconds)
        finally:
            future.cancel()


@contextmanager
def underground(mounts: dict[Path, Path]) -> Iterator[Underground]:
    """A thread of namespaces of its own, in which each file of *mounts* is covered by another."""
    loop = asyncio.new_event_loop()
    opened: list[BaseException | None] = []
    ready = threading.Event()

    def live() -> None:
        try:
            _leave(mounts)
            opened.append(None)
        except BaseException as error:  # noqa: BLE001 - told to whoever waits above
            opened.append(error)
            return
        finally:
            ready.set()
        asyncio.set_event_loop(loop)
        loop.run_forever()

    thread = threading.Thread(target=live, name="underground")
    thread.start()
    ready.wait()
    try:
        if (error := opened[0]) is not None:
            raise error
        yield Underground(loop)
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def _leave(mounts: dict[Path, Path]) -> None:
    if _LIBC.unshare(_NEW_NETWORK | _NEW_MOUNTS) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    _do("mount", "--make-rprivate", "/")
    for place, file in mounts.items():
        _do("mount", "--bind", file, place)
    _do("ip", "link", "set", "lo", "up")


def _do(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)
