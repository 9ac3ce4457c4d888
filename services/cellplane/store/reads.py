"""Single resources, read together: whoever asks while a query is under way shares the next one.

The query begins after the last of those who share it asked, so each sees every write that was
acknowledged before: nothing is cached. Alone, a reader pays one query; a thousand pay a few.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from cellplane.store.database import Database
from cellplane.store.resources import Resources
from cellplane.store.types import Name

_WINDOW = 0.005
"""Seconds that a crowd waits for those who are about to ask."""

Found = tuple[str, int, bytes]
"""Kind, revision and payload."""


class Reads:
    """Reads resources by name."""

    def __init__(self, database: Database, resources: Resources) -> None:
        self._database = database
        self._resources = resources
        self._waiting: dict[str, list[asyncio.Future[Found | None]]] = {}
        self._task: asyncio.Task[None] | None = None
        t = resources.tables.resources
        some = sa.bindparam("names", type_=ARRAY(Name))
        # One text, however many names: PostgreSQL plans it once for each connection.
        self._query = sa.select(t.c.name, t.c.kind, t.c.revision, t.c.payload).where(
            t.c.name == sa.any_(some)
        )

    async def get(self, name: str) -> Found | None:
        """Read one, as it is now or later.

        Raises:
            Unavailable: the database does not answer.
        """
        future: asyncio.Future[Found | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, []).append(future)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="reads")
        return await future

    async def _run(self) -> None:
        try:
            crowd = 0
            while self._waiting:
                if crowd > 1 or len(self._waiting) > 1:
                    # Many ask: those who are about to are worth waiting for.
                    await asyncio.sleep(_WINDOW)
                waiting, self._waiting = self._waiting, {}
                crowd = sum(map(len, waiting.values()))
                try:
                    found = await self._read(waiting)
                except BaseException as error:
                    for future in (f for some in waiting.values() for f in some if not f.done()):
                        future.set_exception(error)
                    if not isinstance(error, Exception):
                        raise
                else:
                    for name, some in waiting.items():
                        for future in (f for f in some if not f.done()):
                            future.set_result(found.get(name))
        finally:
            self._task = None

    async def _read(self, names: Collection[str]) -> dict[str, Found]:
        if self._database.dialect == "postgresql":
            rows = await self._database.rows(self._query, {"names": list(names)})
            return {name: (kind, revision, payload) for name, kind, revision, payload in rows}
        async with self._database.snapshot() as tx:
            many = await self._resources.get_many(tx, names)
        return {name: (s.kind, s.revision, s.payload) for name, s in many.items()}
