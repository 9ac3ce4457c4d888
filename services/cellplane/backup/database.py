"""One database, read whole at one moment, and written whole: SQLite or PostgreSQL, by reflection.

SQLite is copied by its online backup, which disturbs nobody; PostgreSQL is read in one snapshot.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from cellplane.backup.plan import DERIVED, GAP, Place
from cellplane.cell.problem import FailedPrecondition, NotFound
from cellplane.store.migrate import upgrade

VERSIONS: Final = "alembic_version"
_CHUNK: Final = 500
_LISTENING: Final = sa.text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND query LIKE :listen"
)
"""A service that runs listens for the news of others."""


class Contents:
    """The tables of a database that is open for reading or writing."""

    def __init__(self, connection: sa.Connection, schema: str | None) -> None:
        self.connection = connection
        self._schema = schema
        metadata = sa.MetaData(schema=schema)
        metadata.reflect(connection, only=lambda name, _: not name.startswith(DERIVED))
        self.tables = {table.name: table for table in metadata.sorted_tables}

    def rows(self, table: str) -> Iterator[Sequence[Any]]:
        """Every row, its columns in the order of their names."""
        columns = [self.tables[table].c[name] for name in self.columns(table)]
        options = {"yield_per": _CHUNK}
        yield from self.connection.execute(sa.select(*columns), execution_options=options)

    def columns(self, table: str) -> list[str]:
        """Names of a table's columns."""
        return sorted(self.tables[table].c.keys())

    def fill(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add rows."""
        if rows:
            self.connection.execute(
                sa.insert(self.tables[table]), [dict(zip(columns, r, strict=True)) for r in rows]
            )

    def empty(self) -> None:
        """Take out what a migration has put in."""
        for name, table in self.tables.items():
            if name != VERSIONS:
                self.connection.execute(sa.delete(table))

    def revisions(self) -> list[str]:
        """The revisions of the schema."""
        return sorted(self.connection.execute(sa.select(self.tables[VERSIONS].c[0])).scalars())

    def counters(self) -> dict[str, int]:
        """The last number that each table has given, by table."""
        if self._schema is None:
            query = "SELECT name, seq FROM sqlite_sequence"
            return {row[0]: row[1] for row in self.connection.execute(sa.text(query))}
        found: dict[str, int] = {}
        for name, sequence in self._sequences():
            last, called = self.connection.execute(
                sa.text(f"SELECT last_value, is_called FROM {sequence}")  # noqa: S608 - our own name
            ).one()
            found[name] = last if called else 0
        return found

    def count_on(self, table: str, last: int) -> None:
        """Let a table's numbers go on behind *last*."""
        if self._schema is None:
            made = sa.text("UPDATE sqlite_sequence SET seq = :last WHERE name = :name")
            done = self.connection.execute(made, {"last": last, "name": table})
            if not done.rowcount:
                made = sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)")
                self.connection.execute(made, {"last": last, "name": table})
            return
        for name, sequence in self._sequences():
            if name == table:
                values = {"sequence": sequence, "last": last}
                self.connection.execute(sa.text("SELECT setval(:sequence, :last)"), values)

    def raise_numbers(self, table: str, column: str) -> None:
        """Raise what others have seen above all that they can have seen."""
        if table in self.tables:
            t = self.tables[table]
            self.connection.execute(sa.update(t).values({column: t.c[column] + GAP}))

    def _sequences(self) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for name, table in self.tables.items():
            for column in table.primary_key:
                query = sa.text("SELECT pg_get_serial_sequence(:table, :column)")
                values = {"table": f'"{self._schema}"."{name}"', "column": column.name}
                if isinstance(column.type, sa.BigInteger) and (
                    sequence := self.connection.execute(query, values).scalar_one()
                ):
                    found.append((name, sequence))
        return found


@contextlib.contextmanager
def reading(place: Place) -> Iterator[Contents]:
    """Open a database to be read as it is at this moment.

    Raises:
        NotFound: there is none.
    """
    if place.url:
        with _postgresql(place, "REPEATABLE READ") as connection:
            contents = Contents(connection, place.service.name)
            if VERSIONS not in contents.tables:
                raise _absent(place, place.service.name)
            yield contents
        return
    if not place.file.exists():
        raise _absent(place, str(place.file))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        with (
            contextlib.closing(sqlite3.connect(f"file:{place.file}?mode=ro", uri=True)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        with _sqlite(copy) as connection:
            yield Contents(connection, None)


def refuse(place: Place, *, force: bool) -> None:
    """Return where a database may be written.

    Raises:
        FailedPrecondition: there is one already, and no *force*; or a service has it open.
    """
    if not place.url:
        with _locked(place):
            if place.file.exists() and not force:
                raise _overwrite(place, str(place.file))
        return
    with _postgresql(place, "READ COMMITTED") as connection:
        values = {"listen": f'LISTEN "cellplane_{place.service.name}"%'}
        if connection.execute(_LISTENING, values).scalar_one():
            raise _in_use(place)
        if not force and _has_schema(connection, place):
            raise _overwrite(place, f"schema {place.service.name}")


@contextlib.contextmanager
def writing(place: Place, revisions: Sequence[str]) -> Iterator[Contents]:
    """Make a database anew, with the tables of some revisions; it holds when the block ends."""
    name = place.service.name
    if place.url:
        with _postgresql(place, "READ COMMITTED") as connection:
            if _has_schema(connection, place):
                connection.execute(sa.schema.DropSchema(name, cascade=True))
            connection.execute(sa.schema.CreateSchema(name))
            upgrade(connection, place.service.migrations, name, to=revisions)
            yield Contents(connection, name)
        return
    with _locked(place):
        fresh = place.file.with_suffix(".restoring")
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_RDWR | os.O_CREAT, 0o600))
        with _sqlite(fresh) as connection:
            upgrade(connection, place.service.migrations, name, to=revisions)
            yield Contents(connection, None)
        for suffix in ("-wal", "-shm"):
            Path(f"{place.file}{suffix}").unlink(missing_ok=True)
        fresh.replace(place.file)


@contextlib.contextmanager
def _sqlite(file: Path) -> Iterator[sa.Connection]:
    engine = sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        yield connection


@contextlib.contextmanager
def _postgresql(place: Place, isolation: Any) -> Iterator[sa.Connection]:
    url = sa.make_url(place.url).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(
        url,
        poolclass=sa.NullPool,
        isolation_level=isolation,
        connect_args={"options": f"-csearch_path={place.service.name}"},
    )
    with engine.begin() as connection:
        yield connection


@contextlib.contextmanager
def _locked(place: Place) -> Iterator[None]:
    """Hold what a service that runs on the file holds."""
    place.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(f"{place.file}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise _in_use(place) from None
    else:
        yield
    finally:
        os.close(lock)


def _has_schema(connection: sa.Connection, place: Place) -> bool:
    there = sa.text("SELECT to_regnamespace(quote_ident(:schema)) IS NOT NULL")
    return bool(connection.execute(there, {"schema": place.service.name}).scalar_one())


def _in_use(place: Place) -> FailedPrecondition:
    return FailedPrecondition(
        f"service {place.service.name} runs on its database: stop it first",
        reason="DATABASE_IN_USE",
    )


def _overwrite(place: Place, what: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{what} of service {place.service.name} is there already: move it away, or overwrite it "
        "with --force",
        reason="DATABASE_EXISTS",
    )


def _absent(place: Place, what: str) -> NotFound:
    return NotFound(
        f"service {place.service.name} has no database at {what}: name its folder with --state, "
        "or its URL with --database-url",
        reason="DATABASE_NOT_FOUND",
    )
