"""Rules of the house that no linter knows."""

from __future__ import annotations

import filecmp
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICES = ("model", "placement", "network_policy", "gateway", "observability")


def test_the_namespace_has_no_init() -> None:
    """An ``__init__.py`` directly in ``cellplane`` would make every stub unimportable."""
    roots = [ROOT / "services" / "cellplane", ROOT / "gen" / "cellplane"]

    assert [str(root) for root in roots if (root / "__init__.py").exists()] == []
    assert sorted(str(path) for path in (ROOT / "gen" / "cellplane").rglob("__init__.py")) == []


def test_hand_written_and_generated_packages_never_meet() -> None:
    """No hand-written package is named as a generated one beside it."""
    written = {path.name for path in (ROOT / "services" / "cellplane").iterdir() if path.is_dir()}
    generated = {path.name for path in (ROOT / "gen" / "cellplane").iterdir() if path.is_dir()}

    assert set() == (written & generated) - {"__pycache__"}


def test_generated_code_equals_the_contracts(tmp_path: Path) -> None:
    """Generating again gives the committed files, byte for byte."""
    environment = {**os.environ, "PYTHON": sys.executable}
    subprocess.run(
        [ROOT / "tools" / "generate.sh", str(tmp_path)], check=True, cwd=ROOT, env=environment
    )
    fresh = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    committed = {
        path.relative_to(ROOT / "gen")
        for path in (ROOT / "gen").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert fresh == committed
    assert (
        sorted(
            str(path)
            for path in fresh
            if not filecmp.cmp(tmp_path / path, ROOT / "gen" / path, shallow=False)
        )
        == []
    )


def test_the_reference_equals_the_contracts(tmp_path: Path) -> None:
    """The committed API reference says what the contracts say."""
    fresh = tmp_path / "reference.md"
    subprocess.run([sys.executable, ROOT / "tools" / "reference.py", fresh], check=True, cwd=ROOT)

    assert fresh.read_text() == (ROOT / "docs" / "reference.md").read_text()


def test_every_service_has_the_same_rooms() -> None:
    """Who knows one service knows all: each has ``__main__``, ``config`` and ``service``."""
    rooms = ("__main__", "config", "service")

    missing = [
        f"{service}/{room}"
        for service in SERVICES
        for room in rooms
        if not (ROOT / "services" / "cellplane" / service / f"{room}.py").exists()
        and not (ROOT / "services" / "cellplane" / service / room).is_dir()
    ]

    assert missing == []


def test_layers_hold() -> None:
    """Imports point inward, as the contracts of import-linter say."""
    lint = Path(sys.executable).with_name("lint-imports")
    answer = subprocess.run([lint], check=False, cwd=ROOT, capture_output=True, text=True)

    assert answer.returncode == 0, answer.stdout


def test_locks_record_no_registry() -> None:
    """Lock files carry hashes, and no address of a registry."""
    for lock in ROOT.glob("**/*.lock"):
        if ".venv" in lock.parts:
            continue
        text = lock.read_text()

        assert "--hash=sha256:" in text, lock
        assert "http://" not in text, lock
        assert "https://" not in text, lock
        assert "--index-url" not in text, lock


def test_nothing_holds_a_conflict() -> None:
    """No tracked file holds what a merge leaves where two sides differ."""
    marked = subprocess.run(
        ["git", "grep", "-lIE", r"^(<{7}|>{7}|[|]{7})( |$)"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    # 1 is git's word for "found nothing"; anything above is a failure of its own.
    assert (marked.returncode, marked.stdout) == (1, ""), marked.stdout + marked.stderr
