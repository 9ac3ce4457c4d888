"""One service's own database: SQLite in a file, or a schema of PostgreSQL.

Writes are transactions that hold, or leave nothing. On SQLite one connection writes, so that
writers queue in this process instead of failing on a lock, and others read beside it; a second
process on the same file is refused. Migrations run when the database is opened; a database from a
newer version is refused. Driver errors never leave this module: they become ``Unavailable`` or
``Conflict``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa
import structlog
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from cellplane.cell.problem import Conflict, FailedPrecondition, Unavailable

_log = structlog.get_logger()
_POOL = 8

Parameters: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


class Transaction:
    """Statements that hold together."""

    __slots__ = ("_connection", "after")

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.after: list[Callable[[], None]] = []

    async def execute(
        self, statement: sa.Executable, parameters: Parameters = None
    ) -> sa.CursorResult[Any]:
        """Run one statement, buffered."""
        return await self._connection.execute(statement, parameters)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call *call* once it is certain that this transaction holds."""
        self.after.append(call)


class Database:
    """An open database."""

    def __init__(
        self, writer: AsyncEngine, reader: AsyncEngine, *, lock: int | None, schema: str
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._lock = lock
        self._writing = asyncio.Lock() if lock is not None else None
        self.schema = schema
        self.dialect = writer.dialect.name
        self.url = writer.url

    @classmethod
    async def open(
        cls, url: str, *, service: str, migrations: Path, path: Path | None = None
    ) -> Database:
        """Open, and bring the schema up to date.

        Args:
            url: ``sqlite+aiosqlite:///FILE``, ``postgresql://…``, or empty for the file *path*.
            service: Names the schema on PostgreSQL.
            migrations: Folder of Alembic's ``versions``.
            path: The SQLite file where there is no URL.
        """
        if not url:
            if path is None:
                raise FailedPrecondition("no database: give a URL or a state folder")
            url = f"sqlite+aiosqlite:///{path}"
        parsed = sa.make_url(url)
        database = (
            _open_sqlite(cls, parsed, service)
            if parsed.get_backend_name() == "sqlite"
            else _open_postgresql(cls, parsed, service)
        )
        try:
            with _translated():
                await database._migrate(migrations)
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """Close every connection and give the file free."""
        await self._writer.dispose()
        if self._reader is not self._writer:
            await self._reader.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Write: all of it holds when the block ends, or none."""
        async with contextlib.AsyncExitStack() as stack:
            if self._writing is not None:
                await stack.enter_async_context(self._writing)
            with _translated():
                connection = await stack.enter_async_context(self._writer.connect())
                begun = await connection.begin()
                tx = Transaction(connection)
                if self._writing is None:
                    # The change feed reads by sequence, so the order of sequences must be the
                    # order of commits: writers of one schema queue here, as they do on SQLite.
                    lock = sa.text("SELECT pg_advisory_xact_lock(hashtext(:schema))")
                    await tx.execute(lock, {"schema": self.schema})
                try:
                    yield tx
                except BaseException:
                    await asyncio.shield(begun.rollback())
                    raise
                # A commit under way is not abandoned: whether it holds must be known.
                await asyncio.shield(begun.commit())
        for call in tx.after:
            call()

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        """Read: one picture for the whole block."""
        with _translated():
            async with self._reader.connect() as connection:
                if self._writing is None:
                    await connection.execution_options(isolation_level="REPEATABLE READ")
                async with connection.begin():
                    yield Transaction(connection)

    async def _migrate(self, folder: Path) -> None:
        async with self._writer.connect() as connection:
            await connection.run_sync(self._upgrade, folder)
            await connection.commit()

    def _upgrade(self, connection: sa.Connection, folder: Path) -> None:
        config = Config()
        config.set_main_option("script_location", str(folder))
        config.set_main_option("path_separator", "os")
        scripts = ScriptDirectory.from_config(config)
        if self.dialect == "postgresql":
            # One process migrates; the others wait, and find it done.
            connection.execute(
                sa.text("SELECT pg_advisory_xact_lock(hashtext(:s))"), {"s": self.schema}
            )
            connection.execute(sa.text(f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"'))
        context = MigrationContext.configure(
            connection, opts={"transactional_ddl": True, "as_sql": False}
        )
        current = context.get_current_heads()
        known = {script.revision for script in scripts.walk_revisions()}
        if newer := [head for head in current if head not in known]:
            raise FailedPrecondition(
                f"the database is of a newer version ({', '.join(newer)}): run that version, or "
                "restore a backup",
                reason="DATABASE_TOO_NEW",
            )
        heads = scripts.get_heads()
        if set(current) == set(heads):
            return
        steps = list(scripts.iterate_revisions("heads", "base"))
        with Operations.context(context):
            for script in reversed(steps):
                if _applied(scripts, script.revision, current):
                    continue
                script.module.upgrade()
        context.stamp(scripts, "heads")
        _log.info("database.migrated", schema=self.schema, heads=heads)


def _applied(scripts: ScriptDirectory, revision: str, current: tuple[str, ...]) -> bool:
    return any(
        revision == script.revision
        for head in current
        for script in scripts.iterate_revisions(head, "base")
    )


def _open_sqlite(cls: type[Database], url: sa.URL, service: str) -> Database:
    if not url.database or url.database == ":memory:":
        raise FailedPrecondition("a database in memory keeps nothing: name a file")
    file = Path(url.database)
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise FailedPrecondition(
            f"{file} is open in another process: SQLite serves one; use PostgreSQL for more",
            reason="DATABASE_IN_USE",
        ) from None
    url = url.set(drivername="sqlite+aiosqlite")

    def engine(*, writes: bool) -> AsyncEngine:
        made = create_async_engine(
            url, pool_size=1 if writes else 4, max_overflow=0, isolation_level=None
        )

        @event.listens_for(made.sync_engine, "connect")
        def configure(connection: Any, _: Any) -> None:
            # The driver's own notion of transactions is off: BEGIN is ours.
            connection.isolation_level = None
            cursor = connection.cursor()
            for pragma in (
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                "busy_timeout=5000",
            ):
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

        @event.listens_for(made.sync_engine, "begin")
        def begin(connection: sa.Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        return made

    return cls(engine(writes=True), engine(writes=False), lock=lock, schema=service)


def _open_postgresql(cls: type[Database], url: sa.URL, service: str) -> Database:
    engine = create_async_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=_POOL,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        connect_args={"options": f"-csearch_path={service}"},
    )
    return cls(engine, engine, lock=None, schema=service)


@contextlib.contextmanager
def _translated() -> Any:
    try:
        yield
    except sa.exc.DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None)
        _log.warning("database.error", error=str(error.orig), sqlstate=state)
        # 40001, 40P01: a concurrent write came first; 23505: a unique key did.
        if state in {"40001", "40P01", "23505"} or isinstance(error, sa.exc.IntegrityError):
            raise Conflict(
                "somebody else changed the same at the same time: read it, and try again",
                reason="CONCURRENT_CHANGE",
            ) from error
        raise Unavailable(
            "the database does not answer now", reason="DATABASE_UNAVAILABLE"
        ) from error
    except sa.exc.TimeoutError as error:
        raise Unavailable("the database is busy", reason="DATABASE_BUSY") from error
