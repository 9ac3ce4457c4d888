"""What there is to say, while nobody listens and when somebody does.

Holds names, not messages: what is said is made when it is sent, so that a long absence costs no
memory and only the latest is said. Queues outlive streams.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from cellplane.agent.reports import Drift

_DRIFTS: Final = 1000


class DueOutbox:
    """Which Cells there is something to say of."""

    def __init__(self) -> None:
        self.applied: dict[str, None] = {}
        self.reports: dict[str, None] = {}
        self.drifts: deque[Drift] = deque(maxlen=_DRIFTS)
        self.facts = False
        self.stir = asyncio.Event()

    def applied_due(self, cell: str) -> None:
        """``Applied`` is to be sent now."""
        self.applied[cell] = None
        self.stir.set()

    def report_due(self, cell: str) -> None:
        """``CellReport`` is to be sent now."""
        self.reports[cell] = None
        self.stir.set()

    def drifted(self, drift: Drift) -> None:
        """``Drift`` is to be sent."""
        self.drifts.append(drift)
        self.stir.set()

    def facts_due(self) -> None:
        """``Facts`` are to be sent, if others were."""
        self.facts = True
        self.stir.set()
