"""One service's own database: SQLite in a file, or a schema of PostgreSQL.

Writes are transactions that hold, or leave nothing, and there is one at a time: writers queue in
this process instead of failing on a lock and, on PostgreSQL, across processes; reads go on beside
them. A second process on the same SQLite file is refused. Migrations run when the database is
opened; a database from a newer version is refused. Driver errors never leave this module: they
become ``Unavailable`` or ``Conflict``.

SQLite is called in the event loop: a statement takes some ten microseconds, a hop to a thread and
back many times that. Only the commit, which waits for the disk, goes to a thread.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa
import structlog
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.schema import CreateSchema

from cellplane.cell.problem import Conflict, FailedPrecondition, Unavailable
from cellplane.store.migrate import upgrade

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_log = structlog.get_logger()
_READERS = 8
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
            from cellplane.store import notices

            notify = sa.text("SELECT pg_notify(:channel, '')")
            await self.execute(notify, {"channel": notices.channel(self._schema)})


class Database(abc.ABC):
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

    @abc.abstractmethod
    async def close(self) -> None:
        """Close every connection and give the file free."""

    @abc.abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Write: all of it holds when the block ends, or none."""

    @abc.abstractmethod
    def snapshot(self) -> AbstractAsyncContextManager[Transaction]:
        """Read: one picture for the whole block."""

    @abc.abstractmethod
    def listen(self, call: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Call *call* when another process announces a commit, while the block runs."""

    @abc.abstractmethod
    async def _migrate(self, folder: Path) -> None: ...


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
                interrupted = await _finish(asyncio.to_thread(begun.commit))
        _announce(tx, interrupted)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        with _translated(), self._reader.connect() as connection, connection.begin():
            yield Transaction(connection, self.schema)

    @contextlib.asynccontextmanager
    async def listen(self, call: Callable[[], None]) -> AsyncIterator[None]:
        # Nobody else can write to the file, so there is nothing to hear.
        del call
        yield

    async def _migrate(self, folder: Path) -> None:
        with self._writer.begin() as connection:
            upgrade(connection, folder, self.schema)


def _lock_file(file: Path) -> int:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise FailedPrecondition(
            f"{file} is open in another process: SQLite serves one; use PostgreSQL for more",
            reason="DATABASE_IN_USE",
        ) from None
    # The state of a service is for its user alone; the driver would ask the umask.
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    return lock


def _sqlite_engine(url: sa.URL, *, writes: bool) -> sa.Engine:
    # Commits happen in another thread than statements, never at the same time.
    engine = sa.create_engine(
        url,
        poolclass=sa.QueuePool,
        pool_size=1 if writes else _READERS,
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
            f"query_only={'OFF' if writes else 'ON'}",
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
        self._url = url
        # Writers queue here, and hold no connection meanwhile that readers need.
        self._writing = asyncio.Lock()
        self._writer = _postgresql_engine(url, schema, size=1)
        self._reader = _postgresql_engine(url, schema, size=_READERS)

    async def close(self) -> None:
        await self._writer.dispose()
        await self._reader.dispose()

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self._writing:
            with _translated():
                async with self._writer.connect() as connection:
                    begun = await connection.begin()
                    tx = Transaction(connection, self.schema)
                    # The change feed reads by sequence, so the order of sequences must be the
                    # order of commits: writers of other processes queue here.
                    await tx.execute(_QUEUE, {"schema": self.schema})
                    try:
                        yield tx
                    except BaseException:
                        await _finish(begun.rollback())
                        raise
                    if tx.discarded:
                        await _finish(begun.rollback())
                        return
                    interrupted = await _finish(begun.commit())
        _announce(tx, interrupted)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        with _translated():
            async with self._reader.connect() as connection:
                await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
                async with connection.begin():
                    yield Transaction(connection, self.schema)

    @contextlib.asynccontextmanager
    async def listen(self, call: Callable[[], None]) -> AsyncIterator[None]:
        from cellplane.store import notices

        task = asyncio.create_task(notices.listen(self._url, self.schema, call), name="notices")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _migrate(self, folder: Path) -> None:
        async with self._writer.begin() as connection:
            # One process migrates; the others wait, and find it done.
            await connection.execute(_QUEUE, {"schema": self.schema})
            # Whoever made the schema beforehand need not let us make schemas.
            there = sa.text("SELECT to_regnamespace(quote_ident(:schema)) IS NOT NULL")
            found = await connection.execute(there, {"schema": self.schema})
            if not found.scalar_one():
                await connection.execute(CreateSchema(self.schema))
            await connection.run_sync(upgrade, folder, self.schema)


def _postgresql_engine(url: sa.URL, schema: str, *, size: int) -> AsyncEngine:
    # Late, like the driver: SQLite needs neither, and both take long to import.
    from sqlalchemy.ext.asyncio import create_async_engine

    return create_async_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=size,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",
        connect_args={"options": " ".join(_POSTGRESQL_OPTIONS).format(schema=schema)},
    )


async def _finish(work: Coroutine[Any, Any, None]) -> asyncio.CancelledError | None:
    """Await *work* to its end, and answer whether the caller was cancelled meanwhile.

    Neither a commit nor a rollback under way can be left: whether it holds must be known, and the
    connection must be free before another uses it.
    """
    task = asyncio.ensure_future(work)
    interrupted: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            interrupted = error
    task.result()
    return interrupted


def _announce(tx: Transaction, interrupted: asyncio.CancelledError | None) -> None:
    """Tell of what holds; also when whoever wrote it is no longer there to hear."""
    for call in tx.after:
        call()
    if interrupted is not None:
        raise interrupted


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (IntegrityError, OperationalError, InterfaceError) as error:
        state = getattr(error.orig, "sqlstate", None)
        _log.warning("database.error", error=str(error.orig), sqlstate=state)
        # 40001, 40P01: a concurrent write came first.
        if isinstance(error, IntegrityError) or state in {"40001", "40P01"}:
            raise Conflict(
                "somebody else changed the same at the same time: read it, and try again",
                reason="CONCURRENT_CHANGE",
            ) from error
        raise Unavailable(
            "the database does not answer now", reason="DATABASE_UNAVAILABLE"
        ) from error
    except PoolTimeout as error:
        raise Unavailable("the database is busy", reason="DATABASE_BUSY") from error
