"""The services, each in its own process, and a data plane that is a folder."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cellplane.cli.local import commands, credentials
from cellplane.cli.local.layout import SERVICES, Layout
from cellplane.cli.main import main
from cellplane.runtime.supervisor import Supervisor

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """A running control plane; tests of one module share it."""

    layout: Layout

    def process(self, *arguments: str, stdin: str = "") -> Answer:
        """Run the command line in a process of its own, with something to read."""
        done = subprocess.run(
            [sys.executable, "-m", "cellplane.cli", *arguments],
            env={**os.environ, "CELLPLANE_STATE": str(self.layout.root)},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Answer(code=done.returncode, out=done.stdout, err=done.stderr)


def free_base_port() -> int:
    """Find a range of ports where nothing listens."""
    offsets = [*range(1, 8), *range(101, 106), *range(201, 206)]
    for base in range(31000, 60000, 400):
        try:
            for offset in offsets:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        return base
    raise AssertionError("no free range of ports")


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Start every service, and end them."""
    layout = Layout(root=tmp_path_factory.mktemp("cli") / "state", base_port=free_base_port())
    layout.logs.mkdir(parents=True)
    credentials.ensure(layout, organization="acme")

    async def start(supervisor: Supervisor) -> None:
        async with asyncio.TaskGroup() as group:
            for name in SERVICES:
                group.create_task(supervisor.start(commands.service(layout, name)))

    with asyncio.Runner() as runner:
        supervisor = Supervisor(layout.root / "run")
        runner.run(supervisor.__aenter__())
        try:
            runner.run(start(supervisor))
            yield ControlPlane(layout=layout)
        finally:
            runner.run(supervisor.__aexit__(None, None, None))


@pytest.fixture
def cellplane(
    control_plane: ControlPlane,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Answer]:
    """The command line, in this process."""
    monkeypatch.setenv("CELLPLANE_STATE", str(control_plane.layout.root))
    monkeypatch.delenv("CELLPLANE_ORGANIZATION", raising=False)

    def run(*arguments: Any) -> Answer:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return Answer(code=code, out=said.out, err=said.err)

    return run


def interruptible(control_plane: ControlPlane, *arguments: str) -> subprocess.Popen[str]:
    """The command line in a process that takes an interrupt, even if this one ignores them."""
    return subprocess.Popen(
        [sys.executable, "-m", "cellplane.cli", *arguments],
        env={**os.environ, "CELLPLANE_STATE": str(control_plane.layout.root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


@pytest.fixture(scope="session")
def folder(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that has joined, by the very command line that `dataplane join` prints."""
    target = tmp_path_factory.mktemp("manifests")
    joined = control_plane.process(
        "dataplane", "join", "paper", f"--folder={target}", "--label=kind=folder"
    )
    assert joined.code == 0, joined.err
    token, *arguments = shlex.split(joined.out.replace("\\\n", ""))
    name, _, secret = token.partition("=")
    assert arguments[:3] == ["cellplane", "serve", "agent"]
    state = control_plane.layout.state("agent-paper")
    with (control_plane.layout.logs / "agent.log").open("wb") as log:
        agent = subprocess.Popen(
            [sys.executable, "-m", "cellplane.cli", *arguments[1:], f"--state-dir={state}"],
            env={**os.environ, name: secret},
            stdout=log,
            stderr=log,
        )
    try:
        ready = control_plane.process("wait", "dataplane", "paper", "--timeout=60s")
        assert ready.code == 0, ready.err
        yield target
    finally:
        agent.terminate()
        agent.wait(30)


@pytest.fixture
def samples(cellplane: Callable[..., Answer]) -> None:
    """The samples, as they are."""
    files = [f"-f{SAMPLES / name}" for name in ("platform", "payments", "boutique")]
    answer = cellplane("apply", *files)
    assert answer.code == 0, answer.err
