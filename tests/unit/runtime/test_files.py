"""Files are replaced whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellplane.runtime.files import write_atomic


def test_a_file_is_written_with_its_mode(tmp_path: Path) -> None:
    """A file gets its content and mode, its folder is made, and nothing else is left there."""
    path = tmp_path / "a" / "b"
    for content in (b"one", b"two"):
        write_atomic(path, content)
        assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in path.parent.iterdir()] == ["b"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    """A write that can't be finished changes nothing, and leaves no part behind."""
    path = tmp_path / "folder"
    path.mkdir()
    (path / "x").touch()
    with pytest.raises(OSError, match="irectory"):
        write_atomic(path, b"data")
    assert [found.name for found in tmp_path.iterdir()] == ["folder"]
