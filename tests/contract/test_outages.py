"""What breaks while something is stored: a process at any statement, the disk, the database."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from google.rpc import error_details_pb2, status_pb2

from cellplane.api.model.v1 import project_pb2
from cellplane.api.placement.v1 import data_plane_pb2
from cellplane.backup.database import reading, writing
from cellplane.backup.plan import SERVICES, Place
from cellplane.cell.problem import Unavailable
from cellplane.rpc.status import DETAILS_KEY, to_trailers
from cellplane.store.database import Database
from cellplane.store.migrate import heads_of
from cellplane.store.resources import Resources, Stored
from cellplane.testing.postgres import postgresql
from tests.contract.conftest import HERE, MIGRATIONS, START

Make = Callable[..., Stored]
CHILD = '''
import asyncio, os, pathlib, signal, sys
from datetime import UTC, datetime
import sqlalchemy as sa
from sqlalchemy import event
from cellplane.store.database import Database
from cellplane.store.migrate import heads_of
from cellplane.store.resources import Resources, ResourceTables, Stored

url, migrations, target, acknowledged = sys.argv[1:5]
now, seen, armed = datetime(2026, 1, 1, tzinfo=UTC), 0, False

def die(*_):
    """End at the moment that was chosen, as a power cut would."""
    global seen
    if armed:
        seen += 1
        if seen == int(target):
            os.kill(os.getpid(), signal.SIGKILL)

event.listen(sa.Engine, "before_cursor_execute", die)
event.listen(sa.Engine, "commit", die)

async def main():
    global armed
    resources = Resources(ResourceTables(sa.MetaData()))
    database = await Database.open(url, service="test", migrations=pathlib.Path(migrations))
    log = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    armed = True
    for number in range(2):
        async with database.transaction() as tx:
            for letter in "ab":
                name = f"things/{letter}{number}"
                await resources.put(tx, Stored(name=name, kind="Thing", uid="u", create_time=now,
                                               update_time=now, payload=b"x"))
            if number == 1:
                await resources.delete(tx, "things/a0", time=now)
                await resources.delete(tx, "things/b0", time=now)
        os.write(log, f"{number}\\n".encode())
    await database.close()

asyncio.run(main())
'''


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.asyncio
async def test_a_kill_at_any_statement_loses_nothing_acknowledged(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, resources: Resources
) -> None:
    """Before every statement and before each commit: what was said to hold holds, all of it."""
    point, ended = 0, False
    while not ended:
        point += 1
        url = f"sqlite:///{tmp_path / f'{point}.db'}"
        if kind == "postgresql":
            url = request.getfixturevalue("postgres_server").new_database()
        log = tmp_path / f"{point}.log"
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, url, str(MIGRATIONS), str(point), str(log),
            env={"PYTHONPATH": "services:gen"}, cwd=HERE.parent.parent,
            stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        code = await asyncio.wait_for(child.wait(), 60)
        ended = code == 0
        assert code in (0, -signal.SIGKILL)
        acknowledged = [int(line) for line in log.read_text().split()]
        database = await Database.open(url, service="test", migrations=MIGRATIONS)
        try:
            async with database.snapshot() as tx:
                found = {row.name for row in await resources.below(tx, "", ())}
                changes = await resources.changes_after(tx, 0)
        finally:
            await database.close()
        written = {change.name for change in changes}
        assert {f"things/{c}{n}" for n in acknowledged for c in "ab"} <= written
        # Each transaction whole or not at all: rows and history agree.
        assert {n.replace("/b", "/a") for n in written} == {
            n for n in written if n.startswith("things/a")
        }
        gone = {change.name for change in changes if change.type.value == "DELETED"}
        assert found == written - gone
        assert len(gone) in (0, 2)
    assert point > 15


class Interrupted(Exception):
    """What a test breaks a migration with."""


@pytest.mark.parametrize("service", [service.name for service in SERVICES])
@pytest.mark.asyncio
async def test_a_migration_that_is_interrupted_is_run_again(
    service: str, database_url: str
) -> None:
    """Broken off before each of its statements, it leaves nothing, and the next start succeeds."""
    folder = next(s for s in SERVICES if s.name == service).migrations
    seen, target = 0, 0

    def interrupt(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal seen
        if statement.lstrip().upper().startswith(("CREATE", "INSERT", "ALTER", "DROP", "UPDATE")):
            seen += 1
            if seen == target:
                raise Interrupted

    sa.event.listen(sa.Engine, "before_cursor_execute", interrupt)
    try:
        while True:
            seen, target = 0, target + 1
            try:
                database = await Database.open(database_url, service=service, migrations=folder)
            except Interrupted:
                continue
            break
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", interrupt)
    try:
        async with database.snapshot() as tx:
            versions = await tx.execute(sa.text("SELECT version_num FROM alembic_version"))
            assert versions.scalars().all()
    finally:
        await database.close()
    assert target > 5


@pytest.mark.parametrize("service", [service.name for service in SERVICES])
@pytest.mark.asyncio
async def test_every_earlier_schema_is_brought_forward(
    service: str, database_url: str, tmp_path: Path
) -> None:
    """Opening a database of any earlier version keeps its rows, and has the tables of today."""
    one = next(s for s in SERVICES if s.name == service)
    if database_url.startswith("sqlite"):
        place = Place(service=one, state=tmp_path)
    else:
        place = Place(service=one, state=tmp_path, url=database_url)
    chain = ScriptDirectory(one.migrations).walk_revisions()
    for revision in reversed([script.revision for script in chain]):
        with writing(place, [revision]) as contents:
            before = contents.tables.keys()
            if "requests" in before:
                columns = ["request", "method", "digest", "response", "expire_time"]
                contents.fill("requests", columns, [["r", "m", "d", b"x", START]])
        database = await Database.open(
            place.url, service=service, migrations=one.migrations, path=place.file
        )
        await database.close()
        with reading(place) as contents:
            assert set(contents.revisions()) == heads_of(one.migrations)
            assert before <= contents.tables.keys()
            if "requests" in before:
                assert len(list(contents.rows("requests"))) == 1


@pytest.mark.parametrize(
    ("service", "message"),
    [("model", project_pb2.Project()), ("placement", data_plane_pb2.DataPlane())],
)
@pytest.mark.asyncio
async def test_what_was_stored_before_documents_is_described(
    service: str, message: Any, database_url: str, tmp_path: Path
) -> None:
    """Opening a database of before filters were asked of SQL lets them be asked of all it has."""
    one = next(s for s in SERVICES if s.name == service)
    url = "" if database_url.startswith("sqlite") else database_url
    place = Place(service=one, state=tmp_path, url=url)
    message.display_name = "Old"
    columns = ["name", "kind", "parent", "uid", "revision", "create_time", "update_time", "payload"]
    with writing(place, ["0001"]) as contents:
        rows = [
            [f"things/{kind}", kind, "", "u", 1, START, START, message.SerializeToString()]
            for kind in (message.DESCRIPTOR.name, "Unknown")
        ]
        contents.fill("resources", columns, rows)
    await (
        await Database.open(place.url, service=service, migrations=one.migrations, path=place.file)
    ).close()
    with reading(place) as contents:
        names = contents.columns("resources")
        rows = [dict(zip(names, row, strict=True)) for row in contents.rows("resources")]
    described = {"display_name": "Old", "~display_name": "old"}
    assert {row["kind"]: row["fields"] for row in rows} == {
        message.DESCRIPTOR.name: described,
        "Unknown": None,
    }


@pytest.mark.asyncio
async def test_a_full_disk_is_unavailable_and_mends(
    tmp_path: Path, resources: Resources, stored: Make
) -> None:
    """SQLite at its last page (`max_page_count`, as a full disk is): nothing half, then on."""
    database = await Database.open(
        f"sqlite:///{tmp_path / 'store.db'}", service="test", migrations=MIGRATIONS
    )

    async def limit(pages: str) -> None:
        async with database.transaction() as tx:
            await tx.execute(sa.text(f"PRAGMA max_page_count={pages}"))

    async def fill() -> None:
        for number in range(10_000):
            async with database.transaction() as tx:
                await resources.put(tx, stored(f"things/a{number}", b"x" * 3000))
                await resources.put(tx, stored(f"things/b{number}", b"x" * 3000))

    try:
        await limit("100")
        with pytest.raises(Unavailable) as refused:
            await fill()
        assert refused.value.reason == "DATABASE_UNAVAILABLE"
        assert retry_seconds(refused.value) > 0
        async with database.snapshot() as tx:
            names = {row.name for row in await resources.below(tx, "", ())}
        assert {n.replace("/b", "/a") for n in names} == {n for n in names if "/a" in n}
        assert len(names) % 2 == 0
        await limit("1000000")
        async with database.transaction() as tx:
            await resources.put(tx, stored("things/after"))
    finally:
        await database.close()


@pytest.mark.asyncio
async def test_a_full_disk_below_postgresql_is_unavailable_and_mends(
    request: pytest.FixtureRequest, resources: Resources, stored: Make
) -> None:
    """PostgreSQL's own answer to a full disk (53100) is `UNAVAILABLE`, and the next write works."""
    url = request.getfixturevalue("postgres_server").new_database()
    database = await Database.open(url, service="test", migrations=MIGRATIONS)
    full = sa.text(
        "CREATE FUNCTION no_space() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full'; END $$"
    )
    trigger = "CREATE TRIGGER no_space BEFORE INSERT ON changes EXECUTE FUNCTION no_space()"
    try:
        async with database.transaction() as tx:
            await tx.execute(full)
            await tx.execute(sa.text(trigger))

        async def write() -> None:
            async with database.transaction() as tx:
                await resources.put(tx, stored("things/a"))

        with pytest.raises(Unavailable) as refused:
            await write()
        assert retry_seconds(refused.value) > 0
        assert "device" not in refused.value.message
        async with database.transaction() as tx:
            await tx.execute(sa.text("DROP TRIGGER no_space ON changes"))
        await write()
    finally:
        await database.close()


@pytest.mark.asyncio
async def test_a_lost_server_is_unavailable_and_mends(
    resources: Resources, stored: Make, tmp_path: Path
) -> None:
    """While the server is stopped every read and write says so; when it is back, all go on."""
    with postgresql(HERE.parent / "postgresql.lock", durable=True) as server:
        url = server.new_database()
        database = await Database.open(url, service="test", migrations=MIGRATIONS)
        query = sa.select(resources.tables.resources.c.name)
        try:
            async with database.transaction() as tx:
                await resources.put(tx, stored("things/a"))
            assert await database.rows(query, {}) == [("things/a",)]
            with server.stopped():
                for attempt in (write, read, single):
                    with pytest.raises(Unavailable) as refused:
                        await attempt(database, resources, stored("things/b"))
                    assert retry_seconds(refused.value) > 0
            await write(database, resources, stored("things/c"))
            await read(database, resources, stored("things/c"))
            assert {row[0] for row in await database.rows(query, {})} == {"things/a", "things/c"}
        finally:
            await database.close()


async def write(database: Database, resources: Resources, one: Stored) -> None:
    """A write."""
    async with database.transaction() as tx:
        await resources.put(tx, one)


async def read(database: Database, resources: Resources, one: Stored) -> None:
    """A read in a picture of its own."""
    async with database.snapshot() as tx:
        await resources.get(tx, one.name)


async def single(database: Database, resources: Resources, _one: Stored) -> None:
    """A read by one statement."""
    await database.rows(sa.select(resources.tables.resources.c.name), {})


def retry_seconds(error: Unavailable) -> float:
    """How long the answer on the wire says to wait."""
    trailers = dict(to_trailers(error, "id"))
    status = status_pb2.Status.FromString(trailers[DETAILS_KEY])  # type: ignore[arg-type]
    info = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return info.retry_delay.ToMilliseconds() / 1000
