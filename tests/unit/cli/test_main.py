"""The root: help comes at once, usage errors say the way out, and every command has an example."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from importlib import import_module

import pytest
import typer

from cellplane.cli.main import TABLE, main

OWN = sorted(set(TABLE) - {"up", "down", "sandbox"})
HEAVY = ("grpc", "google.protobuf", "rich", "ruamel", "cryptography", "structlog", "cellplane.rpc")
OF_TYPER = ("pydantic", "asyncio")
"""What typer itself imports for a command, but not for the root."""
GROUPS = [name for name in OWN if TABLE[name].attribute == "app"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("command", ["", *OWN])
def test_help_imports_nothing_heavy(command: str) -> None:
    """Help of every command needs neither gRPC nor tables nor settings."""
    heavy = HEAVY if command else (*HEAVY, *OF_TYPER)
    program = (
        "import sys; from cellplane.cli.main import main; "
        f"code = main({[*command.split(), '--help']!r}); "
        f"print([m for m in {heavy!r} if m in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    answer = run("-c", program)

    assert answer.returncode == 0, answer.stderr
    assert "Usage: cellplane" in answer.stdout
    assert answer.stderr.strip() == "[]"


def test_help_comes_at_once() -> None:
    """`cellplane --help` costs little more than the library that it is made with."""

    def cost(*arguments: str) -> float:
        """Processor time of the best of five runs: waiting for others does not count."""
        spent = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            assert run(*arguments).returncode == 0
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(spent)

    assert cost("-m", "cellplane.cli", "--help") < 2 * cost("-c", "import typer")


@pytest.mark.parametrize("name", OWN)
def test_every_command_shows_an_example(name: str) -> None:
    """The help of a command ends with a command line that can be copied."""
    found = getattr(import_module(TABLE[name].module), TABLE[name].attribute)
    functions = (
        [info.callback for info in found.registered_commands]
        if isinstance(found, typer.Typer)
        else [found]
    )

    for function in functions:
        assert f"Example: cellplane {name}" in (function.__doc__ or "")


def test_an_unknown_command_names_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error is met with what was meant."""
    assert main(["aply", "-f", "x"]) == 2
    assert 'did you mean "apply"?' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["get", "compnents"], 'did you mean "components"?'),
        (["serve", "modle"], "choose of model"),
        (["config", "show", "modle"], "choose of model"),
        (["explain", "component.endpoint"], 'did you mean "endpoints"?'),
        (["explain", "component.name.x"], "it has no fields"),
        (["wait", "cell", "a/b", "--for=nothing"], "write ready, deleted or condition=TYPE"),
        (["wait", "cell", "a/b", "--timeout=soon"], "not a duration"),
        (["delete"], "give a kind and a name"),
    ],
)
def test_wrong_usage_is_code_2_with_the_way_out(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What can be told without a service is told without one, on standard error alone."""
    assert main(arguments) == 2

    answer = capsys.readouterr()
    assert words in answer.err
    assert answer.out == ""


def test_without_a_control_plane_the_way_out_is_said(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No profile, and an unreachable one, both say what to do."""
    monkeypatch.setenv("CELLPLANE_STATE", str(tmp_path))
    assert main(["get", "cells"]) == 1
    assert "`cellplane up`" in capsys.readouterr().err

    profile = f"{tmp_path}/client.toml"
    with open(profile, "w") as file:  # noqa: PTH123
        file.write('organization = "acme"\n[services]\nmodel = "127.0.0.1:1"\n')
    assert main(["get", "cells"]) == 1
    err = capsys.readouterr().err
    assert "cannot reach the service at 127.0.0.1:1" in err
    assert "UNAVAILABLE" in err


def test_a_bad_profile_names_every_key(
    tmp_path: object, capsys: pytest.CaptureFixture[str]
) -> None:
    """A profile with wrong keys is refused with all of them."""
    profile = f"{tmp_path}/p.toml"
    with open(profile, "w") as file:  # noqa: PTH123
        file.write('organisation = "acme"\n[services]\nmodle = "127.0.0.1:1"\n')

    assert main(["get", "cells", "--profile", profile]) == 1
    assert '"organisation" is unknown' in capsys.readouterr().err


def test_settings_are_shown_with_their_origin(capsys: pytest.CaptureFixture[str]) -> None:
    """`config show` says where each value comes from, and masks secrets."""
    flags = ["--tls-ca=a", "--tls-cert=b", "--tls-key", "c", "--state-dir", "d"]
    url = "--database-url=postgresql+psycopg://u:secret@h/d"
    assert main(["config", "show", "model", "--origin", *flags, url]) == 0

    out = capsys.readouterr().out
    assert "flag --tls-ca" in out
    assert "default" in out
    assert "secret" not in out

    assert main(["config", "show", "model"]) == 1
    assert "CELLPLANE_MODEL_TLS_CA" in capsys.readouterr().err


def test_a_closed_reader_is_no_error() -> None:
    """`cellplane explain | head -1` ends without a complaint."""
    answer = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m cellplane.cli explain component | head -1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )

    assert answer.stdout == "Component: organizations/*/projects/*/components/*\n"
    assert answer.stderr == ""


def test_the_version_is_the_packages() -> None:
    """One line, for scripts."""
    answer = run("-m", "cellplane.cli", "version")

    assert answer.returncode == 0
    assert len(answer.stdout.splitlines()) == 1
