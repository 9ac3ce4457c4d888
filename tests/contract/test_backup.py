"""Backups: of one moment while services write, whole in either database, never over another."""

from __future__ import annotations

import asyncio
import json
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from cellplane.backup.archive import create, restore
from cellplane.backup.database import VERSIONS, Contents, reading, writing
from cellplane.backup.plan import GAP, SERVICES, Place, places
from cellplane.cell.problem import FailedPrecondition, Invalid, NotFound, OutOfRange
from cellplane.store.database import Database
from cellplane.store.feed import Feed, encode
from cellplane.store.resources import Resources, Stored
from tests.contract.conftest import START

Make = Callable[..., Stored]
NAMES = [service.name for service in SERVICES]


@pytest.fixture
def new_places(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, str], Any]:
    """Makes places for all services on a kind of database."""

    def make(kind: str, folder: str) -> tuple[Place, ...]:
        urls = {}
        if kind == "postgresql":
            url = request.getfixturevalue("postgres_server").new_database()
            urls = dict.fromkeys(NAMES, url)
        return places(tmp_path / folder, urls)

    return make


def fill(all_of: tuple[Place, ...]) -> None:
    """Put rows into every table of every service, with values of every type."""
    for place in all_of:
        heads = sorted(_heads(place))
        with writing(place, heads) as contents:
            contents.empty()
            for table in contents.tables:
                if table != VERSIONS:
                    columns = contents.columns(table)
                    contents.fill(table, columns, list(_rows(contents, table, columns)))
            for table in contents.counters():
                contents.count_on(table, 1000)
        for folder in place.service.folders:
            (place.state / folder).mkdir(parents=True, exist_ok=True)
            (place.state / folder / "key").write_bytes(b"\x00key")


def _heads(place: Place) -> set[str]:
    from cellplane.store.migrate import heads_of

    return heads_of(place.service.migrations)


def _rows(contents: Contents, table: str, columns: list[str]) -> Iterator[list[Any]]:
    for number in range(1, 4):
        yield [_value(contents.tables[table].c[name], number) for name in columns]


def _value(column: sa.Column[Any], number: int) -> Any:
    match column.type:
        case sa.Boolean():
            return number % 2 == 0
        case sa.Integer():
            return number
        case sa.DateTime():
            return datetime(2026, 1, number, 1, 2, 3, number, tzinfo=UTC)
        case sa.LargeBinary():
            return None if column.nullable and number == 2 else bytes([0, 255, number])
        case _:
            return f"ä\n\"{number}'"


@pytest.mark.parametrize("source", ["sqlite", "postgresql"])
@pytest.mark.parametrize("target", ["sqlite", "postgresql"])
@pytest.mark.asyncio
async def test_a_backup_fits_either_database(
    new_places: Any, tmp_path: Path, source: str, target: str, resources: Resources
) -> None:
    """Every row of every table is there again, the other kind of database or not; files, too."""
    before, after = new_places(source, "before"), new_places(target, "after")
    fill(before)
    kept = create(tmp_path / "a.backup", before)
    assert stat.S_IMODE((tmp_path / "a.backup").stat().st_mode) == 0o600
    restore(tmp_path / "a.backup", after, force=False)
    again = create(tmp_path / "b.backup", after)
    for place in after:
        name = place.service.name
        old, new = kept["services"][name], again["services"][name]
        assert old["revisions"] == new["revisions"]
        assert old["tables"].keys() == new["tables"].keys()
        for table, saved in old["tables"].items():
            assert saved["rows"] == new["tables"][table]["rows"] == 3
            if table not in place.service.raised:
                assert saved["digest"] == new["tables"][table]["digest"], table
        for table, columns in place.service.raised.items():
            with reading(place) as contents:
                names = contents.columns(table)
                for row in contents.rows(table):
                    assert all(row[names.index(column)] > GAP for column in columns)
        for folder in place.service.folders:
            assert (place.state / folder / "key").read_bytes() == b"\x00key"
    model = after[NAMES.index("model")]
    database = await Database.open(
        model.url, service="model", migrations=model.service.migrations, path=model.file
    )
    try:
        async with database.transaction() as tx:
            fresh = await resources.put(
                tx,
                Stored(
                    name="things/new",
                    kind="Thing",
                    uid="u",
                    create_time=START,
                    update_time=START,
                    payload=b"",
                ),
            )
        assert fresh.revision > GAP
    finally:
        await database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.asyncio
async def test_it_is_of_one_moment_while_others_write(
    new_places: Any, tmp_path: Path, kind: str, resources: Resources, stored: Make
) -> None:
    """Of a service that writes without pause, a backup has each transaction whole or not at all."""
    before, after = new_places(kind, "before"), new_places("sqlite", "after")
    fill(before)
    model = before[NAMES.index("model")]
    database = await Database.open(
        model.url, service="model", migrations=model.service.migrations, path=model.file
    )
    done = asyncio.Event()

    async def busy() -> None:
        number = 0
        while not done.is_set():
            async with database.transaction() as tx:
                await resources.put(tx, stored(f"things/a{number}", b"x" * 500))
                await resources.put(tx, stored(f"things/b{number}", b"x" * 500))
            number += 1

    writing_now = asyncio.create_task(busy())
    try:
        await asyncio.to_thread(create, tmp_path / "a.backup", before)
        with pytest.raises(FailedPrecondition, match="there already"):
            await asyncio.to_thread(create, tmp_path / "a.backup", before)
    finally:
        done.set()
        await writing_now
        async with database.snapshot() as tx:
            _, future = await resources.span(tx)
        await database.close()
    restore(tmp_path / "a.backup", after, force=False)
    model = after[NAMES.index("model")]
    database = await Database.open(
        "", service="model", migrations=model.service.migrations, path=model.file
    )
    try:
        async with database.snapshot() as tx:
            found = {s.name for s in await resources.below(tx, "", ["Thing"])}
            first, last = await resources.span(tx)
        pairs = {name.replace("/b", "/a") for name in found}
        assert len(found) == 2 * len(pairs)
        async with database.transaction() as tx:
            await resources.put(tx, stored("things/later"))
        # Who was told of what the backup does not have begins anew, and misses nothing.
        async with (
            Feed(database, resources) as feed,
            aclosing(feed.watch(token=encode(future + 1))) as steps,
        ):
            with pytest.raises(OutOfRange):
                await anext(steps)
        assert first <= last <= future
    finally:
        await database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@pytest.mark.asyncio
async def test_nothing_is_overwritten_unasked(new_places: Any, tmp_path: Path, kind: str) -> None:
    """What is there stays, unless it is forced; what is in use stays, even then."""
    before = new_places(kind, "before")
    fill(before)
    file = tmp_path / "a.backup"
    kept = create(file, before)
    with pytest.raises(FailedPrecondition) as refused:
        restore(file, before, force=False)
    assert refused.value.reason == "DATABASE_EXISTS"
    model = before[NAMES.index("model")]
    database = await Database.open(
        model.url, service="model", migrations=model.service.migrations, path=model.file
    )
    heard = asyncio.Event()
    async with database.listen(heard.set):
        if kind == "postgresql":
            await asyncio.wait_for(heard.wait(), 20)
        with pytest.raises(FailedPrecondition) as refused:
            await asyncio.to_thread(restore, file, before, force=True)
    assert refused.value.reason == "DATABASE_IN_USE"
    await database.close()
    restore(file, before, force=True)
    again = create(tmp_path / "b.backup", before)
    for name in NAMES:
        assert {t: s["rows"] for t, s in kept["services"][name]["tables"].items()} == {
            t: s["rows"] for t, s in again["services"][name]["tables"].items()
        }


def test_a_damaged_backup_is_refused(new_places: Any, tmp_path: Path) -> None:
    """One byte that differs is found before anything is written; so is what is no backup."""
    before, after = new_places("sqlite", "before"), new_places("sqlite", "after")
    fill(before)
    create(tmp_path / "a.backup", before)
    with (
        zipfile.ZipFile(tmp_path / "a.backup") as whole,
        zipfile.ZipFile(tmp_path / "b.backup", "w") as broken,
    ):
        for name in whole.namelist():
            data = whole.read(name)
            broken.writestr(name, data.replace(b"1", b"2", 1) if "/cells" in name else data)
    for file in ("b.backup", "none.backup"):
        with pytest.raises(Invalid):
            restore(tmp_path / file, after, force=True)
    (tmp_path / "text.backup").write_text("not a zip")
    with pytest.raises(Invalid) as refused:
        restore(tmp_path / "text.backup", after, force=True)
    assert refused.value.reason == "BACKUP_DAMAGED"
    assert not any(place.file.exists() for place in after)


def test_a_backup_of_a_later_version_is_refused(new_places: Any, tmp_path: Path) -> None:
    """A schema that this version does not know is not put back by it; nor is what is not there."""
    before, after = new_places("sqlite", "before"), new_places("sqlite", "after")
    with pytest.raises(NotFound):
        create(tmp_path / "none.backup", before)
    fill(before)
    create(tmp_path / "a.backup", before)
    with (
        zipfile.ZipFile(tmp_path / "a.backup") as whole,
        zipfile.ZipFile(tmp_path / "b.backup", "w") as later,
    ):
        for name in whole.namelist():
            data = whole.read(name)
            if name == "manifest.json":
                manifest = json.loads(data)
                manifest["services"]["model"]["revisions"] = ["9999"]
                data = json.dumps(manifest).encode()
            later.writestr(name, data)
    with pytest.raises(FailedPrecondition) as refused:
        restore(tmp_path / "b.backup", after, force=False)
    assert refused.value.reason == "DATABASE_TOO_NEW"
    assert not after[NAMES.index("model")].file.exists()
