"""One service's own database: SQLite in a file, or a schema of PostgreSQL.

Writes are transactions that hold, or leave nothing. On SQLite one connection writes, so that
writers queue in this process instead of failing on a lock, and others read beside it; a second
process on the same file is refused. Migrations run when the database is opened; a database from a
newer version is refused. Driver errors never leave this module: they become ``Unavailable`` or
``Conflict``.

SQLite is called in the event loop: a statement takes some ten microseconds, a hop to a thread and
back many times that. Only the commit, which waits for the disk, goes to a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeAlias

import sqlalchemy as sa
import structlog
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from cellplane.cell.problem import Conflict, FailedPrecondition, Unavailable
from cellplane.store import notices

_log = structlog.get_logger()
_CONNECTIONS = 8
_QUEUE = sa.text("SELECT pg_advisory_xact_lock(hashtext(:schema))")
_POSTGRESQL_OPTIONS = (
    "-csearch_path={schema}",
    # A process that hangs must not keep the others' writes waiting.
    "-cidle_in_transaction_session_timeout=60s",
    "-clock_timeout=10s",
    "-cstatement_timeout=30s",
)

Parameters: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None


class Transaction:
    """Statements that hold together."""

    __slots__ = ("_announced", "_connection", "_schema", "after", "discarded")

    def __init__(self, connection: AsyncConnection | sa.Connection, schema: str) -> None:
        self._connection = connection
        self._schema = schema
        self._announced = False
        self.after: list[Callable[[], None]] = []
        self.discarded = False

    async def execute(
        self, statement: sa.Executable, parameters: Parameters = None
    ) -> sa.CursorResult[Any]:
        """Run one statement; its rows are to be read inside of the transaction."""
        if isinstance(self._connection, sa.Connection):
            return self._connection.execute(statement, parameters)
        return await self._connection.execute(statement, parameters)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call *call* once it is certain that this transaction holds."""
        self.after.append(call)

    def discard(self) -> None:
        """Leave nothing of this transaction behind when it ends, and no error."""
        self.discarded = True

    async def announce(self) -> None:
        """Tell other processes on the same schema once this holds; see ``Database.listen``."""
        if self._announced:
            return
        self._announced = True
        if self._connection.dialect.name == "postgresql":
            notify = sa.text("SELECT pg_notify(:channel, '')")
            await self.execute(notify, {"channel": notices.channel(self._schema)})


class Database:
    """An open database."""

    dialect: str
    schema: str

    @classmethod
    async def open(
        cls, url: str, *, service: str, migrations: Path, path: Path | None = None
    ) -> Database:
        """Open, and bring the schema up to date.

        Args:
            url: ``sqlite:///FILE``, ``postgresql://…``, or empty for the file *path*.
            service: Names the schema on PostgreSQL.
            migrations: Folder of Alembic's ``versions``.
            path: The SQLite file where there is no URL.
        """
        if not url:
            if path is None:
                raise FailedPrecondition("no database: give a URL or a state folder")
            url = f"sqlite:///{path}"
        parsed = sa.make_url(url)
        sqlite = parsed.get_backend_name() == "sqlite"
        database = (_Sqlite if sqlite else _Postgresql)(parsed, service)
        try:
            with _translated():
                await database._migrate(migrations)
        except BaseException:
            await database.close()
            raise
        return database

    def __init__(self, url: sa.URL, schema: str) -> None:
        raise TypeError(f"open {url} as {schema} with Database.open")

    async def close(self) -> None:
        """Close every connection and give the file free."""
        raise NotImplementedError

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Write: all of it holds when the block ends, or none."""
        raise NotImplementedError

    def snapshot(self) -> AbstractAsyncContextManager[Transaction]:
        """Read: one picture for the whole block."""
        raise NotImplementedError

    async def _migrate(self, folder: Path) -> None:
        raise NotImplementedError


def _upgrade(connection: sa.Connection, folder: Path, schema: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    context = MigrationContext.configure(connection)
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
            if not _applied(scripts, script.revision, current):
                script.module.upgrade()
    context.stamp(scripts, "heads")
    _log.info("database.migrated", schema=schema, heads=heads)


def _applied(scripts: ScriptDirectory, revision: str, current: tuple[str, ...]) -> bool:
    return any(
        revision == script.revision
        for head in current
        for script in scripts.iterate_revisions(head, "base")
    )


class _Sqlite(Database):
    """One file, one process, one writer; readers beside it."""

    dialect = "sqlite"

    def __init__(self, url: sa.URL, schema: str) -> None:
        if not url.database or url.database == ":memory:":
            raise FailedPrecondition("a database in memory keeps nothing: name a file")
        self.schema = schema
        self._lock = _lock_file(Path(url.database))
        self._writing = asyncio.Lock()
        url = url.set(drivername="sqlite+pysqlite")
        self._writer = _sqlite_engine(url, writes=True)
        self._reader = _sqlite_engine(url, writes=False)

    async def close(self) -> None:
        self._writer.dispose()
        self._reader.dispose()
        os.close(self._lock)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self._writing:
            with _translated(), self._writer.connect() as connection:
                begun = connection.begin()
                tx = Transaction(connection, self.schema)
                try:
                    yield tx
                except BaseException:
                    begun.rollback()
                    raise
                if tx.discarded:
                    begun.rollback()
                    return
                await _finish(asyncio.to_thread(begun.commit))
        for call in tx.after:
            call()

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        with _translated(), self._reader.connect() as connection, connection.begin():
            yield Transaction(connection, self.schema)

    async def _migrate(self, folder: Path) -> None:
        with self._writer.begin() as connection:
            _upgrade(connection, folder, self.schema)


def _lock_file(file: Path) -> int:
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
    return lock


def _sqlite_engine(url: sa.URL, *, writes: bool) -> sa.Engine:
    # Commits happen in another thread than statements, never at the same time.
    engine = sa.create_engine(
        url,
        poolclass=sa.QueuePool,
        pool_size=1 if writes else 8,
        max_overflow=0 if writes else -1,
        connect_args={"check_same_thread": False, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "busy_timeout=5000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


class _Postgresql(Database):
    """A schema of its own; several processes may share it."""

    dialect = "postgresql"

    def __init__(self, url: sa.URL, schema: str) -> None:
        self.schema = schema
        self._engine = create_async_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_size=_CONNECTIONS,
            max_overflow=0,
            pool_timeout=10,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            connect_args={"options": " ".join(_POSTGRESQL_OPTIONS).format(schema=schema)},
        )

    async def close(self) -> None:
        await self._engine.dispose()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        with _translated():
            async with self._engine.connect() as connection:
                begun = await connection.begin()
                tx = Transaction(connection, self.schema)
                # The change feed reads by sequence, so the order of sequences must be the order
                # of commits: writers of one schema queue here, as they do on SQLite.
                await tx.execute(_QUEUE, {"schema": self.schema})
                try:
                    yield tx
                except BaseException:
                    await _finish(begun.rollback())
                    raise
                if tx.discarded:
                    await _finish(begun.rollback())
                    return
                await _finish(begun.commit())
        for call in tx.after:
            call()

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        with _translated():
            async with self._engine.connect() as connection:
                await connection.execution_options(isolation_level="REPEATABLE READ")
                async with connection.begin():
                    yield Transaction(connection, self.schema)

    async def _migrate(self, folder: Path) -> None:
        async with self._engine.begin() as connection:
            # One process migrates; the others wait, and find it done.
            await connection.execute(_QUEUE, {"schema": self.schema})
            await connection.execute(sa.schema.CreateSchema(self.schema, if_not_exists=True))
            await connection.run_sync(_upgrade, folder, self.schema)


async def _finish(step: Coroutine[Any, Any, None]) -> None:
    """Await a commit or a rollback to its end, even when the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(step)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (sa.exc.IntegrityError, sa.exc.OperationalError, sa.exc.InterfaceError) as error:
        state = getattr(error.orig, "sqlstate", None)
        _log.warning("database.error", error=str(error.orig), sqlstate=state)
        # 40001, 40P01: a concurrent write came first.
        if isinstance(error, sa.exc.IntegrityError) or state in {"40001", "40P01"}:
            raise Conflict(
                "somebody else changed the same at the same time: read it, and try again",
                reason="CONCURRENT_CHANGE",
            ) from error
        raise Unavailable(
            "the database does not answer now", reason="DATABASE_UNAVAILABLE"
        ) from error
    except sa.exc.TimeoutError as error:
        raise Unavailable("the database is busy", reason="DATABASE_BUSY") from error
