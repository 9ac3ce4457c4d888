"""The change feed: a picture, a marker, then every change once, in order, resumable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import timedelta

import pytest
import sqlalchemy as sa

from cellplane.cell.problem import Invalid, OutOfRange, ResourceExhausted
from cellplane.store import feed as feeds
from cellplane.store.database import Database
from cellplane.store.feed import Feed, Step, StepType
from cellplane.store.resources import Resources, Stored
from tests.contract.conftest import MIGRATIONS, START, TestClock
from tests.contract.test_database import cut_connections

Make = Callable[..., Stored]
pytestmark = pytest.mark.asyncio
DEADLINE = 10.0


async def take(steps: AsyncIterator[Step], count: int) -> list[Step]:
    """The next steps."""
    async with asyncio.timeout(DEADLINE):
        return [await anext(steps) for _ in range(count)]


def told(steps: list[Step]) -> list[tuple[str, str]]:
    """Type and id of each."""
    return [(step.type.value, step.name.rsplit("/", 1)[-1]) for step in steps]


async def write(database: Database, resources: Resources, *all_of: Stored) -> None:
    """Write each in a transaction of its own."""
    for one in all_of:
        async with database.transaction() as tx:
            await resources.put(tx, one)


async def follow(
    database: Database, resources: Resources, stored: Make, *watchers: AsyncIterator[Step]
) -> None:
    """Lead watchers behind what is read for them, to where they are handed what happens."""
    for steps in watchers:
        await take(steps, 1)
    for number in range(2):
        await write(database, resources, stored(f"others/first{number}"))
        for steps in watchers:
            await take(steps, 1)


async def test_a_watcher_sees_what_is_there_and_then_what_happens(
    database: Database, resources: Resources, stored: Make
) -> None:
    """First the picture, then the marker, then created, updated and deleted, with payloads."""
    await write(database, resources, stored("things/b", b"b"), stored("things/a", b"a"))
    async with Feed(database, resources) as feed, aclosing(feed.watch()) as steps:
        assert told(await take(steps, 3)) == [
            ("SNAPSHOT", "a"),
            ("SNAPSHOT", "b"),
            ("SYNCED", ""),
        ]
        await write(database, resources, stored("things/c", b"1"), stored("things/c", b"2"))
        async with database.transaction() as tx:
            await resources.delete(tx, "things/a", time=START + timedelta(hours=1))
        news = await take(steps, 3)
    assert told(news) == [("CREATED", "c"), ("UPDATED", "c"), ("DELETED", "a")]
    assert [step.payload for step in news] == [b"1", b"2", b"a"]
    assert news[2].time == START + timedelta(hours=1)
    async with database.snapshot() as tx:
        found = await resources.get(tx, "things/c")
    assert found is not None
    assert news[1].revision == found.revision
    assert all(step.token for step in news)


async def test_only_what_was_asked_for_is_told(
    database: Database, resources: Resources, stored: Make
) -> None:
    """A watcher of a parent and of kinds sees nothing else, in the picture nor in the news."""
    names = ["tops/a", "tops/a/things/x", "tops/a/others/x", "tops/ab/things/x"]
    await write(database, resources, *(stored(name) for name in names))
    async with (
        Feed(database, resources) as feed,
        aclosing(feed.watch(parent="tops/a", kinds=["Thing"])) as steps,
    ):
        assert told(await take(steps, 2)) == [("SNAPSHOT", "x"), ("SYNCED", "")]
        await write(database, resources, *(stored(name, b"new") for name in reversed(names)))
        await write(database, resources, stored("tops/a/things/last"))
        news = await take(steps, 2)
    assert [step.name for step in news] == ["tops/a/things/x", "tops/a/things/last"]


async def test_a_watcher_resumes_where_it_was(
    database: Database, resources: Resources, stored: Make
) -> None:
    """With the last token a watcher misses nothing and sees nothing twice, across a restart."""
    await write(database, resources, stored("things/a"))
    async with Feed(database, resources) as feed, aclosing(feed.watch()) as steps:
        token = (await take(steps, 2))[1].token
        await write(database, resources, stored("things/b"))
        token = (await take(steps, 1))[0].token
        await write(database, resources, stored("things/c"), stored("things/d"))
    async with Feed(database, resources) as feed, aclosing(feed.watch(token=token)) as steps:
        assert told(await take(steps, 2)) == [("CREATED", "c"), ("CREATED", "d")]
        await write(database, resources, stored("things/e"))
        assert told(await take(steps, 1)) == [("CREATED", "e")]


async def test_nothing_falls_between_picture_and_news(
    database: Database, resources: Resources, stored: Make
) -> None:
    """While others write without pause, picture and news together are the final state."""

    async def busy() -> None:
        for number in range(60):
            await write(database, resources, stored(f"things/n{number % 20}", str(number).encode()))

    async with Feed(database, resources) as feed:
        writing = asyncio.create_task(busy())
        known: dict[str, bytes] = {}
        async with aclosing(feed.watch()) as steps, asyncio.timeout(DEADLINE):
            async for step in steps:
                known[step.name] = step.payload
                if step.payload == b"59":
                    break
        await writing
    async with database.snapshot() as tx:
        rows = await resources.below(tx, "", ())
    assert {row.name: row.payload for row in rows}.items() <= known.items()


async def test_an_old_token_is_out_of_range(
    database: Database, resources: Resources, stored: Make
) -> None:
    """Who resumes from a change that was pruned, or never was, is told to start anew."""
    async with Feed(database, resources, keep=3) as feed, aclosing(feed.watch()) as steps:
        old = (await take(steps, 1))[0].token
        for number in range(12):
            await write(database, resources, stored(f"things/n{number}"))
            recent = (await take(steps, 1))[0].token
    async with database.snapshot() as tx:
        first, last = await resources.span(tx)
    assert last - first < 12
    async with Feed(database, resources, keep=3) as feed:
        for token in (old, feeds.encode(last + 1)):
            with pytest.raises(OutOfRange):
                await take(feed.watch(token=token), 1)
        with pytest.raises(Invalid):
            await take(feed.watch(token="never was one"), 1)
        async with aclosing(feed.watch(token=recent)) as steps:
            await write(database, resources, stored("things/last"))
            assert told(await take(steps, 1)) == [("CREATED", "last")]


async def test_old_changes_are_forgotten(
    database: Database, resources: Resources, stored: Make, clock: TestClock
) -> None:
    """Changes of more than a week ago go, but the newest, by which it is known what went."""
    await write(database, resources, stored("things/a"), stored("things/b"))
    clock.forward(feeds.KEEP_TIME + timedelta(seconds=1))
    await write(database, resources, stored("things/c", at=clock.now()))
    async with database.snapshot() as tx:
        first, last = await resources.span(tx)
    old = feeds.encode(first - 1)
    async with Feed(database, resources, clock=clock), asyncio.timeout(DEADLINE):
        while first < last:
            async with database.snapshot() as tx:
                first, _ = await resources.span(tx)
            await asyncio.sleep(0)
    async with Feed(database, resources, clock=clock) as feed:
        with pytest.raises(OutOfRange):
            await take(feed.watch(token=old), 1)


async def test_a_slow_watcher_is_ended_and_can_resume(
    database: Database, resources: Resources, stored: Make
) -> None:
    """Who does not read is ended and keeps nothing in memory; its token leads to the rest."""
    count = 60
    async with Feed(database, resources, buffer=20) as feed:
        async with aclosing(feed.watch()) as slow, aclosing(feed.watch()) as fast:
            await follow(database, resources, stored, fast, slow)
            await write(database, resources, stored("things/n00000"))
            await take(fast, 1)
            token = (await take(slow, 1))[0].token
            for start in range(1, count, 15):
                part = range(start, min(start + 15, count))
                async with database.transaction() as tx:
                    for number in part:
                        await resources.put(tx, stored(f"things/n{number:05}"))
                await take(fast, len(part))
            with pytest.raises(ResourceExhausted) as ended:
                await take(slow, 1)
        assert ended.value.reason == "WATCHER_TOO_SLOW"
        async with aclosing(feed.watch(token=token)) as resumed:
            seen = await take(resumed, count - 1)
    assert [step.name for step in seen] == [f"things/n{number:05}" for number in range(1, count)]


async def test_what_waits_is_bounded_by_its_weight(
    database: Database, resources: Resources, stored: Make
) -> None:
    """A watcher for whom few but heavy changes wait is ended before they fill the memory."""
    heavy = b"x" * (feeds.BUFFER_BYTES // 4)
    async with (
        Feed(database, resources) as feed,
        aclosing(feed.watch()) as slow,
        aclosing(feed.watch()) as fast,
    ):
        await follow(database, resources, stored, fast, slow)
        for number in range(5):
            await write(database, resources, stored(f"things/n{number}", heavy))
            await take(fast, 1)
        with pytest.raises(ResourceExhausted):
            await take(slow, 1)


async def test_a_picture_is_of_one_moment_however_long_it_is_read(
    database: Database, resources: Resources, stored: Make
) -> None:
    """What changes, goes or comes while the picture is read is in the news, and only there."""
    names = [f"things/n{number:03}" for number in range(450)]
    async with database.transaction() as tx:
        for name in names:
            await resources.put(tx, stored(name, b"old"))
    async with Feed(database, resources, buffer=3) as feed, aclosing(feed.watch()) as steps:
        picture = await take(steps, 1)
        await write(database, resources, stored(names[210], b"new"), stored("things/late"))
        async with database.transaction() as tx:
            await resources.delete(tx, names[430], time=START)
        for number in range(8):
            await write(database, resources, stored("things/busy", str(number).encode()))
        picture += await take(steps, 449)
        assert told(await take(steps, 1)) == [("SYNCED", "")]
        news = await take(steps, 11)
    assert [step.name for step in picture] == names
    assert {step.payload for step in picture} == {b"old"}
    assert told(news[:4]) == [
        ("UPDATED", "n210"),
        ("CREATED", "late"),
        ("DELETED", "n430"),
        ("CREATED", "busy"),
    ]


async def test_a_token_of_an_undone_past_is_out_of_range(
    database: Database, resources: Resources, stored: Make
) -> None:
    """A token whose change is not there, as after a restore, does not pass for a place between."""
    await write(database, resources, stored("things/a"), stored("things/b"), stored("things/c"))
    async with database.transaction() as tx:
        _, last = await resources.span(tx)
        await tx.execute(
            sa.delete(resources.tables.changes).where(
                resources.tables.changes.c.sequence == last - 1
            )
        )
    async with Feed(database, resources) as feed:
        with pytest.raises(OutOfRange) as refused:
            await take(feed.watch(token=feeds.encode(last - 1)), 1)
    assert refused.value.reason == "RESUME_TOKEN_TOO_OLD"


async def test_a_quiet_watcher_gets_newer_tokens(
    database: Database, resources: Resources, stored: Make
) -> None:
    """A watcher to whom nothing happens is given tokens that age as little as those of others."""
    async with (
        Feed(database, resources, bookmark_seconds=0.05) as feed,
        aclosing(feed.watch(kinds=["Other"])) as quiet,
        aclosing(feed.watch(kinds=["Thing"])) as busy,
    ):
        first = feeds.decode((await take(quiet, 1))[0].token)
        await take(busy, 1)
        await write(database, resources, stored("things/a"), stored("things/b"))
        seen: list[Step] = []
        while len([s for s in seen if s.type is StepType.CREATED]) < 2:
            seen += await take(busy, 1)
        marks = await take(quiet, 1)
        while feeds.decode(marks[-1].token) < first + 2:
            marks += await take(quiet, 1)
    assert {step.type for step in marks} == {StepType.BOOKMARK}


async def test_news_of_other_processes_arrive(
    request: pytest.FixtureRequest, resources: Resources, stored: Make
) -> None:
    """On PostgreSQL a watcher hears of commits elsewhere, also after its connection was cut."""
    url = request.getfixturevalue("postgres_server").new_database()
    here = await Database.open(url, service="test", migrations=MIGRATIONS)
    there = await Database.open(url, service="test", migrations=MIGRATIONS)
    elsewhere = Resources(resources.tables)
    try:
        async with Feed(here, resources) as feed, aclosing(feed.watch()) as steps:
            await take(steps, 1)
            await write(there, elsewhere, stored("things/a"))
            assert told(await take(steps, 1)) == [("CREATED", "a")]
            cut_connections(url)
            await write(there, elsewhere, stored("things/b"))
            assert told(await take(steps, 1)) == [("CREATED", "b")]
    finally:
        await here.close()
        await there.close()
