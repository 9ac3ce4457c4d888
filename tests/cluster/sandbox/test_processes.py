"""What the sandbox promises about the processes that it starts and ends."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cellplane.sandbox import cluster, processes
from cellplane.sandbox.processes import StartError

SLEEP = ["/bin/sleep", "60"]


@pytest.fixture
def foreign() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(SLEEP) as process:
        # Start times have a resolution of 10 ms; an id takes longer to come back.
        time.sleep(0.05)
        yield process
        process.kill()


@pytest.mark.asyncio
async def test_what_was_started_is_ended(tmp_path: Path) -> None:
    """A started process is alive until it is ended, and leaves no record."""
    pid = processes.spawn("sleep", SLEEP, tmp_path, environment={}, detached=False)
    assert processes.alive(tmp_path, "sleep") == pid
    await processes.end(tmp_path, ["sleep"])
    assert not _runs(pid)
    assert processes.alive(tmp_path, "sleep") is None
    assert not (tmp_path / "run" / "sleep.json").exists()


@pytest.mark.asyncio
async def test_a_process_may_end_by_itself(tmp_path: Path) -> None:
    """A process that is given time gets the signal that it can answer before the one it cannot."""
    script = "trap 'echo bye; exit' TERM; echo up; while :; do sleep 0.01; done"
    processes.spawn("shell", ["/bin/sh", "-c", script], tmp_path, environment={}, detached=False)
    await asyncio.to_thread(_wait_for, lambda: "up" in processes.last_lines(tmp_path, "shell"))
    await processes.end(tmp_path, ["shell"], patience=10)
    assert "bye" in processes.last_lines(tmp_path, "shell")


@pytest.mark.asyncio
async def test_a_foreign_process_is_never_killed(
    tmp_path: Path, foreign: "subprocess.Popen[bytes]"
) -> None:
    """A record whose process id went to somebody else ends nobody, and is deleted."""
    pid = processes.spawn("sleep", SLEEP, tmp_path, environment={}, detached=False)
    record = tmp_path / "run" / "sleep.json"
    started = json.loads(record.read_text())["started"]
    await processes.end(tmp_path, ["sleep"])
    assert pid != foreign.pid
    record.write_text(json.dumps({"pid": foreign.pid, "started": started}))
    assert processes.alive(tmp_path, "sleep") is None
    await processes.end(tmp_path, ["sleep"])
    assert foreign.poll() is None
    assert not record.exists()


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"pid": -4, "started": ""}', '{"pid": "x"}'])
@pytest.mark.asyncio
async def test_a_broken_record_ends_nobody(tmp_path: Path, content: str) -> None:
    """A record that says nothing useful stands for a process that is gone."""
    record = tmp_path / "run" / "sleep.json"
    record.parent.mkdir()
    record.write_text(content)
    assert processes.alive(tmp_path, "sleep") is None
    await processes.end(tmp_path, ["sleep"])
    assert not record.exists()


@pytest.mark.parametrize("detached", [False, True])
def test_processes_end_with_their_parent_unless_detached(tmp_path: Path, detached: bool) -> None:
    """When the parent is killed, an attached process goes with it, and a detached one stays."""
    program = (
        "import pathlib, sys, time; from cellplane.sandbox import processes\n"
        f"processes.spawn('sleep', {SLEEP!r}, pathlib.Path(sys.argv[1]), environment={{}},"
        f" detached={detached})\n"
        "print('started', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        parent.kill()
    if detached:
        time.sleep(0.5)
    else:
        _wait_for(lambda: processes.alive(tmp_path, "sleep") is None)
    assert (processes.alive(tmp_path, "sleep") is not None) == detached
    asyncio.run(processes.end(tmp_path, ["sleep"]))
    assert processes.alive(tmp_path, "sleep") is None


@pytest.mark.asyncio
async def test_stop_leaves_other_folders_alone(tmp_path: Path) -> None:
    """Stopping in a folder that holds no sandbox, or in none, changes nothing."""
    (tmp_path / "thesis.txt").write_text("mine")
    await cluster.stop(tmp_path)
    await cluster.stop(tmp_path / "nowhere")
    assert _names(tmp_path) == ["thesis.txt"]


@pytest.mark.asyncio
@pytest.mark.timeout(900)
async def test_start_refuses_other_folders(tmp_path: Path) -> None:
    """A folder with somebody's files is no place for a cluster."""
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StartError, match="is not empty, and no sandbox"):
        await cluster.start("east", tmp_path, crds=frozenset())
    assert _names(tmp_path) == ["thesis.txt"]


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


def _wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
