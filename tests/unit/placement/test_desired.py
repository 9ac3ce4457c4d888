"""What is wanted, on a real database: contents, revisions and races."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa

from cellplane.cell.condition import Health
from cellplane.cell.manifest import ObjectKey, Phase
from cellplane.placement.__main__ import MIGRATIONS
from cellplane.placement.desired import Desired
from cellplane.placement.repository import Repository
from cellplane.placement.rollout.diff import BundleObject
from cellplane.placement.slots import ContentsMissing
from cellplane.placement.tables import contents, metadata
from cellplane.runtime.clock import SystemClock
from cellplane.store.database import Database

CELL = "organizations/acme/projects/shop/cells/dev"
PLANE = "organizations/acme/dataPlanes/a"


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A new database of placement."""
    opened = await Database.open(
        "", service="placement", migrations=MIGRATIONS, path=tmp_path / "placement.db"
    )
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
def desired(database: Database) -> Desired:
    """What is wanted, of nothing yet."""
    return Desired(Repository(database), SystemClock())


def things(*contents_: str) -> tuple[list[BundleObject], dict[str, bytes]]:
    """Objects a, b, … with these contents."""
    digests = {hashlib.sha256(c.encode()).hexdigest(): c.encode() for c in contents_}
    objects = [
        BundleObject(
            key=ObjectKey(api_version="v1", kind="ConfigMap", namespace="n", object=name),
            part="",
            phase=Phase.CONFIGURATION,
            digest=hashlib.sha256(c.encode()).hexdigest(),
        )
        for name, c in zip("abcdef", contents_, strict=False)
    ]
    return objects, digests


async def put(desired: Desired, revision: int, *contents_: str) -> bool:
    """Want objects with these contents."""
    objects, digests = things(*contents_)
    return await desired.put(CELL, PLANE, "n", objects, digests, revision)


async def stored(database: Database) -> set[bytes]:
    """All contents that are stored."""
    async with database.snapshot() as tx:
        return {row.content for row in await tx.execute(sa.select(contents))}


async def again(database: Database) -> Desired:
    """What a restart finds."""
    repository = Repository(database)
    found = Desired(repository, SystemClock())
    found.load(await repository.read_slots(), await repository.read_floors())
    return found


@pytest.mark.asyncio
async def test_contents_go_with_the_last_object_that_has_them(
    database: Database, desired: Desired
) -> None:
    """Neither too early, nor never."""
    await put(desired, 1, "x", "x", "y")
    assert await stored(database) == {b"x", b"y"}
    await put(desired, 2, "z", "x", "y")
    assert await stored(database) == {b"x", b"y", b"z"}
    await put(desired, 3, "z")
    assert await stored(database) == {b"z"}
    await desired.remove(CELL, PLANE)
    await desired.forget(CELL, PLANE)
    assert await stored(database) == set()


@pytest.mark.asyncio
async def test_a_restart_finds_the_same(database: Database, desired: Desired) -> None:
    """Objects, removals, digests and what was observed are as they were."""
    await put(desired, 1, "x", "y")
    await put(desired, 2, "z")
    desired.accepted(CELL, PLANE, 2, "d")
    desired.applied(CELL, PLANE, 1, (), complete=True)
    desired.reported(CELL, PLANE, 1, Health.READY, None, ())
    await desired.flush()
    before, after = desired.slot(CELL, PLANE), (await again(database)).slot(CELL, PLANE)
    assert before is not None
    assert after is not None
    assert (after.bundle, after.digest, after.observed) == (
        before.bundle,
        before.digest,
        before.observed,
    )


@pytest.mark.asyncio
async def test_an_object_without_content_is_never_stored(
    database: Database, desired: Desired
) -> None:
    """It is refused before anything is written, so that it is compiled again."""
    await put(desired, 1, "x")
    objects, _ = things("y")
    with pytest.raises(ContentsMissing):
        await desired.put(CELL, PLANE, "n", objects, {}, 2)
    slot = desired.slot(CELL, PLANE)
    assert slot is not None
    assert slot.bundle.revision == 1
    assert await stored(database) == {b"x"}


@pytest.mark.asyncio
async def test_revisions_go_on_after_everything_was_forgotten(
    database: Database, desired: Desired
) -> None:
    """A Cell that returns, also after a restart, starts above all that its plane ever had."""
    await put(desired, 1, "x")
    await put(desired, 2, "y")
    await desired.remove(CELL, PLANE)
    assert await desired.forget(CELL, PLANE, revision=3)
    later = await again(database)
    await put(later, 3, "x")
    slot = later.slot(CELL, PLANE)
    assert slot is not None
    assert slot.bundle.revision == 4


@pytest.mark.asyncio
async def test_a_cell_that_returns_while_it_goes_is_kept(
    database: Database, desired: Desired
) -> None:
    """Wanted again while the agent says that it is gone: whichever comes first, it is wanted."""
    await put(desired, 1, "x")
    await desired.remove(CELL, PLANE)
    slot = desired.slot(CELL, PLANE)
    assert slot is not None
    gone = slot.bundle.revision
    _, forgotten = await asyncio.gather(
        put(desired, 2, "y"), desired.forget(CELL, PLANE, revision=gone)
    )
    assert not forgotten
    for found in (desired, await again(database)):
        kept = found.slot(CELL, PLANE)
        assert kept is not None
        assert not kept.bundle.removed
        assert kept.bundle.revision > gone


@pytest.mark.asyncio
async def test_the_migration_makes_the_tables_that_are_used(database: Database) -> None:
    """Each table and column of the code is in the database."""
    async with database.snapshot() as tx:
        for table in metadata.sorted_tables:
            await tx.execute(sa.select(table).limit(1))
