"""What a database promises: whole transactions, one writer, migrations, and errors of our own."""

from __future__ import annotations

import asyncio
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from cellplane.cell.problem import Conflict, FailedPrecondition, Unavailable
from cellplane.store.database import Database
from cellplane.store.resources import Resources, Stored
from tests.contract.conftest import HERE, MIGRATIONS

Make = Callable[..., Stored]
pytestmark = pytest.mark.asyncio


async def test_writers_queue(database: Database, resources: Resources, stored: Make) -> None:
    """Transactions that read, wait and write do not lose each other's changes."""
    async with database.transaction() as tx:
        await resources.put(tx, stored("things/a", b"0"))

    async def add() -> None:
        async with database.transaction() as tx:
            found = await resources.get(tx, "things/a")
            assert found is not None
            await asyncio.sleep(0)
            await resources.put(tx, stored("things/a", str(int(found.payload) + 1).encode()))

    await asyncio.gather(*(add() for _ in range(20)))
    async with database.snapshot() as tx:
        found = await resources.get(tx, "things/a")
    assert found is not None
    assert found.payload == b"20"


async def test_a_snapshot_is_one_picture(
    database: Database, resources: Resources, stored: Make
) -> None:
    """What is written while a snapshot is read is not in it, and is in the next."""
    async with database.snapshot() as tx:
        assert await resources.get(tx, "things/a") is None
        async with database.transaction() as writing:
            await resources.put(writing, stored("things/a"))
        assert await resources.get(tx, "things/a") is None
    async with database.snapshot() as tx:
        assert await resources.get(tx, "things/a") is not None


async def test_a_snapshot_cannot_write(
    database: Database, resources: Resources, stored: Make
) -> None:
    """A write in a snapshot is refused by the database, not done beside the queue of writers."""
    with pytest.raises((Unavailable, psycopg.Error)):
        async with database.snapshot() as tx:
            await resources.put(tx, stored("things/a"))


async def test_a_cancelled_commit_is_still_announced(
    database: Database, resources: Resources, stored: Make
) -> None:
    """A writer that is cancelled while it commits is cancelled, but what holds is told."""
    told: list[bool] = []

    async def write() -> None:
        async with database.transaction() as tx:
            await resources.put(tx, stored("things/a"))
            tx.after_commit(lambda: told.append(True))
            # Delivered at the next await, which is the commit.
            task = asyncio.current_task()
            assert task is not None
            task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.create_task(write())
    async with database.snapshot() as tx:
        assert await resources.get(tx, "things/a") is not None
    assert told == [True]


async def test_a_cancelled_writer_leaves_nothing(
    database: Database, resources: Resources, stored: Make
) -> None:
    """A writer that is cancelled before its end is rolled back, and the next one goes on."""
    entered, never = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        async with database.transaction() as tx:
            await resources.put(tx, stored("things/a"))
            entered.set()
            await never.wait()

    task = asyncio.create_task(write())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with database.transaction() as tx:
        assert await resources.get(tx, "things/a") is None
        await resources.put(tx, stored("things/b"))


async def test_drivers_do_not_speak_to_callers(
    database: Database, resources: Resources, stored: Make
) -> None:
    """A broken constraint is a conflict, in our words alone."""
    insert = sa.text(
        "INSERT INTO requests (request, method, digest, response, expire_time)"
        " VALUES ('r', 'm', 'd', '', '2026-01-01')"
    )

    async def twice() -> None:
        async with database.transaction() as tx:
            await tx.execute(insert)
            await tx.execute(insert)

    with pytest.raises(Conflict) as refused:
        await twice()
    assert refused.value.reason == "CONCURRENT_CHANGE"
    assert "requests" not in refused.value.message
    async with database.transaction() as tx:
        await resources.put(tx, stored("things/a"))


async def test_it_opens_again_as_it_was(
    database_url: str, resources: Resources, stored: Make
) -> None:
    """What was written is there after closing and opening; migrations run once, later ones too."""
    first = await Database.open(database_url, service="test", migrations=MIGRATIONS)
    async with first.transaction() as tx:
        await resources.put(tx, stored("things/a", b"kept"))
    await first.close()
    newer = HERE / "migrations_newer"
    for _ in range(2):
        second = await Database.open(database_url, service="test", migrations=newer)
        async with second.snapshot() as tx:
            found = await resources.get(tx, "things/a")
            assert (await tx.execute(sa.text("SELECT count(*) FROM more"))).scalar_one() == 0
        await second.close()
        assert found is not None
        assert found.payload == b"kept"


async def test_a_newer_database_is_refused(database_url: str) -> None:
    """A version that does not know the schema does not touch it, and frees what it had taken."""
    newer = await Database.open(database_url, service="test", migrations=HERE / "migrations_newer")
    await newer.close()
    for _ in range(2):
        with pytest.raises(FailedPrecondition, match="newer version") as refused:
            await Database.open(database_url, service="test", migrations=MIGRATIONS)
        assert refused.value.reason == "DATABASE_TOO_NEW"


async def test_one_file_serves_one_process(
    tmp_path: Path, resources: Resources, stored: Make
) -> None:
    """A second process on a SQLite file is refused; its file is for its user alone."""
    file = tmp_path / "deep" / "store.db"
    first = await Database.open("", service="test", migrations=MIGRATIONS, path=file)
    try:
        script = await _python(
            "import asyncio, pathlib, sys\n"
            "from cellplane.store.database import Database\n"
            "async def main():\n"
            "    try:\n"
            "        await Database.open('', service='t', migrations=pathlib.Path(sys.argv[2]),\n"
            "                            path=pathlib.Path(sys.argv[1]))\n"
            "    except Exception as error:\n"
            "        print(error.reason, error)\n"
            "asyncio.run(main())\n",
            str(file),
            str(MIGRATIONS),
        )
        out, _ = await script.communicate()
        assert out.decode().startswith("DATABASE_IN_USE")
        assert str(file) in out.decode()
        async with first.transaction() as tx:
            await resources.put(tx, stored("things/a"))
    finally:
        await first.close()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = await Database.open("", service="test", migrations=MIGRATIONS, path=file)
    await again.close()


async def test_processes_share_a_schema(
    postgres_server: object, request: pytest.FixtureRequest, resources: Resources, stored: Make
) -> None:
    """On PostgreSQL several may open one schema at once; it is migrated once, and they queue."""
    url = request.getfixturevalue("postgres_server").new_database()
    several = await asyncio.gather(
        *(Database.open(url, service="test", migrations=MIGRATIONS) for _ in range(4))
    )
    try:

        async def add(database: Database) -> int:
            async with database.transaction() as tx:
                return (await resources.put(tx, stored("things/a"))).revision

        revisions = await asyncio.gather(*(add(d) for d in several for _ in range(5)))
        assert len(set(revisions)) == 20
    finally:
        for database in several:
            await database.close()


async def test_schemas_are_apart(
    request: pytest.FixtureRequest, resources: Resources, stored: Make
) -> None:
    """Two services in one PostgreSQL database have each a schema of their own."""
    url = request.getfixturevalue("postgres_server").new_database()
    one = await Database.open(url, service="network_policy", migrations=MIGRATIONS)
    two = await Database.open(url, service="model", migrations=MIGRATIONS)
    try:
        async with one.transaction() as tx:
            await resources.put(tx, stored("things/a"))
        async with two.snapshot() as tx:
            assert await resources.get(tx, "things/a") is None
    finally:
        await one.close()
        await two.close()


async def test_lost_connections_are_unavailable_and_mend(
    request: pytest.FixtureRequest, resources: Resources, stored: Make
) -> None:
    """A transaction whose connection is cut is `UNAVAILABLE`; the next one connects again."""
    server = request.getfixturevalue("postgres_server")
    url = server.new_database()
    database = await Database.open(url, service="test", migrations=MIGRATIONS)

    async def write() -> None:
        async with database.transaction() as tx:
            await resources.put(tx, stored("things/a"))
            cut_connections(url)
            await resources.put(tx, stored("things/b"))

    try:
        with pytest.raises(Unavailable) as refused:
            await write()
        assert "terminat" not in refused.value.message
        async with database.transaction() as tx:
            assert await resources.below(tx, "", ()) == []
            await resources.put(tx, stored("things/a"))
    finally:
        await database.close()


async def test_nothing_acknowledged_is_lost(
    database_url: str, resources: Resources, stored: Make
) -> None:
    """A process that is killed in the middle of a write has kept all that it had acknowledged."""
    writer = await _python(
        "import asyncio, pathlib, sys, datetime\n"
        "import sqlalchemy as sa\n"
        "from cellplane.store.database import Database\n"
        "from cellplane.store.resources import Resources, ResourceTables, Stored\n"
        "now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)\n"
        "def make(name):\n"
        "    return Stored(name=name, kind='Thing', uid='u', create_time=now, update_time=now,\n"
        "                  payload=b'x' * 2000)\n"
        "async def main():\n"
        "    resources = Resources(ResourceTables(sa.MetaData()))\n"
        "    database = await Database.open(sys.argv[1], service='test',\n"
        "                                   migrations=pathlib.Path(sys.argv[2]))\n"
        "    for number in range(10_000):\n"
        "        async with database.transaction() as tx:\n"
        "            await resources.put(tx, make(f'things/a{number}'))\n"
        "            await resources.put(tx, make(f'things/b{number}'))\n"
        "        print('wrote', number, flush=True)\n"
        "asyncio.run(main())\n",
        database_url,
        str(MIGRATIONS),
    )
    assert writer.stdout is not None
    acknowledged = -1
    while acknowledged < 20:
        line = (await writer.stdout.readline()).split()
        assert line
        if line[0] == b"wrote":
            acknowledged = int(line[1])
    writer.kill()
    rest = (await writer.communicate())[0]
    for line in rest.decode().splitlines(keepends=True):
        if line.startswith("wrote") and line.endswith("\n"):
            acknowledged = int(line.split()[1])
    database = await Database.open(database_url, service="test", migrations=MIGRATIONS)
    try:
        async with database.snapshot() as tx:
            found = {row.name for row in await resources.below(tx, "", ())}
            changes = await resources.changes_after(tx, 0, limit=100_000)
    finally:
        await database.close()
    assert {f"things/{c}{n}" for c in "ab" for n in range(acknowledged + 1)} <= found
    assert {name.replace("a", "b") for name in found} == {n.replace("a", "b") for n in found}
    assert len(found) % 2 == 0
    assert {change.name for change in changes} == found


def cut_connections(url: str) -> None:
    """End every other connection to a database, as a restart of the server would."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def _python(script: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": "services:gen"},
        cwd=HERE.parent.parent,
    )
