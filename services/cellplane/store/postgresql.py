"""PostgreSQL: a schema for each service, which several processes may share.

Importing this module imports the driver; ``database`` does so only where there is such a URL.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateSchema

from cellplane.store import lead as leads
from cellplane.store import notices
from cellplane.store.database import (
    Database,
    Transaction,
    announce_held,
    conflict,
    down,
    finish,
    translated,
)
from cellplane.store.migrate import upgrade
from cellplane.store.prepared import Prepared
from cellplane.store.single import Single

_log = structlog.get_logger()
_READERS = 8
_LOCK = "SELECT pg_advisory_xact_lock(hashtext(:schema))"
_QUEUE = Prepared(sa.text(_LOCK))
_OPTIONS = (
    "-csearch_path={schema}",
    # A process that hangs must not keep the others' writes waiting.
    "-cidle_in_transaction_session_timeout=60s",
    "-clock_timeout=10s",
    "-cstatement_timeout=30s",
)


class Postgresql(Database):
    """A schema of its own; several processes may share it."""

    dialect = "postgresql"

    def __init__(self, url: sa.URL, schema: str) -> None:
        self.schema = schema
        self._url = url
        self._sender = secrets.token_hex(8)
        # Writers queue here, and hold no connection meanwhile that readers need.
        self._writing = asyncio.Lock()
        self._writer = _engine(url, schema, size=1)
        self._reader = _engine(url, schema, size=_READERS)
        self._single = Single(url, " ".join(_OPTIONS).format(schema=schema))

    async def close(self) -> None:
        await self._single.close()
        await self._writer.dispose()
        await self._reader.dispose()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self._writing:
            with translated(), _translated():
                async with self._writer.connect() as connection:
                    begun = await connection.begin()
                    tx = Transaction(connection, self.schema, self._sender)
                    # The change feed reads by sequence, so the order of sequences must be the
                    # order of commits: writers of other processes queue here.
                    await tx.change(_QUEUE, {"schema": self.schema})
                    try:
                        yield tx
                    except BaseException:
                        await finish(begun.rollback())
                        raise
                    if tx.discarded:
                        await finish(begun.rollback())
                        return
                    interrupted = await finish(begun.commit())
        announce_held(tx, interrupted)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        with translated(), _translated():
            async with self._reader.connect() as connection:
                await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
                async with connection.begin():
                    yield Transaction(connection, self.schema)

    async def rows(
        self, statement: sa.Executable, parameters: Mapping[str, Any]
    ) -> Sequence[tuple[Any, ...]]:
        try:
            return await self._single.rows(statement, parameters)
        except psycopg.Error as error:
            _log.warning("database.error", error=str(error), sqlstate=error.sqlstate)
            raise down() from error

    @contextlib.asynccontextmanager
    async def listen(self, call: Callable[[], None]) -> AsyncIterator[None]:
        task = asyncio.create_task(
            notices.listen(self._url, self.schema, self._sender, call), name="notices"
        )
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def lead(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await leads.lead(self._url, f"{self.schema} {name}", work)
        except psycopg.Error as error:
            _log.warning("lead.lost", name=name, error=str(error))
            raise down() from error

    async def _migrate(self, folder: Path) -> None:
        async with self._writer.begin() as connection:
            # One process migrates; the others wait, and find it done.
            await connection.execute(sa.text(_LOCK), {"schema": self.schema})
            # Whoever made the schema beforehand need not let us make schemas.
            there = sa.text("SELECT to_regnamespace(quote_ident(:schema)) IS NOT NULL")
            found = await connection.execute(there, {"schema": self.schema})
            if not found.scalar_one():
                await connection.execute(CreateSchema(self.schema))
            await connection.run_sync(upgrade, folder, self.schema)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """The same of the driver's own errors."""
    try:
        yield
    except psycopg.Error as error:
        # 40001, 40P01: a concurrent write came first.
        if isinstance(error, psycopg.IntegrityError) or error.sqlstate in {"40001", "40P01"}:
            raise conflict(error) from error
        if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            raise
        _log.warning("database.error", error=str(error), sqlstate=error.sqlstate)
        raise down() from error


def _engine(url: sa.URL, schema: str, *, size: int) -> AsyncEngine:
    return create_async_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=size,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        connect_args={"options": " ".join(_OPTIONS).format(schema=schema)},
    )
