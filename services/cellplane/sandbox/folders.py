"""The state folder of one cluster: whose it is, and who works on it now.

Only a folder that carries the sandbox's mark is ever changed or deleted; only an empty or a missing
one is ever marked.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from cellplane.sandbox.processes import StartError

_MARK = "cellplane-sandbox.json"
_LOCK = ".lock"
_PATIENCE = 180.0


def is_ours(state: Path) -> bool:
    """Whether the folder is a sandbox's."""
    return (state / _MARK).exists()


def claim(state: Path, name: str) -> None:
    """Make the folder a sandbox's, for its owner alone.

    Raises StartError where it belongs to something else.
    """
    if (
        not is_ours(state)
        and state.exists()
        and any(each.name != _LOCK for each in state.iterdir())
    ):
        raise StartError(f"{state} is not empty, and no sandbox; name another folder")
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    state.chmod(0o700)
    (state / _MARK).write_text(json.dumps({"name": name}))


@contextlib.asynccontextmanager
async def exclusive(state: Path) -> AsyncIterator[None]:
    """Hold the folder against other starts and stops. Raises StartError if another does not end."""
    began = time.monotonic()
    while (lock := _lock(state)) is None:
        if time.monotonic() - began > _PATIENCE:
            raise StartError(f"another start or stop has held {state} for {_PATIENCE:.0f} s")
        await asyncio.sleep(0.1)
    with lock:
        yield


def _lock(state: Path) -> IO[str] | None:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = state / _LOCK
    with contextlib.ExitStack() as undo:
        lock = undo.enter_context(path.open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A stop that ended in between has deleted the file that was just locked.
            if not os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return None
        except (BlockingIOError, FileNotFoundError):
            return None
        undo.pop_all()
        return lock
