"""One transaction for one request, with what every write of the contract has (AIP-155, AIP-163)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from google.protobuf.message import Message

from cellplane.resource.once import run
from cellplane.runtime.clock import Clock
from cellplane.store.database import Database, Transaction
from cellplane.store.resources import Resources

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transactions:
    """Where requests do their work."""

    database: Database
    resources: Resources
    clock: Clock

    async def run(
        self, request: Any, work: Callable[[Transaction], Awaitable[M]], answer: type[M]
    ) -> M:
        """Replay, try out or do *work*; *request* has ``request_id`` and ``validate_only``."""
        done = await run(self.database, self.resources, self.clock, request, work, answer)
        return cast("M", done)
