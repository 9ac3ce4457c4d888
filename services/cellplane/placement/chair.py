"""One replica leads at a time; this is where it does so, and where the next one waits to.

Everything that decides is made anew, from the database, by whoever begins to lead, and is thrown
away by whoever ends. Streams end with it: their agents come again, to any replica.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from cellplane.cell.problem import CellplaneError, Unavailable
from cellplane.placement.leading import Leading
from cellplane.runtime.tasks import Loop
from cellplane.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """What a leader has."""

    servicers: Mapping[str, object]
    """By the full name of their service."""
    loops: Sequence[Loop]
    end_streams: Callable[[CellplaneError], None]
    close: Callable[[], Awaitable[None]]
    """Ends what it has begun, and stores what is not stored yet."""


class Chair:
    """Leads when nobody else does."""

    def __init__(
        self,
        *,
        database: Database,
        leading: Leading,
        open_seat: Callable[[], Awaitable[Seat]],
        on_lead: Callable[[], None],
    ) -> None:
        """``open_seat()`` takes what is stored; the epoch is committed by then."""
        self._database = database
        self._leading = leading
        self._open_seat = open_seat
        self._on_lead = on_lead
        self._seat: Seat | None = None
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def servicer(self, service: str) -> object | None:
        """Who answers for a service, if this process leads."""
        return None if self._seat is None else self._seat.servicers[service]

    async def settled(self, patience: float | None) -> None:
        """Wait until this process leads, or *patience* seconds because another one does.

        Raises what kept it from leading at its first try.
        """
        await asyncio.wait({self._first}, timeout=patience)
        if self._first.done():
            self._first.result()

    async def stand(self, address: Callable[[], Awaitable[str]]) -> None:
        """Wait for the lead, and lead; returns when the lead is lost.

        ``address()`` answers where other replicas reach this one, once its port is bound.
        """
        try:
            await self._database.lead("placement", lambda: self._lead(address))
        except Exception as error:
            if self._first.done():
                raise
            self._first.set_exception(error)

    async def _lead(self, address: Callable[[], Awaitable[str]]) -> None:
        await self._leading.next_epoch()
        seat = await self._open_seat()
        try:
            async with asyncio.TaskGroup() as group:
                for loop in seat.loops:
                    group.create_task(loop.run(), name=loop.name)
                self._seat = seat
                self._on_lead()
                if not self._first.done():
                    self._first.set_result(None)
                await self._leading.announce(await address())
        finally:
            self._seat = None
            seat.end_streams(Unavailable("this replica leads no more: connect again"))
            # Who leads by now makes what is lost good: agents say it again.
            with contextlib.suppress(Unavailable):
                await seat.close()
