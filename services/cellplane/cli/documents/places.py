"""Where in which file something stands, and what is wrong there."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_LAST_STEP = re.compile(r'(\.[^.\[\]"]+|\[[0-9]+\]|\["[^"]*"\]|^[^.\[\]"]+)$')


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a file; lines and columns count from 1."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong at a place."""

    place: Place
    message: str
    field: str = ""
    """Path of the field, as the contracts write it."""

    def __str__(self) -> str:
        where = f"{self.place}: {self.field}" if self.field else str(self.place)
        return f"{where}: {self.message}"


@dataclass(slots=True, kw_only=True)
class Places:
    """The place of each field of one document, by its path."""

    start: Place
    fields: dict[str, Place] = field(default_factory=dict)

    def of(self, path: str) -> Place:
        """The place of a field; of one that is not written, that of what it would be in."""
        while path:
            if path in self.fields:
                return self.fields[path]
            path = _LAST_STEP.sub("", path)
        return self.start
