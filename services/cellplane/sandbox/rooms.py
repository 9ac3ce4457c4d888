"""Rooms: processes that hold kernel namespaces of their own, for the time that they live.

What happens in a room (networks, mounts, programs in the kernel, processes) is reachable from there
alone, and the kernel takes all of it away when the room's first process ends, however that comes.
"""

import asyncio
import contextlib
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cellplane.sandbox import processes
from cellplane.sandbox.processes import StartError

_PATIENCE = 20.0

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}

_NETWORK = ("--net",)
_MACHINE = ("--net", "--mount", "--pid", "--ipc", "--uts", "--mount-proc", "--propagation=private")
_FURNISH = """set -eu
if [ "$3" = machine ]; then
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir /run/cilium /run/cni /run/containerd /run/netns
  mount -t bpf bpf /sys/fs/bpf
fi
echo 1 > /proc/sys/net/ipv4/ip_forward
ip link set lo up
: > "$1"
exec "$2"
"""
"""What the first process does before it does nothing: ``/run`` is what hosts would share most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """An open room."""

    name: str
    state: Path
    """The folder of the cluster that it belongs to."""
    pid: int
    """Its first process."""
    network_only: bool
    detached: bool

    def entering(self, *command: str | Path) -> Sequence[str | Path]:
        """The command, to be run in the room."""
        into = ("--net",) if self.network_only else ("--all",)
        return ["nsenter", f"--target={self.pid}", *into, "--", *command]

    async def run(self, *command: str | Path, given: str = "") -> str:
        """Run a command to its end; its standard output. Raises StartError."""
        process = await asyncio.create_subprocess_exec(
            *self.entering(*command),
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            out, err = await process.communicate(given.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            what = " ".join(map(str, command))
            raise StartError(f"{what} failed in {self.name}: {err.decode().strip()}")
        return out.decode()

    def spawn(
        self,
        program: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start a program in the room; its log and record bear the room's name and this one."""
        processes.spawn(
            f"{self.name}.{program}",
            self.entering(*command),
            self.state,
            environment={**ENVIRONMENT, "HOME": str(self.state), **(environment or {})},
            detached=self.detached,
        )

    def path(self, inside: str) -> Path:
        """A file of the room, seen from outside; short enough for a socket."""
        return Path(f"/proc/{self.pid}/root{inside}")


async def open_room(
    name: str, state: Path, pause: Path, *, network_only: bool, detached: bool
) -> Room:
    """Make a room; ``pause`` is a program that does nothing and reaps. Raises StartError."""
    furnished = state / "run" / f"{name}.furnished"
    furnished.unlink(missing_ok=True)
    namespaces = _NETWORK if network_only else _MACHINE
    kind = "network" if network_only else "machine"
    outer = processes.spawn(
        name,
        [
            *("unshare", *namespaces, "--fork", "--kill-child=SIGKILL"),
            *("/bin/sh", "-c", _FURNISH, "sh", furnished, pause, kind),
        ],
        state,
        environment=ENVIRONMENT,
        detached=detached,
    )
    began = time.monotonic()
    while not furnished.exists():
        if processes.alive(state, name) is None or time.monotonic() - began > _PATIENCE:
            raise StartError(
                f"{name} could not be given namespaces of its own:\n"
                f"{processes.last_lines(state, name)}"
            )
        await asyncio.sleep(0.02)
    furnished.unlink()
    return Room(
        name=name,
        state=state,
        pid=_children(outer)[0],
        network_only=network_only,
        detached=detached,
    )


async def close_room(state: Path, name: str) -> None:
    """End the room with all that runs in it; then none of its processes is left."""
    outer = processes.alive(state, name)
    with contextlib.ExitStack() as opened:
        inner: list[int] = []
        for pid in _children(outer) if outer else []:
            with contextlib.suppress(ProcessLookupError):
                inner.append(os.pidfd_open(pid))
                opened.callback(os.close, inner[-1])
        await processes.end(state, [name])
        for descriptor in inner:
            # The first process of a process namespace ends after all others.
            await asyncio.to_thread(select.select, [descriptor], [], [], _PATIENCE)
    await processes.end(state, [each for each in processes.known(state) if _within(each, name)])


def _within(record: str, room: str) -> bool:
    return record.startswith(f"{room}.")


def _children(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
