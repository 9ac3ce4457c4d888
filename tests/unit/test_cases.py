"""The tables of docs/agents.md: each invariant and each case has a test that exists, or says so."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (\d+) \| .* \| (.+) \|$", re.MULTILINE)
INVARIANTS = range(1, 13)
CASES = [*range(16, 32), *range(72, 96)]
OPEN = {25, 77, 93}
"""Cases without a test. Take a number off when it has one."""


def rows() -> list[tuple[int, str]]:
    """Number and tests of each row, in order."""
    text = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    return [(int(number), tests) for number, tests in ROW.findall(text)]


def test_every_invariant_and_every_case_is_there_once() -> None:
    """No number is left out."""
    assert [number for number, _ in rows()] == [*INVARIANTS, *CASES]


def test_only_what_is_known_to_be_open_is_open() -> None:
    """A case has a test, or is on the list."""
    assert {number for number, tests in rows() if tests == "open"} == OPEN


def test_the_named_tests_exist() -> None:
    """Each is a function of its file."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", " ".join(tests for _, tests in rows()))
    assert len(named) >= len(CASES)
    missing = [
        f"{path}::{test}"
        for path, test in named
        if not re.search(rf"def {test}\(", (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert missing == []
