"""The root: help comes at once, usage errors say the way out, and every command has an example."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module

import pytest
import typer

from cellplane.cli.main import TABLE, main

OWN = sorted(set(TABLE) - {"up", "down"})
WALK = """
import contextlib, io, json, sys
before = {name.partition(".")[0] for name in sys.modules}
from typer.main import get_command
from cellplane.cli.main import app, main

def paths(command, path):
    yield path
    for name in command.list_commands(None) if hasattr(command, "list_commands") else ():
        yield from paths(command.get_command(context, name), [*path, name])

root = get_command(app)
context = root.make_context("cellplane", [], resilient_parsing=True)
for path in [*paths(root, []), *(["sandbox", own] for own in ("build", "up", "down", "status"))]:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = main([*path, "--help"])
    print(json.dumps([path, code, said.getvalue().lower().startswith("usage: cellplane")]))
ours = {name for name in sys.modules if name.startswith("cellplane.")}
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} - before)))
print(json.dumps(sorted(ours)))
print(json.dumps([name for name in ("asyncio", "ssl", "socket", "ctypes") if name in sys.modules]))
"""
NEEDED = {"annotated_doc", "cellplane", "shellingham", "typer"}
"""What is not of the standard library, and needed for help."""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_help_imports_nothing_heavy() -> None:
    """Help of every command, and of those in it, needs typer and the command line alone."""
    answer = run("-c", WALK)
    assert answer.returncode == 0, answer.stderr
    *commands, modules, ours, slow = map(json.loads, answer.stdout.splitlines())

    assert {path[0] for path, _, _ in commands if path} == set(TABLE)
    assert ["config", "show"] in [path for path, _, _ in commands]
    assert [path for path, code, helped in commands if code != 0 or not helped] == []
    assert set(modules) - set(sys.stdlib_module_names) <= NEEDED
    assert [m for m in ours if m.split(".")[1] not in {"cli", "sandbox"}] == []
    assert slow == []


def test_a_command_reads_its_parameters_without_the_large_library() -> None:
    """No command waits for a library that reads nothing which is not read here."""
    program = (
        "import sys; from cellplane.cli.main import main; "
        "assert main(['completion', 'bash']) == 0; sys.exit('pydantic' in sys.modules)"
    )
    assert run("-c", program).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["get", "cells", "-o", "jsn"], '"jsn" is not one of table, wide, json, yaml, name'),
        (["up", "--base-port", "x"], '"x" is not a whole number'),
        (["up", "--base-port", "80"], "80 is not between 1024 and 65000"),
    ],
)
def test_a_bad_value_is_named_with_what_can_be(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value of the wrong type is refused with the option, the value and the way out."""
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert words in said
    assert arguments[-2] in said


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
        _, mark, example = (function.__doc__ or "").partition("Example: ")
        assert mark
        assert f"cellplane {name}" in example


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


def test_a_wrong_command_line_is_one_error_block(capsys: pytest.CaptureFixture[str]) -> None:
    """What typer finds wrong is said like everything else, with how it is written."""
    assert main(["get", "--nothing"]) == 2

    first, usage, more = capsys.readouterr().err.splitlines()
    assert first.startswith("error: no such option: --nothing")
    assert usage.startswith("  usage: cellplane get ")
    assert more == "  `cellplane get --help` tells more"


def test_the_short_flags_that_people_try(capsys: pytest.CaptureFixture[str]) -> None:
    """`-h` is help, of every command; `--version` is the version."""
    for arguments in (["-h"], ["get", "-h"], ["config", "show", "-h"]):
        assert main(arguments) == 0
        assert "Usage: cellplane" in capsys.readouterr().out
    assert main(["--version"]) == 0
    version = capsys.readouterr().out
    assert main(["version"]) == 0
    assert capsys.readouterr().out == version


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


def test_what_is_missing_is_shown_among_all_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where a service could not start, every setting is still there, and what to do."""
    monkeypatch.setenv("CELLPLANE_AGENT_TOKEN", "hunter2")
    flags = ["--suspect-after=soon", "--database-url=postgresql://u:hunter2@h/d", "--listn", "x"]
    assert main(["config", "show", "placement", "--origin", *flags]) == 1

    said = capsys.readouterr()
    rows = {line.split()[0]: line for line in said.out.splitlines()}
    assert "(missing)" in rows["model_address"]
    assert "set CELLPLANE_PLACEMENT_MODEL_ADDRESS" in rows["model_address"]
    assert rows["suspect_after"].split()[1:] == ["soon", "flag", "--suspect-after"]
    assert rows["lost_after"].split()[1:] == ["1m", "default"]
    assert "`model_address` is not set: pass --model-address" in said.err
    assert "--listn is not a setting: did you mean `listen`?" in said.err

    assert main(["config", "show", "agent", "--folder=x", "--context=y"]) == 1
    again = capsys.readouterr()
    assert "token = ********" in again.out
    assert "hunter2" not in f"{said}{again}"


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


def test_the_bytes_are_the_same_in_every_locale() -> None:
    """What a locale cannot write ends no command: output is UTF-8, as other tools write it."""
    answer = subprocess.run(
        [sys.executable, "-m", "cellplane.cli", "explain", "nothing…"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 2
    assert "nothing…".encode() in answer.stderr


def test_the_version_is_the_packages() -> None:
    """One line, for scripts."""
    answer = run("-m", "cellplane.cli", "version")

    assert answer.returncode == 0
    assert len(answer.stdout.splitlines()) == 1
