"""What the agent knows across restarts: one SQLite file, written by one thread.

A revision is one transaction, synced before it is acknowledged, so a crash leaves it whole or not
there. Marks of what was applied may be lost: what has none is looked at, and applied again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import structlog

from cellplane.agent.objects import CellState, Mark, Removal, Wanted
from cellplane.cell.manifest import ObjectKey, Phase

T = TypeVar("T")

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cells (
  cell TEXT PRIMARY KEY, namespace TEXT NOT NULL, revision INTEGER NOT NULL, digest TEXT NOT NULL,
  removed INTEGER NOT NULL, applied_revision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
  cell TEXT NOT NULL, api_version TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL,
  object TEXT NOT NULL, phase TEXT NOT NULL, part TEXT NOT NULL, digest TEXT NOT NULL,
  content BLOB NOT NULL,
  PRIMARY KEY (cell, api_version, kind, namespace, object)
);
CREATE TABLE IF NOT EXISTS removals (
  cell TEXT NOT NULL, api_version TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL,
  object TEXT NOT NULL, phase TEXT NOT NULL, part TEXT NOT NULL,
  PRIMARY KEY (cell, api_version, kind, namespace, object)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (
  cell TEXT NOT NULL, api_version TEXT NOT NULL, kind TEXT NOT NULL, namespace TEXT NOT NULL,
  object TEXT NOT NULL, digest TEXT NOT NULL, uid TEXT NOT NULL, residual TEXT NOT NULL,
  PRIMARY KEY (cell, api_version, kind, namespace, object)
) WITHOUT ROWID;
"""
_TABLES: Final = ("objects", "removals", "marks")
_DELETE: Final = {
    table: f"DELETE FROM {table} WHERE "  # noqa: S608 - a table of the schema above
    "cell=? AND api_version=? AND kind=? AND namespace=? AND object=?"
    for table in _TABLES
}


class Store:
    """An open store; use it with ``async with``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._database: sqlite3.Connection | None = None

    async def __aenter__(self) -> Store:
        await self._run(self._open)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._run(self._close)
        self._thread.shutdown(wait=True)

    async def epoch(self) -> int:
        """The highest epoch that was seen."""
        return int(await self.fact("epoch") or 0)

    async def save_epoch(self, epoch: int) -> None:
        """Remember an epoch, before anything of it is done."""
        await self.save_fact("epoch", str(epoch))

    async def fact(self, name: str) -> str:
        """A single value; empty if there is none."""

        def read(database: sqlite3.Connection) -> str:
            row = database.execute("SELECT value FROM facts WHERE name=?", (name,)).fetchone()
            return str(row[0]) if row else ""

        return await self._do(read)

    async def save_fact(self, name: str, value: str) -> None:
        """Keep a single value."""
        await self._write(
            lambda database: database.execute(
                "INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value)
            )
        )

    async def cells(self) -> list[CellState]:
        """Everything that is stored."""
        return await self._do(_read_cells)

    async def save_revision(
        self,
        state: CellState,
        *,
        changed: Iterable[Wanted],
        dropped: Iterable[ObjectKey],
    ) -> None:
        """Keep a whole revision: after this returns it survives everything.

        Args:
            state: The Cell, with its objects and removals as they are from now on.
            changed: Those of its objects that differ from what is stored.
            dropped: What is stored and not wanted any more.
        """
        row = _cell_row(state)
        changed_rows = [_object_row(state.cell, wanted) for wanted in changed]
        dropped_rows = [_key_row(state.cell, key) for key in dropped]
        removals = [_removal_row(state.cell, removal) for removal in state.removals.values()]

        def write(database: sqlite3.Connection) -> None:
            database.execute("INSERT OR REPLACE INTO cells VALUES (?,?,?,?,?,?)", row)
            database.executemany(_DELETE["objects"], dropped_rows)
            database.executemany(
                "INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?,?,?,?,?)", changed_rows
            )
            database.execute("DELETE FROM removals WHERE cell=?", (state.cell,))
            database.executemany("INSERT INTO removals VALUES (?,?,?,?,?,?,?)", removals)

        await self._write(write)

    async def save_progress(
        self,
        state: CellState,
        *,
        marks: Mapping[ObjectKey, Mark | None],
        removed: Collection[ObjectKey],
    ) -> None:
        """Keep what was applied and removed."""
        new = [_mark_row(state.cell, key, m) for key, m in marks.items() if m is not None]
        gone = [_key_row(state.cell, key) for key, m in marks.items() if m is None]
        done = [_key_row(state.cell, key) for key in removed]
        applied = (state.applied_revision, state.cell)

        def write(database: sqlite3.Connection) -> None:
            database.executemany("INSERT OR REPLACE INTO marks VALUES (?,?,?,?,?,?,?,?)", new)
            database.executemany(_DELETE["marks"], gone)
            database.executemany(_DELETE["removals"], done)
            database.execute("UPDATE cells SET applied_revision=? WHERE cell=?", applied)

        await self._write(write)

    async def forget(self, cell: str) -> None:
        """Drop a Cell that is gone."""

        def write(database: sqlite3.Connection) -> None:
            for table in ("cells", *_TABLES):
                database.execute(f"DELETE FROM {table} WHERE cell=?", (cell,))  # noqa: S608

        await self._write(write)

    async def _write(self, work: Callable[[sqlite3.Connection], object]) -> None:
        def in_transaction(database: sqlite3.Connection) -> None:
            database.execute("BEGIN IMMEDIATE")
            try:
                work(database)
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

        await self._do(in_transaction)

    async def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            if self._database is None:
                raise RuntimeError("store is closed")
            return work(self._database)

        return await self._run(run)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._database = _connect(self._path)
        except sqlite3.DatabaseError as error:
            # The control plane sends everything again to an agent that has nothing.
            aside = self._path.with_suffix(".damaged")
            structlog.get_logger().error("store.damaged", error=str(error), kept_as=str(aside))
            self._path.replace(aside)
            for suffix in ("-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
            self._database = _connect(self._path)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _connect(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600, exist_ok=True)
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode=WAL")
        # A commit is on the disk when it returns.
        database.execute("PRAGMA synchronous=FULL")
        database.execute("PRAGMA busy_timeout=5000")
        database.executescript(_SCHEMA)
        _check(database)
    except BaseException:
        database.close()
        raise
    return database


def _check(database: sqlite3.Connection) -> None:
    found = database.execute("PRAGMA quick_check").fetchone()
    if found is None or found[0] != "ok":
        raise sqlite3.DatabaseError(f"quick check says {found and found[0]}")


def _read_cells(database: sqlite3.Connection) -> list[CellState]:
    found: dict[str, CellState] = {}
    damaged: set[str] = set()
    for cell, namespace, revision, digest, removed, applied in database.execute(
        "SELECT cell, namespace, revision, digest, removed, applied_revision FROM cells"
    ):
        found[cell] = CellState(
            cell=cell,
            namespace=namespace,
            revision=revision,
            digest=digest,
            removed=bool(removed),
            applied_revision=applied,
        )
    for row in database.execute("SELECT * FROM objects"):
        state, key = found[row[0]], _key(row)
        wanted = Wanted(
            key=key, phase=Phase(row[5]), part=row[6], digest=row[7], content=bytes(row[8])
        )
        if hashlib.sha256(wanted.content).hexdigest() != wanted.digest:
            damaged.add(row[0])
        state.objects[key] = wanted
    for row in database.execute("SELECT * FROM removals"):
        found[row[0]].removals[_key(row)] = Removal(key=_key(row), phase=Phase(row[5]), part=row[6])
    for row in database.execute("SELECT * FROM marks"):
        found[row[0]].marks[_key(row)] = Mark(
            digest=row[5], uid=row[6], residual=json.loads(row[7])
        )
    for cell in damaged:
        # The control plane sends it again, as one that the agent does not have.
        structlog.get_logger().error("store.cell_damaged", cell=cell)
    return [state for cell, state in found.items() if cell not in damaged]


def _key(row: tuple[str, ...]) -> ObjectKey:
    return ObjectKey(api_version=row[1], kind=row[2], namespace=row[3], object=row[4])


def _key_row(cell: str, key: ObjectKey) -> tuple[str, ...]:
    return cell, key.api_version, key.kind, key.namespace, key.object


def _cell_row(state: CellState) -> tuple[str, str, int, str, int, int]:
    return (
        state.cell,
        state.namespace,
        state.revision,
        state.digest,
        int(state.removed),
        state.applied_revision,
    )


def _object_row(cell: str, wanted: Wanted) -> tuple[object, ...]:
    own = (wanted.phase.value, wanted.part, wanted.digest, wanted.content)
    return (*_key_row(cell, wanted.key), *own)


def _removal_row(cell: str, removal: Removal) -> tuple[str, ...]:
    return (*_key_row(cell, removal.key), removal.phase.value, removal.part)


def _mark_row(cell: str, key: ObjectKey, mark: Mark) -> tuple[str, ...]:
    residual = json.dumps(mark.residual, sort_keys=True)
    return (*_key_row(cell, key), mark.digest, mark.uid, residual)
