"""Every test here runs on SQLite and on a real PostgreSQL: one store, two databases."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa

from cellplane.store.database import Database
from cellplane.store.resources import Resources, ResourceTables, Stored
from cellplane.testing.postgres import PostgresServer, postgresql
from tests.contract.methods import Api, Calls, make_api

HERE = Path(__file__).parent
MIGRATIONS = HERE / "migrations"
START = datetime(2100, 1, 1, tzinfo=UTC)
"""Later than any clock of a test says: what is written at it is never old."""


@dataclass(slots=True)
class TestClock:
    """A clock that is moved by hand."""

    __test__ = False

    time: datetime = START
    slept: list[float] = field(default_factory=list)

    def now(self) -> datetime:
        """The time that was set."""
        return self.time

    def monotonic(self) -> float:
        """Seconds since the start."""
        return (self.time - START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Note it, and go on."""
        self.slept.append(seconds)

    def forward(self, step: timedelta) -> None:
        """Let time pass."""
        self.time += step


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for the whole run; each test has a database of its own."""
    with postgresql(HERE.parent / "postgresql.lock") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database with the tables of resources."""
    opened = await Database.open(database_url, service="test", migrations=MIGRATIONS)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
def resources() -> Resources:
    """The resources of the database."""
    return Resources(ResourceTables(sa.MetaData()))


@pytest.fixture
def clock() -> TestClock:
    """A clock that is moved by hand."""
    return TestClock()


@pytest.fixture
def stored() -> Callable[..., Stored]:
    """Makes resources to write."""

    def make(name: str, payload: bytes = b"", *, at: datetime = START) -> Stored:
        segment = name.split("/")[-2]
        return Stored(
            name=name,
            kind=segment[:-1].capitalize(),
            uid=f"uid of {name}",
            create_time=START,
            update_time=at,
            payload=payload,
        )

    return make


@pytest.fixture
def calls() -> Calls:
    """What the hooks saw."""
    return Calls()


@pytest.fixture
def api(database: Database, resources: Resources, clock: TestClock, calls: Calls) -> Api:
    """The standard methods of a few collections."""
    return make_api(database, resources, clock, calls)
