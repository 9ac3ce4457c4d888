"""What is left of a build that is ended midway: nothing but Go's own build cache.

The compiler is a real one, and what it compiles small: the probe, which needs no other module.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_ended_build_leaves_no_compiler(tmp_path: Path, number: signal.Signals) -> None:
    """A build that is told to end takes the compiler with it; the next one goes on where it was."""
    objects = tmp_path / "go-build"
    environment = {
        **os.environ,
        "CELLPLANE_CACHE": str(tmp_path / "cache"),
        "GOCACHE": str(objects),
    }
    command = [sys.executable, "-m", "cellplane.sandbox", "build", "probe"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as first:
        _until(lambda: len(_compiled(objects)) > 20 and _running("/compile", tmp_path))
        first.send_signal(number)
        first.communicate(timeout=30)
    left = _compiled(objects)
    if number == signal.SIGKILL:
        # Only the kernel tidies up, and lets packages that are being compiled come to their end.
        assert first.returncode == -number
        _until(lambda: not _running("", tmp_path))
    else:
        assert first.returncode == 128 + number
        assert not _running("", tmp_path)
        assert not list((tmp_path / "cache" / "bin").iterdir())
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    program = Path(second.stdout.split()[1])
    assert subprocess.run([program], capture_output=True, check=False).returncode == 2
    assert [program.parent] == list((tmp_path / "cache" / "bin").iterdir())
    # What is compiled again gets its entry written again; what was cut off has to be.
    after = _compiled(objects)
    assert len(after) > len(left)
    assert len(left.items() & after.items()) > 0.8 * len(left)


def _compiled(objects: Path) -> dict[Path, int]:
    """The entries of Go's build cache, and when each was written."""
    entries = {}
    for path in objects.glob("??/*-a"):
        entries[path] = path.stat().st_mtime_ns
    return entries


def _running(program: str, below: Path) -> list[int]:
    """Processes of programs with this in their name that work in files of a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # ended meanwhile
            words = path.read_bytes().split(b"\0")
            if program.encode() in words[0] and any(str(below).encode() in word for word in words):
                found.append(int(path.parent.name))
    return found


def _until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)
