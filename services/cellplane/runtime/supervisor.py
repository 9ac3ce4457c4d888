"""Child processes by name: started in order, kept running, stopped in reverse, never outlived.

A child that dies is started again, at once the first time and with growing delays after that. The
kernel kills the children if the supervisor dies (``leash``). What an earlier supervisor left behind
is recognised by pid and start time together, so that a reused pid is never signalled.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO

import structlog

from cellplane.cell.problem import Unavailable
from cellplane.runtime import leash
from cellplane.runtime.clock import Clock, SystemClock
from cellplane.runtime.processes import ProcessId, rss_bytes
from cellplane.runtime.tasks import Backoff

_POLL = 0.05
_LOG_LIMIT = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One child process."""

    name: str
    argv: Sequence[str]
    log: Path
    """Gets what the child writes; appended to, moved to ``<log>.1`` at a start past 20 MiB."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the supervisor's environment."""
    cwd: Path | None = None
    ready: Callable[[], Awaitable[bool]] | None = None
    """Asked every 50 ms until it answers true; without it a child is ready once it runs."""
    ready_within: timedelta = timedelta(seconds=30)
    grace: timedelta = timedelta(seconds=10)
    """Between SIGTERM and SIGKILL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildStatus:
    """A child as it is now."""

    name: str
    pid: int
    """0 while it doesn't run."""
    restarts: int
    rss_bytes: int
    ready: bool
    last_exit: int | None
    """Exit code of the run before; negative for a signal."""


@dataclass(slots=True, kw_only=True)
class _Child:
    command: Command
    process: asyncio.subprocess.Process | None = None
    task: asyncio.Task[None] | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False
    ready: bool = False
    restarts: int = 0
    last_exit: int | None = None


class Supervisor:
    """Runs children until ``stop``; use it as an async context manager."""

    def __init__(
        self,
        run_dir: Path,
        *,
        backoff: Backoff | None = None,
        stable_after: float = 10.0,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """``run_dir`` holds one pid file per child. A run of ``stable_after`` seconds is a good
        one: the child that dies after it is started again at once."""
        self._run_dir = run_dir
        self._backoff = backoff or Backoff(initial=0.2, maximum=30.0)
        self._stable_after = stable_after
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._children: dict[str, _Child] = {}
        self._group = asyncio.TaskGroup()
        self._log = structlog.get_logger()

    async def __aenter__(self) -> Supervisor:
        await self._group.__aenter__()
        try:
            await self.reap()
        except BaseException as error:
            await self._group.__aexit__(type(error), error, None)
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()
        await self._group.__aexit__(None, None, None)

    async def start(self, command: Command) -> None:
        """Start a child and wait until it is ready.

        Raises ``Unavailable`` that names its log when it isn't in time; it is kept running.
        """
        if command.name in self._children:
            raise ValueError(f"child {command.name} is started already")
        child = _Child(command=command)
        self._children[command.name] = child
        child.task = self._group.create_task(self._keep(child), name=f"child {command.name}")
        limit = command.ready_within.total_seconds()
        try:
            async with asyncio.timeout(limit):
                await child.started.wait()
                await self._until_ready(child)
        except TimeoutError:
            raise Unavailable(
                f"{command.name} isn't ready after {limit:g}s: see {command.log}",
                reason="CHILD_NOT_READY",
                metadata={"child": command.name, "log": str(command.log)},
            ) from None

    async def stop(self) -> None:
        """Stop every child, the last one started first."""
        for name in reversed(list(self._children)):
            await self.stop_child(name)

    async def stop_child(self, name: str) -> None:
        """Stop one child: SIGTERM, and SIGKILL when its grace is over."""
        child = self._children.pop(name)
        child.stopping = True
        process = child.process
        if process is not None and process.returncode is None:
            _signal(process.pid, signal.SIGTERM)
            try:
                async with asyncio.timeout(child.command.grace.total_seconds()):
                    await process.wait()
            except TimeoutError:
                self._log.warning("child.killed", child=name, pid=process.pid)
                _signal(process.pid, signal.SIGKILL)
                await process.wait()
        if child.task is not None:
            child.task.cancel()
            await asyncio.wait({child.task})
        self._pid_file(name).unlink(missing_ok=True)

    def status(self) -> tuple[ChildStatus, ...]:
        """Every child, in the order of their start."""
        return tuple(_status(child) for child in self._children.values())

    async def reap(self) -> None:
        """End what an earlier supervisor of the same folder left running."""
        for path in sorted(self._run_dir.glob("*.pid")):
            found = ProcessId.load(path)
            if found is not None and found.alive():
                self._log.warning("child.orphan", child=path.stem, pid=found.pid)
                _signal(found.pid, signal.SIGTERM)
                waited = 0.0
                while found.alive() and waited < 5.0:
                    await self._clock.sleep(_POLL)
                    waited += _POLL
                if found.alive():
                    _signal(found.pid, signal.SIGKILL)
            path.unlink(missing_ok=True)

    async def _keep(self, child: _Child) -> None:
        failures, name = 0, child.command.name
        while not child.stopping:
            began = self._clock.monotonic()
            try:
                code = await self._run(child)
            except OSError as error:
                self._log.error("child.not_started", child=name, error=str(error))
                code = 127
            child.process, child.ready, child.last_exit = None, False, code
            if child.stopping:
                return
            failures = 0 if self._clock.monotonic() - began > self._stable_after else failures
            delay = self._backoff.delay(failures - 1, self._rng) if failures else 0.0
            failures += 1
            self._log.error("child.exited", child=name, code=code, restart_in=round(delay, 3))
            await self._clock.sleep(delay)
            child.restarts += 1

    async def _run(self, child: _Child) -> int:
        command = child.command
        with _open_log(command.log) as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                leash.__file__,
                str(os.getpid()),
                *command.argv,
                env={**os.environ, **command.env},
                cwd=command.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own: an interrupt from the terminal reaches the supervisor
                # alone, which then stops the children in their order.
                start_new_session=True,
            )
        child.process = process
        identity = ProcessId.of(process.pid)
        if identity is not None:
            identity.save(self._pid_file(command.name))
        self._log.info("child.started", child=command.name, pid=process.pid)
        child.started.set()
        watch = asyncio.create_task(self._until_ready(child))
        try:
            return await process.wait()
        finally:
            watch.cancel()
            await asyncio.wait({watch})

    async def _until_ready(self, child: _Child) -> None:
        """Returns when the child is ready, however often it has to start for that."""
        while not child.ready:
            ready = child.command.ready
            running = child.process is not None and child.process.returncode is None
            if running and (ready is None or await _asks(ready)):
                child.ready = True
                return
            await self._clock.sleep(_POLL)

    def _pid_file(self, name: str) -> Path:
        return self._run_dir / f"{name}.pid"


async def _asks(ready: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await ready()
    except Exception:  # noqa: BLE001 - not reachable yet, in whatever way
        return False


def _status(child: _Child) -> ChildStatus:
    process = child.process
    pid = process.pid if process is not None and process.returncode is None else 0
    return ChildStatus(
        name=child.command.name,
        pid=pid,
        restarts=child.restarts,
        rss_bytes=rss_bytes(pid) if pid else 0,
        ready=child.ready,
        last_exit=child.last_exit,
    )


def _open_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.replace(path.with_name(f"{path.name}.1"))
    return path.open("ab")


def _signal(pid: int, number: signal.Signals) -> None:
    """Signal a child and what it started, which share its group."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return
