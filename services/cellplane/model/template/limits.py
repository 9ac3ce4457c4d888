"""What an evaluation may cost at most: counted in steps, never in time.

A comprehension spends the size of its body for each item; what makes or reads a value spends the
value's size. Whatever a type says, a component is rendered within these bounds or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

MAX_EXPRESSION: Final = 2048
"""Characters of one expression."""
MAX_NESTING: Final = 32
"""Levels of brackets, calls and the like in one expression."""
MAX_TREE: Final = 100
"""Levels of one expression as a tree."""
MAX_COMPREHENSIONS: Final = 3
"""Comprehensions inside of each other."""
MAX_ITEMS: Final = 1024
"""Items of one list, or keys of one map."""
MAX_TEXT: Final = 256 * 1024
"""Characters of one text."""
MAX_STEPS: Final = 200_000
"""Steps for one component."""
MAX_DEPTH: Final = 48
"""Levels of a value."""
MAX_OUTPUT: Final = 200_000
"""Values, and hundreds of characters, that a component may become."""

_UNIT: Final = 64


class Exhausted(Exception):
    """An evaluation asked for more than it may have; the message says of what."""


@dataclass(slots=True)
class Budget:
    """What is left for one component."""

    steps: int = MAX_STEPS

    def spend(self, steps: int) -> None:
        """Take steps away. Raises ``Exhausted`` where none are left."""
        self.steps -= steps
        if self.steps < 0:
            raise Exhausted(
                f"takes more than {MAX_STEPS:,} steps: loop over less, or nest fewer loops"
            )

    def text(self, text: str) -> str:
        """Pay for a text that was made."""
        self.length(len(text))
        return text

    def length(self, characters: int) -> None:
        """Pay for a text that is to be made."""
        if characters > MAX_TEXT:
            raise Exhausted(f"makes a text of more than {MAX_TEXT:,} characters")
        self.spend(1 + characters // _UNIT)

    def items(self, count: int) -> None:
        """Pay for a list or a map that is made."""
        if count > MAX_ITEMS:
            raise Exhausted(f"makes a list of {count:,} items, and {MAX_ITEMS:,} is the most")
        self.spend(count)

    def walk(self, value: Any, depth: int = 0) -> None:
        """Pay for looking at the whole of a value."""
        self.spend(1)
        if depth > MAX_DEPTH:
            raise Exhausted(f"makes a value that is nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, str):
            self.spend(len(value) // _UNIT)
        elif isinstance(value, dict):
            for key, item in value.items():
                self.spend(len(key) // _UNIT)
                self.walk(item, depth + 1)
        elif isinstance(value, list | tuple):
            for item in value:
                self.walk(item, depth + 1)
