"""News of commits in other processes on the same PostgreSQL schema.

A notice says only that there is something to read, so a lost one costs nothing that the next
connection does not make good: whoever listens is called once more after each reconnect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg
import sqlalchemy as sa
import structlog
from psycopg import sql

_log = structlog.get_logger()
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0


def channel(schema: str) -> str:
    """The channel of a schema."""
    return f"cellplane_{schema}"


async def listen(url: sa.URL, schema: str, sender: str, call: Callable[[], None]) -> None:
    """Call *call* after each notice of another sender, for ever; connects again when it must."""
    conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
    statement = sql.SQL("LISTEN {}").format(sql.Identifier(channel(schema)))
    delay = _FIRST_DELAY
    while True:
        try:
            connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
            async with connection:
                await connection.execute(statement)
                delay = _FIRST_DELAY
                call()
                async for notice in connection.notifies():
                    # Who writes knows of it already.
                    if notice.payload != sender:
                        call()
        except psycopg.OperationalError as error:
            _log.warning("database.notices_lost", schema=schema, error=str(error))
        await asyncio.sleep(delay)
        delay = min(delay * 2, _LONGEST_DELAY)
