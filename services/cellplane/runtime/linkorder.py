"""The order of a link's messages, counted by both sides: nothing is taken twice, late or in part.

A stream of HTTP/2 keeps order by itself; what stands between both sides (proxies, meshes, whoever
replays what was captured) need not. So each direction begins at a random number and counts by one.
A repeat is dropped; after anything else out of order the stream ends, and the next one finds out
what both sides have. Pure: the first number is an argument.
"""

from __future__ import annotations

from typing import Final

from cellplane.cell.problem import Unavailable

FIRST_BITS: Final = 30
"""The first number has so many; a stream ends by its age long before an int32 is used up."""
_REPEATS: Final = 4096
"""How far behind a number may be to be a repeat of this stream."""


class Outgoing:
    """Numbers what one side sends."""

    def __init__(self, first: int) -> None:
        """*first* is any number; 0 does not count, for agents that do not."""
        self._next: int = first & (2**FIRST_BITS - 1)

    def number(self) -> int:
        """The number of the next message."""
        number = self._next
        self._next += bool(number)
        return number


class Incoming:
    """Checks what the other side sends."""

    def __init__(self) -> None:
        self._last = 0
        self._taken = 0

    def take(self, number: int) -> bool:
        """Whether to look at a message; ``False`` for a repeat.

        Raises ``Unavailable`` for a message that belongs elsewhere: end the stream.
        """
        if not self._taken:
            self._taken, self._last = 1, number
            return True
        if not self._last and not number:
            return True
        if self._last and number == self._last + 1:
            self._taken, self._last = self._taken + 1, number
            return True
        if number and 0 <= self._last - number < min(self._taken, _REPEATS):
            return False
        raise Unavailable(
            f"message {number} came after message {self._last}: one was lost, or is of another "
            "stream; both sides begin anew",
            reason="STREAM_BROKEN",
        )
