"""Whether a person reads: colours and redrawing only then, and never with ``NO_COLOR``."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TextIO

_STYLES: Final = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "dim": "2", "bold": "1"}


def colours(stream: TextIO) -> bool:
    """Tell whether colours may be written to *stream*."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("CLICOLOR_FORCE")) or stream.isatty()


def paint(text: str, style: str, *, on: bool) -> str:
    """Colour *text*, if colours are on."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if on and style else text


def say(text: str) -> None:
    """Words for people: standard error."""
    sys.stderr.write(f"{text}\n")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Columns, as wide as their longest cell; the last one is not padded."""
    lines = [tuple(head), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        yield "   ".join(cells).rstrip()


def difference(before: str, after: str, name: str, *, colour: bool) -> Iterator[str]:
    """What changes between two documents, as a unified diff."""
    lines = difflib.unified_diff(
        before.splitlines(),
        after.splitlines(),
        f"{name} (is)" if before else "/dev/null",
        f"{name} (will be)",
        lineterm="",
    )
    styles = {"+": "green", "-": "red", "@": "blue"}
    for line in lines:
        yield paint(line, styles.get(line[:1], ""), on=colour)
