"""``api-linter``, the referee of the API Improvement Proposals, over every contract."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cellplane.sandbox.build import Tool, build

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "proto" / "api-linter.yaml"


@pytest.fixture(scope="module")
def linter() -> Path:
    """The program; compiled once for each user."""
    return asyncio.run(build([Tool.API_LINTER]))[Tool.API_LINTER]


def lint(linter: Path, *options: str) -> set[tuple[str, str, str]]:
    """File, rule and message of every problem."""
    files = sorted(str(p.relative_to(ROOT / "proto")) for p in (ROOT / "proto").rglob("*.proto"))
    done = subprocess.run(
        [
            *(str(linter), "-I", ".", "-I", str(ROOT / "third_party" / "proto")),
            *("--ignore-comment-disables", "--output-format", "json"),
            *options,
            *files,
        ],
        cwd=ROOT / "proto",
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert {file["file_path"] for file in found} == set(files)
    return {
        (file["file_path"], problem["rule_id"], problem["message"])
        for file in found
        for problem in file["problems"]
    }


def excused() -> list[tuple[str, str]]:
    """Path patterns and rules of the exceptions."""
    return [
        (pattern, rule)
        for entry in YAML(typ="safe").load(CONFIG)
        for pattern in entry["included_paths"]
        for rule in entry["disabled_rules"]
    ]


@pytest.mark.timeout(900)
def test_the_contracts_keep_the_proposals(linter: Path) -> None:
    """A 1 to 25, as their authors check them: nothing is left but the written exceptions."""
    assert lint(linter, "--config", str(CONFIG)) == set()


@pytest.mark.timeout(900)
def test_every_exception_is_needed(linter: Path) -> None:
    """An exception that excuses nothing is taken off the list."""
    found = {(path, rule) for path, rule, _ in lint(linter)}
    rules = {rule for _, rule in found}
    assert {rule for _, rule in excused()} == rules
    for pattern, rule in excused():
        folder = pattern.removesuffix("**/*.proto").removesuffix("**")
        hits = [path for path, broken in found if broken == rule and path.startswith(folder)]
        shared = [other for other, excuse in excused() if excuse == rule]
        assert hits or len(shared) > 1, f"{rule} of {pattern} excuses nothing"
