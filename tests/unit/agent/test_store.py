"""What survives a crash of the agent."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from cellplane.agent.objects import CellState, Mark, Removal, Wanted, digest_of
from cellplane.agent.store import Store
from cellplane.cell.manifest import ObjectKey, Phase, digest

pytestmark = pytest.mark.asyncio

CELL = "organizations/acme/projects/shop/cells/development"


def _key(name: str) -> ObjectKey:
    return ObjectKey(api_version="v1", kind="ConfigMap", namespace="n", object=name)


def _wanted(name: str, text: str) -> Wanted:
    content = text.encode()
    return Wanted(
        key=_key(name),
        phase=Phase.CONFIGURATION,
        part="web",
        digest=digest(content),
        content=content,
    )


def _state(revision: int, *objects: Wanted) -> CellState:
    found = {wanted.key: wanted for wanted in objects}
    return CellState(
        cell=CELL, namespace="n", revision=revision, digest=digest_of(found), objects=found
    )


async def test_a_revision_is_there_before_anything_of_it_is_applied(tmp_path: Path) -> None:
    """What was stored and not applied yet is read back whole, with nothing marked."""
    state = _state(3, _wanted("a", "1"), _wanted("b", "2"))
    state.removals[_key("c")] = Removal(key=_key("c"), phase=Phase.WORKLOAD, part="web")
    async with Store(tmp_path / "agent.db") as store:
        await store.save_revision(state, changed=state.objects.values(), dropped=())
    async with Store(tmp_path / "agent.db") as store:
        assert await store.cells() == [state]


async def test_a_change_keeps_what_did_not_change(tmp_path: Path) -> None:
    """Of a second revision only what changed is written, and what was dropped is gone."""
    first = _state(1, _wanted("a", "1"), _wanted("b", "2"))
    second = _state(2, _wanted("a", "1"), _wanted("c", "3"))
    async with Store(tmp_path / "agent.db") as store:
        await store.save_revision(first, changed=first.objects.values(), dropped=())
        await store.save_revision(second, changed=[_wanted("c", "3")], dropped=[_key("b")])
        assert await store.cells() == [second]


async def test_progress_is_kept(tmp_path: Path) -> None:
    """Marks, removals that were done and the applied revision are read back."""
    state = _state(1, _wanted("a", "1"))
    state.removals[_key("c")] = Removal(key=_key("c"), phase=Phase.WORKLOAD, part="web")
    mark = Mark(digest="d", uid="u", residual={"/spec/x": [1], "/spec/y": None})
    async with Store(tmp_path / "agent.db") as store:
        await store.save_revision(state, changed=state.objects.values(), dropped=())
        state.applied_revision = 1
        await store.save_progress(state, marks={_key("a"): mark}, removed=[_key("c")])
    async with Store(tmp_path / "agent.db") as store:
        found = (await store.cells())[0]
        assert found.applied_revision == 1
        assert found.marks == {_key("a"): mark}
        assert found.removals == {}
        await store.forget(CELL)
        assert await store.cells() == []


async def test_the_epoch_is_kept(tmp_path: Path) -> None:
    """The highest epoch survives a restart; none is 0."""
    async with Store(tmp_path / "agent.db") as store:
        assert await store.epoch() == 0
        await store.save_epoch(7)
    async with Store(tmp_path / "agent.db") as store:
        assert await store.epoch() == 7


async def test_a_failed_write_leaves_the_revision_before(tmp_path: Path) -> None:
    """A transaction that breaks off in the middle leaves what was there."""
    first, second = _state(1, _wanted("a", "1")), _state(2, _wanted("b", "2"))
    second.removals[_key("a")] = Removal(key=_key("a"), phase=Phase.WORKLOAD, part="web")
    async with Store(tmp_path / "agent.db") as store:
        await store.save_revision(first, changed=first.objects.values(), dropped=())
        blocker = sqlite3.connect(tmp_path / "agent.db")
        blocker.execute(
            "CREATE TRIGGER stop BEFORE INSERT ON removals BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        blocker.commit()
        blocker.close()
        with pytest.raises(sqlite3.IntegrityError):
            await store.save_revision(second, changed=second.objects.values(), dropped=[_key("a")])
        assert await store.cells() == [first]


async def test_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    """An agent whose file is no database starts with nothing, and keeps the file."""
    path = tmp_path / "agent.db"
    path.write_bytes(b"not a database, and longer than the header of one" * 50)
    async with Store(path) as store:
        assert await store.cells() == []
    assert path.with_suffix(".damaged").exists()
    assert path.stat().st_mode & 0o077 == 0


async def test_a_damaged_cell_is_not_believed(tmp_path: Path) -> None:
    """A Cell whose content is not what its digest says is left out, and asked for again."""
    state = _state(1, _wanted("a", "1"))
    async with Store(tmp_path / "agent.db") as store:
        await store.save_revision(state, changed=state.objects.values(), dropped=())
    other = sqlite3.connect(tmp_path / "agent.db")
    other.execute("UPDATE objects SET content=?", (b"other",))
    other.commit()
    other.close()
    async with Store(tmp_path / "agent.db") as store:
        assert await store.cells() == []
