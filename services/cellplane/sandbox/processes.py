"""Start programs that outlive the call, and end exactly those again.

A process is known by its id together with its start time and the machine's boot: an id alone may
have gone to somebody else. It is signalled through a pidfd, so that it cannot change in between.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)

_children: dict[int, "subprocess.Popen[bytes]"] = {}
"""This process's own children, as the kernel knows them: they must be waited for to vanish."""


class StartError(Exception):
    """A program did not start, or ended early; the message has the end of its log."""


def spawn(
    name: str,
    command: Sequence[str | Path],
    folder: Path,
    *,
    environment: Mapping[str, str],
    detached: bool,
) -> int:
    """Start a program in a session of its own; its process id.

    Below ``folder`` lie its output (``log/<name>.log``) and its identity (``run/<name>.json``), and
    it is its working directory. Unless ``detached`` it ends with the thread that called this.
    """
    log = _log(folder, name)
    log.parent.mkdir(exist_ok=True)
    record = _record(folder, name)
    record.parent.mkdir(exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            [*map(str, command)],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Takes no lock and allocates next to nothing, so other threads do no harm.
            preexec_fn=None if detached else end_with(os.getpid()),  # noqa: PLW1509
        )
    _children[child.pid] = child
    scratch = record.with_suffix(".new")
    scratch.write_text(json.dumps({"pid": child.pid, "started": _started(child.pid)}))
    scratch.rename(record)
    return child.pid


def alive(folder: Path, name: str) -> int | None:
    """The process id, if what was started under this name still runs."""
    opened = _open(folder, name)
    if opened is None:
        return None
    pid, descriptor = opened
    os.close(descriptor)
    return pid


def known(folder: Path) -> Sequence[str]:
    """The names of what was started in this folder, and not ended by ``end``."""
    return sorted(each.stem for each in (folder / "run").glob("*.json"))


async def end(folder: Path, names: Iterable[str], *, patience: float = 0.0) -> None:
    """End what was started under these names and still runs; then none of them does.

    Each gets ``patience`` seconds to end by itself before it is killed.
    """
    await asyncio.gather(*(_end(folder, name, patience) for name in names))


def last_lines(folder: Path, name: str, count: int = 12) -> str:
    """The end of a program's output."""
    with contextlib.suppress(FileNotFoundError):
        lines = _log(folder, name).read_text(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-count:])
    return ""


async def _end(folder: Path, name: str, patience: float) -> None:
    opened = _open(folder, name)
    if opened is not None:
        pid, descriptor = opened
        try:
            if patience > 0:
                _signal(descriptor, signal.SIGTERM)
                await _ended(descriptor, patience)
            _signal(descriptor, signal.SIGKILL)
            await _ended(descriptor, 10.0)
        finally:
            os.close(descriptor)
        if child := _children.pop(pid, None):
            child.wait()
    _record(folder, name).unlink(missing_ok=True)


def _open(folder: Path, name: str) -> tuple[int, int] | None:
    """The process id and a pidfd of what was started under this name, unless it is gone."""
    try:
        record = json.loads(_record(folder, name).read_text())
        pid, started = int(record["pid"]), str(record["started"])
        descriptor = os.pidfd_open(pid)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # Compared after the pidfd is open: from here on it cannot come to mean another process.
    if started and _started(pid) == started:
        return pid, descriptor
    os.close(descriptor)
    return None


def _started(pid: int) -> str:
    """What tells a process from any other that had or will have its id; empty if it has ended."""
    if child := _children.get(pid):
        child.poll()
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The second field is the program's name in parentheses, and may hold any character.
    fields = stat.rpartition(")")[2].split()
    state, ticks = fields[0], fields[19]
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "" if state in "ZX" else f"{boot}/{ticks}"


def _signal(descriptor: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(descriptor, number)


async def _ended(descriptor: int, seconds: float) -> None:
    """Wait until the process has ended, or the time is over."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), seconds)
    finally:
        loop.remove_reader(descriptor)


def end_with(parent: int) -> Callable[[], None]:
    """What a child runs before its program, to be killed when the parent's thread ends."""

    def in_child() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it ended before the kernel was asked
            os._exit(1)

    return in_child


def _record(folder: Path, name: str) -> Path:
    return folder / "run" / f"{name}.json"


def _log(folder: Path, name: str) -> Path:
    return folder / "log" / f"{name}.log"
