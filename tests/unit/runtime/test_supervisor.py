"""Real children: started, ready, killed, restarted, stopped, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from cellplane.cell.problem import Unavailable
from cellplane.runtime.processes import ProcessId
from cellplane.runtime.supervisor import ChildStatus, Command, Supervisor

DEADLINE = 20
POLL = 0.02

# Tells that it runs by touching a file, and how it was ended by writing to its log.
CHILD = """
import pathlib, signal, sys, time
def stop(*_):
    print("stopped", flush=True)
    sys.exit(0)
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, stop)
pathlib.Path(sys.argv[1]).touch()
if "crash" in sys.argv:
    sys.exit(3)
print("running", flush=True)
while True:
    time.sleep(60)
"""


def command(folder: Path, name: str, *args: str, grace: float = 10) -> Command:
    """A child that is ready once it has touched its file."""
    mark = folder / f"{name}.ready"

    async def ready() -> bool:
        return mark.exists()

    return Command(
        name=name,
        argv=[sys.executable, "-c", CHILD, str(mark), *args],
        log=folder / f"{name}.log",
        ready=ready,
        grace=timedelta(seconds=grace),
    )


async def until(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(DEADLINE):
        while not true():  # noqa: ASYNC110 - the kernel sets no event
            await asyncio.sleep(POLL)


def only(supervisor: Supervisor) -> ChildStatus:
    (status,) = supervisor.status()
    return status


@pytest.mark.asyncio
async def test_children_start_and_stop_in_order(tmp_path: Path) -> None:
    """Children are ready when start returns, tell of themselves, and all end."""
    async with Supervisor(tmp_path / "run") as supervisor:
        for name in ("a", "b"):
            await supervisor.start(command(tmp_path, name))
        status = supervisor.status()
        assert [child.name for child in status] == ["a", "b"]
        assert all(child.ready and child.rss_bytes > 0 for child in status)
        ids = [ProcessId.of(child.pid) for child in status]
        assert (tmp_path / "run" / "a.pid").exists()
    assert all(found is not None and not found.alive() for found in ids)
    assert "stopped" in (tmp_path / "a.log").read_text(encoding="utf-8")
    assert not list((tmp_path / "run").glob("*.pid"))


@pytest.mark.asyncio
async def test_a_killed_child_is_back_within_a_second(tmp_path: Path) -> None:
    """A child that is killed -9 runs again in less than a second."""
    async with Supervisor(tmp_path / "run") as supervisor:
        await supervisor.start(command(tmp_path, "a"))
        before = only(supervisor).pid
        os.kill(before, signal.SIGKILL)
        began = time.monotonic()
        await until(lambda: only(supervisor).pid not in (0, before))
        assert time.monotonic() - began < 1.0
        await until(lambda: only(supervisor).ready)
        assert only(supervisor).restarts == 1
        assert only(supervisor).last_exit == -signal.SIGKILL


@pytest.mark.asyncio
async def test_a_child_that_is_never_ready_is_named(tmp_path: Path) -> None:
    """A child that isn't ready in time is an error that names its log."""

    async def never() -> bool:
        raise ConnectionRefusedError

    async with Supervisor(tmp_path / "run") as supervisor:
        child = Command(
            name="a",
            argv=[sys.executable, "-c", "import time; time.sleep(60)"],
            log=tmp_path / "a.log",
            ready=never,
            ready_within=timedelta(milliseconds=200),
        )
        with pytest.raises(Unavailable) as late:
            await supervisor.start(child)
        assert str(tmp_path / "a.log") in late.value.message


@pytest.mark.asyncio
async def test_a_child_that_crashes_is_tried_again(tmp_path: Path) -> None:
    """A child that always crashes is started again and again, its exit code kept."""
    async with Supervisor(tmp_path / "run") as supervisor:
        await supervisor.start(command(tmp_path, "a", "crash"))
        await until(lambda: only(supervisor).restarts >= 2)
        assert only(supervisor).last_exit == 3


@pytest.mark.asyncio
async def test_a_command_that_does_not_exist(tmp_path: Path) -> None:
    """A command that can't be started says so in its log, with exit code 127."""
    async with Supervisor(tmp_path / "run") as supervisor:
        log = tmp_path / "a.log"
        await supervisor.start(Command(name="a", argv=["/no/such/command"], log=log))
        await until(lambda: only(supervisor).last_exit == 127)
    assert "/no/such/command" in log.read_text(encoding="utf-8")


@pytest.mark.asyncio
async def test_a_stubborn_child_is_killed(tmp_path: Path) -> None:
    """A child that ignores SIGTERM is killed when its grace is over."""
    async with Supervisor(tmp_path / "run") as supervisor:
        await supervisor.start(command(tmp_path, "a", "stubborn", grace=0.1))
        found = ProcessId.of(only(supervisor).pid)
    assert found is not None
    assert not found.alive()


@pytest.mark.asyncio
async def test_no_child_outlives_its_supervisor(tmp_path: Path) -> None:
    """When a supervisor is killed -9, the kernel ends its children."""
    script = textwrap.dedent(
        """
        import asyncio, pathlib, sys
        from cellplane.runtime.supervisor import Command, Supervisor
        async def main():
            folder = pathlib.Path(sys.argv[1])
            async with Supervisor(folder) as supervisor:
                argv = [sys.executable, "-c", "import time; time.sleep(600)"]
                await supervisor.start(Command(name="a", argv=argv, log=folder / "a.log"))
                print("up", flush=True)
                await asyncio.Event().wait()
        asyncio.run(main())
        """
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        str(tmp_path),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert parent.stdout is not None
    async with asyncio.timeout(DEADLINE):
        while b"up" not in await parent.stdout.readline():
            pass
    child = ProcessId.load(tmp_path / "a.pid")
    assert child is not None
    assert child.alive()
    parent.kill()
    await parent.wait()
    await until(lambda: not child.alive())


@pytest.mark.asyncio
async def test_what_was_left_behind_is_ended(tmp_path: Path) -> None:
    """A process that an earlier supervisor left is ended before new ones start."""
    left = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time; time.sleep(600)", start_new_session=True
    )
    found = ProcessId.of(left.pid)
    assert found is not None
    found.save(tmp_path / "a.pid")
    async with Supervisor(tmp_path):
        assert await left.wait() == -signal.SIGTERM


@pytest.mark.asyncio
async def test_a_reused_pid_is_left_alone(tmp_path: Path) -> None:
    """A process that only has the pid of an old child, and not its start time, isn't touched."""
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import time; time.sleep(600)", start_new_session=True
    )
    found = ProcessId.of(other.pid)
    assert found is not None
    stale = ProcessId(pid=found.pid, start_time=found.start_time - 1, boot=found.boot)
    stale.save(tmp_path / "a.pid")
    (tmp_path / "b.pid").write_text("no json", encoding="utf-8")
    async with Supervisor(tmp_path):
        assert found.alive()
        assert not (tmp_path / "a.pid").exists()
    other.kill()
    await other.wait()
