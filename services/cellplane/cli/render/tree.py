"""A tree in text: what something is, how it is, and what belongs to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from cellplane.cli.render.output import paint

_MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "READY": ("✓", "green"),
    "PROGRESSING": ("…", "yellow"),
    "FAILED": ("✗", "red"),
    "UNKNOWN": ("?", "yellow"),
    "SUSPENDED": ("-", "dim"),
}


@dataclass(slots=True, kw_only=True)
class Branch:
    """One line, the notes below it, and what belongs to it."""

    text: str
    health: str = ""
    notes: list[str] = field(default_factory=list)
    children: list[Branch] = field(default_factory=list)


def lines(branch: Branch, *, colour: bool, indent: str = "", head: str = "") -> Iterator[str]:
    """Draw a tree, top down."""
    mark, style = _MARKS.get(branch.health, ("", ""))
    state = f"{mark} " if mark else ""
    word = f"  {branch.health}" if branch.health else ""
    yield f"{head}{paint(state, style, on=colour)}{branch.text}{paint(word, style, on=colour)}"
    below = indent + ("│  " if branch.children else "   ")
    for note in branch.notes:
        yield f"{below}{paint(note, 'dim', on=colour)}"
    for number, child in enumerate(branch.children, 1):
        last = number == len(branch.children)
        yield from lines(
            child,
            colour=colour,
            indent=indent + ("   " if last else "│  "),
            head=indent + ("└─ " if last else "├─ "),
        )
