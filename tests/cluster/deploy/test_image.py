"""What the image promises, read from its Dockerfile: no engine is needed, and none is asked."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.cluster.deploy.charts import ROOT

DOCKERFILE = ROOT / "deploy" / "image" / "Dockerfile"
IGNORED = ROOT / "deploy" / "image" / "Dockerfile.dockerignore"
PROCESSES = ("model", "placement", "network_policy", "gateway", "observability", "agent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction, its stage, and its text on one line."""

    stage: int
    word: str
    text: str


def _instructions() -> Sequence[Instruction]:
    lines = [
        line
        for line in DOCKERFILE.read_text(encoding="utf-8").splitlines()
        if not line.lstrip().startswith("#")
    ]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found: list[Instruction] = []
    stage = 0
    for line in filter(None, joined.splitlines()):
        word, _, text = line.partition(" ")
        stage += word == "FROM"
        found.append(Instruction(stage=stage, word=word, text=text.strip()))
    return found


def _of(word: str, *, stage: int | None = None) -> list[str]:
    return [
        each.text
        for each in _instructions()
        if each.word == word and (stage is None or each.stage == stage)
    ]


def _last_stage() -> int:
    return max(each.stage for each in _instructions())


def _copied_sources() -> list[str]:
    return [
        source
        for text in _of("COPY")
        if "--from=" not in text
        for source in text.split()[:-1]
        if not source.startswith("--")
    ]


def test_it_runs_as_a_numeric_user() -> None:
    """The last stage ends as a user and group by number, neither of them root."""
    user = _of("USER", stage=_last_stage())[-1]
    uid, gid = (int(part) for part in user.split(":"))
    assert uid > 0
    assert gid > 0


def test_all_stages_have_one_base() -> None:
    """Both stages start from one base image, given by its name without a registry."""
    (argument,) = _of("ARG", stage=0)
    name, _, image = argument.partition("=")
    assert [text.split()[0] for text in _of("FROM")] == [f"${{{name}}}"] * _last_stage()
    assert "/" not in image
    assert not image.endswith(":latest")
    assert ":" in image


def test_only_the_lock_is_installed() -> None:
    """Every installation checks hashes and takes a list that the lock gives."""
    commands = [
        command
        for text in _of("RUN")
        for command in text.split("&&")
        if re.search(r"\bpip install\b", command)
    ]
    assert len(commands) == 2
    for command in commands:
        assert "--require-hashes" in command
        assert re.search(r"-r (uv\.txt|requirements\.lock)\b", command)
        assert "://" not in command


def test_uv_comes_out_of_the_lock_whole(tmp_path: Path) -> None:
    """What the image takes from the lock to install uv is uv alone, pinned, with its hashes."""
    (command,) = (
        command.strip()
        for text in _of("RUN")
        for command in text.split("&&")
        if command.strip().startswith("awk ")
    )
    subprocess.run(
        ["/bin/sh", "-c", command.replace("uv.txt", str(tmp_path / "uv.txt"))],
        cwd=ROOT,
        check=True,
    )
    lines = (tmp_path / "uv.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if re.match(r"[a-z]", line)]
    assert len(pinned) == 1
    assert re.match(r"uv==\d", pinned[0])
    assert sum("--hash=sha256:" in line for line in lines) > 1


def test_every_source_exists_and_reaches_the_builder() -> None:
    """Each file or folder that is copied is in the repository, and the ignore file lets it pass."""
    ignored = IGNORED.read_text(encoding="utf-8").splitlines()
    let_through = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert _copied_sources()
    for source in _copied_sources():
        assert (ROOT / source).exists(), source
        assert source in let_through
    assert let_through == set(_copied_sources())


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_is_in_the_image(process: str) -> None:
    """What the argument names is under a folder that is copied, and not ignored."""
    path = f"services/cellplane/{process}/__main__.py"
    assert (ROOT / path).exists()
    assert any(path.startswith(f"{source}/") for source in _copied_sources())
    ignored = IGNORED.read_text(encoding="utf-8").splitlines()
    assert not any(
        fnmatch(path, f"{line}/*")
        for line in ignored
        if line and line != "*" and not line.startswith(("!", "#"))
    )


def test_it_holds_no_secret() -> None:
    """No argument, variable or copied file is a credential, and the repository's rest stays out."""
    text = DOCKERFILE.read_text(encoding="utf-8").lower()
    assert not re.search(r"password|passwd|secret|token|api_?key|\.pem\b|\.key\b|credential", text)
    assert not [source for source in _copied_sources() if source in (".", "./", "/")]
    assert not _of("ADD")


def test_it_stops_and_starts_without_a_shell() -> None:
    """The process is the container's first one, gets SIGTERM, and is picked by the argument."""
    (entry,) = _of("ENTRYPOINT", stage=_last_stage())
    command = json.loads(entry)
    assert command[0].startswith("/")
    assert command[1:] == ["-m"]
    assert _of("STOPSIGNAL", stage=_last_stage()) == ["SIGTERM"]


def test_it_says_what_it_is() -> None:
    """The standard labels tell title, version, revision, date and license."""
    label = " ".join(_of("LABEL", stage=_last_stage()))
    for key in ("title", "description", "licenses", "version", "revision", "created"):
        assert f"org.opencontainers.image.{key}=" in label


def test_the_tree_is_enough_to_run(tmp_path: Path) -> None:
    """With nothing on the path but what is copied, a process starts and explains itself."""
    (variables,) = _of("ENV", stage=_last_stage())
    (path,) = re.findall(r"PYTHONPATH=(\S+)", variables)
    for folder in path.split(":"):
        link = tmp_path / folder.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(ROOT / Path(folder).name)
    # -S keeps what is installed in editable mode out; the dependencies come by the path instead.
    dependencies = [entry for entry in sys.path if entry.endswith("site-packages")]
    paths = [str(tmp_path / folder.lstrip("/")) for folder in path.split(":")]
    done = subprocess.run(
        [sys.executable, "-S", "-m", "cellplane.gateway", "--help"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join([*paths, *dependencies]), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "--admin-listen" in done.stdout
