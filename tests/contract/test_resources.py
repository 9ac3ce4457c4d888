"""Resources on either database: revisions, pages, ranges, histories and remembered requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from cellplane.cell.problem import AlreadyExists, Conflict, NotFound
from cellplane.store.database import Database
from cellplane.store.resources import ChangeType, Remembered, Resources, Stored
from tests.contract.conftest import START

Make = Callable[..., Stored]
pytestmark = pytest.mark.asyncio


async def test_what_is_written_is_read(
    database: Database, resources: Resources, stored: Make
) -> None:
    """A resource reads back as it was written, its times aware and in UTC."""
    async with database.transaction() as tx:
        written = await resources.put(tx, stored("things/a", b"\x00\xff"))
    async with database.snapshot() as tx:
        found = await resources.get(tx, "things/a")
        many = await resources.get_many(tx, ["things/a", "things/none"])
    assert found == written
    assert many == {"things/a": written}
    assert found is not None
    assert found.create_time == START
    assert found.create_time.utcoffset() == timedelta(0)


async def test_a_stale_revision_is_refused(
    database: Database, resources: Resources, stored: Make
) -> None:
    """Who writes or deletes by an old revision is told, and nothing changes."""
    async with database.transaction() as tx:
        first = await resources.put(tx, stored("things/a", b"1"), expected_revision=0)
    async with database.transaction() as tx:
        second = await resources.put(tx, stored("things/a", b"2"), expected_revision=first.revision)
    with pytest.raises(Conflict):
        async with database.transaction() as tx:
            await resources.put(tx, stored("things/a", b"3"), expected_revision=first.revision)
    with pytest.raises(Conflict):
        async with database.transaction() as tx:
            await resources.delete(tx, "things/a", time=START, expected_revision=first.revision)
    async with database.snapshot() as tx:
        assert await resources.get(tx, "things/a") == second


async def test_what_exists_is_not_created_again(
    database: Database, resources: Resources, stored: Make
) -> None:
    """Revision 0 says that there must be nothing yet; what is missing cannot be deleted."""
    async with database.transaction() as tx:
        await resources.put(tx, stored("things/a"), expected_revision=0)
    with pytest.raises(AlreadyExists):
        async with database.transaction() as tx:
            await resources.put(tx, stored("things/a"), expected_revision=0)
    with pytest.raises(NotFound):
        async with database.transaction() as tx:
            await resources.delete(tx, "things/b", time=START)


async def test_of_sixteen_writers_one_wins(
    database: Database, resources: Resources, stored: Make
) -> None:
    """Of many writers that start from one revision, exactly one writes."""
    async with database.transaction() as tx:
        first = await resources.put(tx, stored("things/a"))

    async def write(number: int) -> bytes | None:
        try:
            async with database.transaction() as tx:
                payload = str(number).encode()
                await asyncio.sleep(0)
                await resources.put(
                    tx, stored("things/a", payload), expected_revision=first.revision
                )
        except Conflict:
            return None
        return payload

    winners = [w for w in await asyncio.gather(*map(write, range(16))) if w is not None]
    async with database.snapshot() as tx:
        found = await resources.get(tx, "things/a")
    assert len(winners) == 1
    assert found is not None
    assert found.payload == winners[0]


async def test_revisions_are_never_used_twice(
    database: Database, resources: Resources, stored: Make
) -> None:
    """A resource that was deleted and created again has a revision that none had, even pruned."""
    seen = []
    for _ in range(3):
        async with database.transaction() as tx:
            seen.append((await resources.put(tx, stored("things/a"))).revision)
        async with database.transaction() as tx:
            await resources.delete(tx, "things/a", time=START)
        async with database.transaction() as tx:
            _, last = await resources.span(tx)
            await resources.prune(tx, last)
    assert len(set(seen)) == 3
    assert seen == sorted(seen)


async def test_every_untouched_row_is_paged_once(
    database: Database, resources: Resources, stored: Make
) -> None:
    """Walking all pages while others come and go gives each that stayed exactly once, in order."""
    names = [f"things/{c}{d}" for c in "acegik" for d in "-05"]
    async with database.transaction() as tx:
        for name in names:
            await resources.put(tx, stored(name))
    walked: list[str] = []
    coming, going = iter(["things/b", "things/0", "things/z", "things/d"]), iter(names[::5])
    gone: set[str] = set()
    after = ""
    while True:
        async with database.snapshot() as tx:
            page = await resources.list(tx, kind="Thing", after=after, limit=4)
        if not page:
            break
        walked += [row.name for row in page]
        after = walked[-1]
        async with database.transaction() as tx:
            if new := next(coming, None):
                await resources.put(tx, stored(new))
            if old := next(going, None):
                await resources.delete(tx, old, time=START)
                gone.add(old)
    assert walked == sorted(set(walked))
    assert set(names) - gone <= set(walked)


async def test_a_dash_reads_across(database: Database, resources: Resources, stored: Make) -> None:
    """A `-` for an id in a parent is any id, and only there; kinds are told apart."""
    names = [
        "tops/a/things/x",
        "tops/a/things/y",
        "tops/ab/things/x",
        "tops/b/others/x",
        "tops/b/things/x",
        "tops/b/things/x/things/deep",
    ]
    async with database.transaction() as tx:
        for name in names:
            await resources.put(tx, stored(name))

    async def listed(parent: str) -> list[str]:
        async with database.snapshot() as tx:
            return [row.name for row in await resources.list(tx, kind="Thing", parent=parent)]

    assert await listed("tops/a") == ["tops/a/things/x", "tops/a/things/y"]
    assert await listed("tops/b") == ["tops/b/things/x"]
    assert await listed("tops/-/things/x") == ["tops/b/things/x/things/deep"]
    assert set(await listed("tops/-")) >= {"tops/a/things/x", "tops/ab/things/x", "tops/b/things/x"}


async def test_below_is_what_a_name_contains(
    database: Database, resources: Resources, stored: Make
) -> None:
    """What is below a resource starts with its name and a slash; likeness is not enough."""
    names = ["tops/a", "tops/a/things/x", "tops/a-b/things/x", "tops/a0", "tops/ab/things/x"]
    async with database.transaction() as tx:
        for name in names:
            await resources.put(tx, stored(name))
    async with database.snapshot() as tx:
        assert await resources.children(tx, "tops/a") == ["tops/a/things/x"]
        assert [s.name for s in await resources.below(tx, "tops/a", ())] == names[:2]
        assert [s.name for s in await resources.below(tx, "tops/a", ["Top"])] == ["tops/a"]
        assert len(await resources.below(tx, "", ())) == len(names)


async def test_nothing_of_a_failed_transaction_stays(
    database: Database, resources: Resources, stored: Make
) -> None:
    """A transaction that raises, or is discarded, leaves neither resource nor change."""

    async def fail() -> None:
        async with database.transaction() as tx:
            await resources.put(tx, stored("things/a"))
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    async with database.transaction() as tx:
        await resources.put(tx, stored("things/b"))
        tx.discard()
    async with database.snapshot() as tx:
        assert await resources.below(tx, "", ()) == []
        assert await resources.changes_after(tx, 0) == []


async def test_every_write_is_history(
    database: Database, resources: Resources, stored: Make
) -> None:
    """Each write is one change, in order, with who did it, when, and what it came to."""
    later = START + timedelta(hours=1)
    async with database.transaction() as tx:
        await resources.put(tx, stored("things/a", b"1"), actor="ann")
    async with database.transaction() as tx:
        await resources.put(tx, stored("things/a", b"2", at=later), actor="bob")
        await resources.delete(tx, "things/a", time=later, actor="cid")
    async with database.snapshot() as tx:
        changes = await resources.changes_after(tx, 0)
        assert await resources.changes_after(tx, changes[0].sequence) == changes[1:]
    assert [(c.type, c.actor, c.payload, c.time) for c in changes] == [
        (ChangeType.CREATED, "ann", b"1", START),
        (ChangeType.UPDATED, "bob", b"2", later),
        (ChangeType.DELETED, "cid", b"2", later),
    ]


async def test_requests_are_remembered_for_their_time(
    database: Database, resources: Resources
) -> None:
    """An answered request is found until it expires, and then its id is free again."""
    answer = Remembered(method="Create", digest="d", response=b"r")
    end = START + timedelta(hours=1)
    async with database.transaction() as tx:
        await resources.remember(tx, "id", answer, now=START, until=end)
    async with database.transaction() as tx:
        assert await resources.remembered(tx, "id", START) == answer
        assert await resources.remembered(tx, "other", START) is None
        assert await resources.remembered(tx, "id", end) is None
        await resources.remember(tx, "id", answer, now=end, until=end + timedelta(hours=1))
