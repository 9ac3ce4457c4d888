"""Work that one process at a time does, of all that share a schema of PostgreSQL.

Who holds a session's advisory lock leads. The lock goes with its connection, so the work ends when
that is lost; another process may have begun it a moment before that is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import sqlalchemy as sa
import structlog

_LOOK_SECONDS = 2.0
_log = structlog.get_logger()


async def lead(url: sa.URL, name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Wait for the lead, then *work*; returns when the lead is lost, or the work is done."""
    conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
    async with connection:
        await connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 7))", [name])
        _log.info("lead.taken", name=name)
        working = asyncio.ensure_future(work())
        try:
            while not working.done():
                await asyncio.wait({working}, timeout=_LOOK_SECONDS)
                await connection.execute("SELECT 1")
            working.result()
        finally:
            working.cancel()
            await asyncio.wait({working})
