"""The tab key: what is offered without a service, and silence where nothing can be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cellplane.cli.completion import DEADLINE, SHELLS
from cellplane.cli.main import main


def press(line: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Press the tab key behind *line*, as bash does."""
    words = line.split(" ")
    return subprocess.run(
        [sys.executable, "-m", "cellplane.cli"],
        env={
            **os.environ,
            "_CELLPLANE_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "offers"),
    [
        ("cellplane prom", ["promote"]),
        ("cellplane get dep", ["deployments", "deploymentChanges", "deploymentPipelines"]),
        ("cellplane delete env", ["environments"]),
        ("cellplane wait pipel", ["pipeline", "pipelines"]),
        ("cellplane explain component.endpoints.po", ["component.endpoints.port"]),
        ("cellplane get cells -o ", ["table", "wide", "json", "yaml", "name"]),
        ("cellplane config show ob", ["observability"]),
        ("cellplane get --pro", ["--project", "--profile"]),
        ("cellplane completion z", ["zsh"]),
    ],
)
def test_what_fits_is_offered(line: str, offers: list[str]) -> None:
    """Commands, kinds, fields, options and their values are completed without a service."""
    answer = press(line)

    assert answer.stdout.split() == offers
    assert answer.stderr == ""


def test_without_a_control_plane_nothing_is_said(tmp_path: Path) -> None:
    """Without a service, with one that is gone, and for no kind, there is silence."""
    (tmp_path / "client.toml").write_text(
        'organization = "acme"\n[services]\nmodel = "127.0.0.1:1"\n'
    )
    for line, state in (
        ("cellplane get components b", tmp_path / "none"),
        ("cellplane get components b", tmp_path),
        ("cellplane get nonsense b", tmp_path),
        ("cellplane explain component.nonsense.x", tmp_path),
    ):
        answer = press(line, CELLPLANE_STATE=str(state))
        assert answer.stdout.strip() == answer.stderr == "", line


def test_a_service_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    """A service that takes the connection and says nothing costs the deadline, no more."""
    import socket
    import time

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        (tmp_path / "client.toml").write_text(
            f'organization = "acme"\n[services]\nmodel = "127.0.0.1:{deaf.getsockname()[1]}"\n'
        )
        began = time.monotonic()
        answer = press("cellplane get components b", CELLPLANE_STATE=str(tmp_path))
    assert answer.stdout.strip() == answer.stderr == ""
    # The deadline, and what a busy machine takes to start and end a process.
    assert time.monotonic() - began < DEADLINE + 15


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The script asks this program, by the variable that it listens to."""
    assert main(["completion", shell]) == 0
    assert "_CELLPLANE_COMPLETE" in capsys.readouterr().out


def test_an_unknown_shell_names_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    """A shell without a script is wrong usage, with those that have one."""
    assert main(["completion", "tcsh"]) == 2
    assert "choose of bash, zsh, fish, powershell" in capsys.readouterr().err


def test_bash_takes_the_script(tmp_path: Path) -> None:
    """A real bash sources the script and completes with it."""
    program = tmp_path / "cellplane"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cellplane.cli "$@"\n')
    program.chmod(0o755)
    script = (
        f'PATH={tmp_path}:$PATH; eval "$(cellplane completion bash)"; '
        "COMP_WORDS=(cellplane get projec); COMP_CWORD=2; "
        '_cellplane_completion cellplane; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["projects"]
    assert done.stderr == ""
