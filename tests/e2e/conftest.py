"""One control plane for all tests of this folder, brought up as a newcomer does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cellplane.cli.local.layout import Layout
from cellplane.sandbox.build import Tool, build
from tests.e2e.cluster import Cluster

ROOT = Path(__file__).parents[2]
UP_PATIENCE = 1500
"""Seconds; the first run on a machine compiles Kubernetes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, read as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """A running control plane with two sandbox data planes and a folder."""

    layout: Layout
    grpcurl: Path

    def run(self, *arguments: str, stdin: str | None = None, patience: float = 120) -> Answer:
        """Run the command line."""
        done = subprocess.run(
            [sys.executable, "-m", "cellplane.cli", *arguments],
            env={**os.environ, "CELLPLANE_STATE": str(self.layout.root), "NO_COLOR": "1"},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
            cwd=ROOT,
        )
        return Answer(code=done.returncode, out=done.stdout, err=done.stderr)

    def ok(self, *arguments: str, stdin: str | None = None, patience: float = 120) -> Answer:
        """Run the command line, which must succeed."""
        answer = self.run(*arguments, stdin=stdin, patience=patience)
        assert answer.code == 0, f"cellplane {' '.join(arguments)}\n{answer.out}\n{answer.err}"
        return answer

    def call(self, service: str, *arguments: str) -> Answer:
        """Run grpcurl against a service, as its documentation says."""
        pki = self.layout.pki
        done = subprocess.run(
            [
                str(self.grpcurl),
                *("-cacert", str(pki / "ca.crt")),
                *("-cert", str(pki / "admin.crt")),
                *("-key", str(pki / "admin.key")),
                *_flags_first(arguments, self.layout.address(service)),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Answer(code=done.returncode, out=done.stdout, err=done.stderr)

    def kubeconfig(self, cluster: str) -> Path:
        """The administrator's kubeconfig of a sandbox cluster."""
        return self.layout.state(f"cluster-{cluster}") / "kubeconfig"

    def cluster(self, name: str) -> Cluster:
        """A connection to a sandbox cluster."""
        return Cluster.of(self.kubeconfig(name))

    def pid(self, process: str) -> int:
        """Process id of a supervised process."""
        return int(json.loads((self.layout.root / "run" / f"{process}.pid").read_text())["pid"])


def _flags_first(arguments: Sequence[str], address: str) -> list[str]:
    """Put the address between grpcurl's flags and its symbols."""
    flags: list[str] = []
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        flags += [rest.pop(0), rest.pop(0)]
    return [*flags, address, *rest]


def free_base_port() -> int:
    """Find a range of ports where nothing listens."""
    for base in range(21000, 60000, 400):
        try:
            for offset in (*range(1, 8), *range(101, 106), *range(201, 206)):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", base + offset))
        except OSError:
            continue
        return base
    raise AssertionError("no free range of ports")


@pytest.fixture(scope="session")
def grpcurl() -> Path:
    """The real grpcurl, built once."""
    import asyncio

    return asyncio.run(build([Tool.GRPCURL]))[Tool.GRPCURL]


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory, grpcurl: Path) -> Iterator[Plane]:
    """Bring everything up, and take it down."""
    layout = Layout(root=tmp_path_factory.mktemp("up") / "state", base_port=free_base_port())
    plane = Plane(layout=layout, grpcurl=grpcurl)
    up = plane.run(
        "up",
        f"--state={layout.root}",
        f"--base-port={layout.base_port}",
        patience=UP_PATIENCE,
    )
    try:
        assert up.code == 0, f"{up.err}\n{_logs(layout)}"
        yield plane
    finally:
        down = plane.run("down", f"--state={layout.root}")
        assert down.code == 0, down.err
    assert not layout.root.exists()


def _logs(layout: Layout) -> str:
    """The last lines of every log, for a failure."""
    parts = []
    for path in sorted(layout.logs.glob("*.log")):
        lines = path.read_text(errors="replace").splitlines()[-15:]
        parts.append("\n".join([f"== {path.name}", *(line[:400] for line in lines)]))
    return "\n".join(parts)
