"""What the kernel knows of a process: read from ``/proc``, so that a reused pid isn't mistaken.

A pid alone names nothing for long; a pid with its start time names one process of this boot.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from cellplane.runtime.files import write_atomic

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessId:
    """One process of one boot."""

    pid: int
    start_time: int
    """Clock ticks since the boot (proc(5), stat, field 22)."""
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The process that has ``pid`` now; ``None`` if there is none, or only its corpse."""
        try:
            stat = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        # The name in parentheses may hold anything, spaces and parentheses too.
        fields = stat.rpartition(")")[2].split()
        if fields[0] in ("Z", "X"):
            return None
        return cls(pid=pid, start_time=int(fields[19]), boot=_boot())

    def alive(self) -> bool:
        """Whether it still runs."""
        return ProcessId.of(self.pid) == self

    def save(self, path: Path) -> None:
        """Write it to a file."""
        content = {"pid": self.pid, "start_time": self.start_time, "boot": self.boot}
        write_atomic(path, json.dumps(content).encode(), mode=0o644)

    @classmethod
    def load(cls, path: Path) -> ProcessId | None:
        """Read it from a file; ``None`` if the file is absent or not one of these."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                pid=int(content["pid"]),
                start_time=int(content["start_time"]),
                boot=str(content["boot"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None


def rss_bytes(pid: int) -> int:
    """Resident memory of a process; 0 if it is gone."""
    try:
        pages = (_PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
