"""One connection to PostgreSQL for reads of one statement: one round trip each, and no more.

Beside the pools, whose transactions and pings cost three round trips more. The statement is planned
once for each connection, and rows come in binary. A connection that was lost is made anew at once,
for the reads that find it so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

_CONNECT_SECONDS = 10


class Single:
    """Runs one statement after the other."""

    def __init__(self, url: sa.URL, options: str) -> None:
        self._conninfo = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._options = options
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._turn = asyncio.Lock()
        self._texts: dict[sa.Executable, bytes] = {}

    async def rows(
        self, statement: sa.Executable, parameters: Mapping[str, Any]
    ) -> Sequence[tuple[Any, ...]]:
        """Read every row; a psycopg error leaves as it is."""
        text = self._texts.get(statement)
        if text is None:
            dialect: Any = PGDialect_psycopg
            compiled: Any = statement
            text = str(compiled.compile(dialect=dialect())).encode()
            self._texts[statement] = text
        async with self._turn:
            known = self._connection is not None
            try:
                return await self._run(text, parameters)
            except psycopg.OperationalError:
                if self._connection is not None or not known:
                    raise
            # It was closed while nobody looked: a new one shows whether the server is there.
            return await self._run(text, parameters)

    async def close(self) -> None:
        """Close the connection."""
        async with self._turn:
            await self._drop()

    async def _run(self, text: bytes, parameters: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        connection = self._connection
        if connection is None:
            connection = await psycopg.AsyncConnection.connect(
                self._conninfo,
                autocommit=True,
                options=self._options,
                connect_timeout=_CONNECT_SECONDS,
            )
            self._connection = connection
        try:
            cursor = await connection.execute(text, parameters, prepare=True, binary=True)
            return await cursor.fetchall()
        except BaseException:
            # Cancelled in the middle, or lost: whatever comes next must not read its answer.
            if connection.closed or connection.broken or connection.info.transaction_status:
                await self._drop()
            raise

    async def _drop(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()
