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
import sqlite3
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import sqlalchemy as sa
import structlog
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from cellplane.cell.problem import Conflict, FailedPrecondition, Unavailable
from cellplane.store.migrate import upgrade
from cellplane.store.prepared import Compiled, Prepared

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_log = structlog.get_logger()
_READERS = 8
_NOTIFY = Prepared(sa.text("SELECT pg_notify(:channel, :sender)"))

Parameters: TypeAlias = Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
Values: TypeAlias = Mapping[str, Any]
NO_VALUES: Final[Values] = MappingProxyType({})


class Transaction:
    """Statements that hold together."""

    __slots__ = ("_announced", "_connection", "_schema", "_sender", "after", "discarded")

    def __init__(
        self, connection: AsyncConnection | sa.Connection, schema: str, sender: str = ""
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._sender = sender
        self._announced = False
        self.after: list[Callable[[], None]] = []
        self.discarded = False

    @property
    def dialect(self) -> str:
        """The kind of database."""
        return self._connection.dialect.name

    async def execute(
        self, statement: sa.Executable, parameters: Parameters = None
    ) -> sa.CursorResult[Any]:
        """Run one statement; its rows are to be read inside of the transaction."""
        if isinstance(self._connection, sa.Connection):
            return self._connection.execute(statement, parameters)
        return await self._connection.execute(statement, parameters)

    async def fetch(self, prepared: Prepared, values: Values = NO_VALUES) -> list[Any]:
        """Run a statement that is prepared; answers its rows."""
        compiled, cursor = await self._run(prepared, values)
        found = cursor.fetchall()
        return compiled.rows(found if isinstance(found, list) else await found)

    async def change(self, prepared: Prepared, values: Values = NO_VALUES) -> int:
        """Run a statement that is prepared; answers how many rows it was about."""
        _, cursor = await self._run(prepared, values)
        count: int = cursor.rowcount
        return count

    async def change_each(self, prepared: Prepared, each: Sequence[Values]) -> None:
        """Run a statement that is prepared for each of some values."""
        if len(each) == 1:
            await self._run(prepared, each[0])
        elif each:
            await self.execute(prepared.statement, each)

    async def _run(self, prepared: Prepared, values: Values) -> tuple[Compiled, Any]:
        connection = self._connection
        plain = connection if isinstance(connection, sa.Connection) else connection.sync_connection
        if plain is None:
            raise RuntimeError("the transaction has ended")
        compiled = prepared.on(plain.dialect)
        given = compiled.parameters(values)
        # Whoever listens to statements hears of these, too.
        for note in plain.dispatch.before_cursor_execute:
            note(plain, None, compiled.text, given, None, False)
        driver: Any = plain.connection.driver_connection
        if isinstance(connection, sa.Connection):
            return compiled, driver.execute(compiled.text, given)
        return compiled, await driver.execute(compiled.text, given, prepare=True, binary=True)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call *call* once it is certain that this transaction holds."""
        self.after.append(call)

    def discard(self) -> None:
        """Leave nothing of this transaction behind when it ends, and no error."""
        self.discarded = True

    @contextlib.asynccontextmanager
    async def attempt(self) -> AsyncIterator[None]:
        """Run statements that leave nothing behind, also where they succeed; errors pass."""
        waiting = len(self.after)
        await self.execute(sa.text("SAVEPOINT attempt"))
        try:
            yield
        finally:
            await self.execute(sa.text("ROLLBACK TO SAVEPOINT attempt"))
            await self.execute(sa.text("RELEASE SAVEPOINT attempt"))
            del self.after[waiting:]

    async def announce(self) -> None:
        """Tell other processes on the same schema once this holds; see ``Database.listen``."""
        if self._announced:
            return
        self._announced = True
        if self.dialect == "postgresql":
            from cellplane.store import notices

            values = {"channel": notices.channel(self._schema), "sender": self._sender}
            await self.change(_NOTIFY, values)


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
        database = _kind(parsed)(parsed, service)
        try:
            with translated():
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
    async def rows(
        self, statement: sa.Executable, parameters: Mapping[str, Any]
    ) -> Sequence[tuple[Any, ...]]:
        """Read with one statement, which is a picture of its own: the cheapest read."""

    @abc.abstractmethod
    def listen(self, call: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Call *call* when another process announces a commit, while the block runs."""

    @abc.abstractmethod
    async def lead(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do *work* while no other process on this database does work of that name.

        Waits for that; returns when the lead is lost, or the work is done.
        """

    @abc.abstractmethod
    async def _migrate(self, folder: Path) -> None: ...


def _kind(url: sa.URL) -> Callable[[sa.URL, str], Database]:
    if url.get_backend_name() == "sqlite":
        return _Sqlite
    # Late, with its driver: SQLite needs neither, and both take long to import.
    from cellplane.store.postgresql import Postgresql

    return Postgresql


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
            with translated(), self._writer.connect() as connection:
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
                interrupted = await finish(asyncio.to_thread(begun.commit))
        announce_held(tx, interrupted)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        with translated(), self._reader.connect() as connection, connection.begin():
            yield Transaction(connection, self.schema)

    async def rows(
        self, statement: sa.Executable, parameters: Mapping[str, Any]
    ) -> Sequence[tuple[Any, ...]]:
        with translated(), self._reader.connect() as connection:
            return [tuple(row) for row in connection.execute(statement, parameters)]

    @contextlib.asynccontextmanager
    async def listen(self, call: Callable[[], None]) -> AsyncIterator[None]:
        # Nobody else can write to the file, so there is nothing to hear.
        del call
        yield

    async def lead(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        # The file is this process's alone.
        del name
        await work()

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


async def finish(work: Coroutine[Any, Any, None]) -> asyncio.CancelledError | None:
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


def announce_held(tx: Transaction, interrupted: asyncio.CancelledError | None) -> None:
    """Tell of what holds; also when whoever wrote it is no longer there to hear."""
    for call in tx.after:
        call()
    if interrupted is not None:
        raise interrupted


@contextlib.contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except (IntegrityError, OperationalError, InterfaceError) as error:
        state = getattr(error.orig, "sqlstate", None)
        _log.warning("database.error", error=str(error.orig), sqlstate=state)
        # 40001, 40P01: a concurrent write came first.
        if isinstance(error, IntegrityError) or state in {"40001", "40P01"}:
            raise conflict(error) from error
        raise down() from error
    except sqlite3.IntegrityError as error:
        raise conflict(error) from error
    except sqlite3.OperationalError as error:
        _log.warning("database.error", error=str(error))
        raise down() from error
    except PoolTimeout as error:
        raise Unavailable("the database is busy", reason="DATABASE_BUSY") from error


def conflict(error: BaseException) -> Conflict:
    """Somebody else came first."""
    _log.warning("database.conflict", error=str(error))
    return Conflict(
        "somebody else changed the same at the same time: read it, and try again",
        reason="CONCURRENT_CHANGE",
    )


def down() -> Unavailable:
    return Unavailable("the database does not answer now", reason="DATABASE_UNAVAILABLE")
