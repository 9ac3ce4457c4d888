"""Named places between two durable steps, where a test can stop placement, or end it.

Unarmed they cost a call. The variable ``CELLPLANE_PLACEMENT_KILL_AT`` names one at which
the process kills itself, as a crash would; a function that is handed in can do anything else.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

VARIABLE: Final = "CELLPLANE_PLACEMENT_KILL_AT"
PLACES: Final = (
    "decision.made",
    "decision.stored",
    "move.made",
    "move.ready",
    "move.cut_over",
    "move.draining",
    "move.removed",
    "move.over",
)
"""In the order in which a move passes them."""

Reached: TypeAlias = Callable[[str], Awaitable[None]]
"""Is told each place that is reached, and returns when it may go on."""


async def unarmed(place: str) -> None:
    """Go on."""
    del place


UNARMED: Final[Reached] = unarmed


def from_environment() -> Reached:
    """End this process at the place that the environment names, if it names one."""
    wanted = os.environ.get(VARIABLE, "")
    if not wanted:
        return UNARMED

    async def kill(place: str) -> None:
        if place == wanted:
            os.kill(os.getpid(), signal.SIGKILL)

    return kill
