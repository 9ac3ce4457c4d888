"""The agent as a process of its own, as it is run for real; ends with its test."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.cluster.agent.control import GRANT, Control

DEADLINE = 60.0


class AgentProcess:
    """One agent; keeps its state when it is started again."""

    def __init__(self, control: Control, folder: Path, *arguments: str) -> None:
        self.state = folder / "agent"
        self.ready_file = folder / "agent.json"
        self.log = folder / "agent.log"
        self._control = control
        self._arguments = arguments
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; it may take a while to connect."""
        control = self._control
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "cellplane.agent",
                f"--state-dir={self.state}",
                f"--port-file={self.ready_file}",
                f"--join-address={control.join_address}",
                f"--grant={GRANT}",
                f"--authority-digest={control.authority_digest}",
                "--admin-listen=",
                *self._arguments,
                env={
                    **os.environ,
                    "CELLPLANE_AGENT_TOKEN": str(control.token),
                    "PYTHONPATH": "services:gen",
                },
                cwd=Path(__file__).parents[3],
                stderr=log,
            )

    async def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> int:
        """End it in order; its exit code."""
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.terminate()
        try:
            async with asyncio.timeout(DEADLINE):
                return await self._process.wait()
        except TimeoutError:
            await self.kill()
            raise

    async def wait(self) -> int:
        """Wait until it ends by itself; its exit code."""
        if self._process is None:
            return 0
        async with asyncio.timeout(DEADLINE):
            return await self._process.wait()

    @property
    def rss_kilobytes(self) -> int:
        """Memory that it holds."""
        if self._process is None:
            return 0
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])


@asynccontextmanager
async def agent_of(control: Control, folder: Path, *arguments: str) -> AsyncIterator[AgentProcess]:
    """Run an agent until left."""
    agent = AgentProcess(control, folder, *arguments)
    await agent.start()
    try:
        yield agent
    finally:
        await agent.stop()
