"""What happens while a control plane comes up: written by the supervisor, shown by ``up``.

One JSON object a line, appended and never changed, so that whoever reads later sees all of it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

_POLL = 0.1


class Step(Enum):
    """What a line tells."""

    DOING = "DOING"
    DONE = "DONE"
    READY = "READY"
    """Everything runs; nothing follows."""
    FAILED = "FAILED"
    """It can't come up; the text says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line."""

    step: Step
    text: str
    seconds: float
    """Since the start."""


class Journal:
    """Appends events to a file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._began = time.monotonic()
        path.write_text("")

    def write(self, step: Step, text: str) -> None:
        """Append one event; a reader sees whole lines only."""
        event = Event(step=step, text=text, seconds=round(time.monotonic() - self._began, 1))
        with self._path.open("a") as file:
            file.write(json.dumps({**asdict(event), "step": step.value}) + "\n")


async def follow(path: Path, alive: Callable[[], bool]) -> AsyncIterator[Event]:
    """Yield events as they are written, until the last one, or until the writer has died."""
    offset = 0
    while True:
        running = alive()
        data = _read(path)
        while (end := data.find(b"\n", offset)) >= 0:
            raw = json.loads(data[offset:end])
            offset = end + 1
            event = Event(step=Step(raw["step"]), text=raw["text"], seconds=raw["seconds"])
            yield event
            if event.step in {Step.READY, Step.FAILED}:
                return
        if not running:
            return
        # A file that grows for seconds, once in the life of a control plane: looking again is
        # simpler than watching it.
        await asyncio.sleep(_POLL)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
