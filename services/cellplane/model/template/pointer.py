"""JSON pointers (RFC 6901) into objects, with a step of their own: ``[name=web]`` in a list.

Two writes conflict if one's place is the other's, or is inside of it. Places are canonical: an item
that has a name is known by it, however a patch writes its step, so that two ways to say the same
field are seen as the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from cellplane.model.template.syntax import Wrong

_BY_KEY: Final = re.compile(r"\[([A-Za-z][A-Za-z0-9]*)=([^\]]*)\]")
APPEND: Final = "-"
PROTECTED: Final = (("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace"))
"""What an object is known by: no patch changes it."""


@dataclass(frozen=True, slots=True)
class ByKey:
    """The item of a list whose field has a value."""

    field: str
    value: str

    def __str__(self) -> str:
        return f"[{self.field}={self.value}]"


Step = str | ByKey
Place = tuple[str, ...]
"""Canonical steps."""


def read_pointer(text: str) -> tuple[Step, ...]:
    """Read a pointer. Raises ``Wrong``."""
    if not text.startswith("/") or text == "/":
        raise Wrong(f'"{text}" is no pointer: write /spec/replicas')
    steps: list[Step] = []
    for raw in _split(text[1:]):
        match = _BY_KEY.fullmatch(raw)
        if match:
            steps.append(ByKey(match.group(1), match.group(2)))
        else:
            steps.append(raw.replace("~1", "/").replace("~0", "~"))
    return tuple(steps)


def _split(text: str) -> list[str]:
    """Split at slashes, but not inside of ``[name=/a/b]``."""
    parts, depth = [""], 0
    for character in text:
        if character == "/" and depth == 0:
            parts.append("")
            continue
        depth += {"[": 1, "]": -1}.get(character, 0)
        parts[-1] += character
    return parts


def write(place: Place) -> str:
    """A place as people read it."""
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in place)


def is_protected(place: Place) -> bool:
    """Whether writing there would make another object of it."""
    return any(place == own[: len(place)] or place[: len(own)] == own for own in PROTECTED)


def overlap(one: Place, other: Place) -> bool:
    """Whether two places are one, or one is inside of the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def index_of(items: list[Any], step: Step) -> int:
    """Which item of a list a step means. Raises ``Wrong``."""
    if isinstance(step, ByKey):
        for index, item in enumerate(items):
            if isinstance(item, dict) and str(item.get(step.field)) == step.value:
                return index
        there = [str(i[step.field]) for i in items if isinstance(i, dict) and step.field in i]
        raise Wrong(f"there is no item {step}: there are {', '.join(there) or 'none'}")
    if not step.isdigit():
        raise Wrong(f'"{step}" is no index of a list: write a number, - or [name=x]')
    if int(step) >= len(items):
        raise Wrong(f"there is no item {step}: the list has {len(items)}")
    return int(step)


def canonical_step(items: list[Any], index: int) -> str:
    """How an item of a list is known: by its name, where it has one that no other has."""
    item = items[index]
    name = item.get("name") if isinstance(item, dict) else None
    if isinstance(name, str):
        same = [i for i in items if isinstance(i, dict) and i.get("name") == name]
        if len(same) == 1:
            return str(ByKey("name", name))
    return str(index)
