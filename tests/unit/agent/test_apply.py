"""What a Cell's worker does when things happen at the worst moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cellplane.agent.cells import Cells
from cellplane.agent.objects import Outcome, Verdict, Want, Wanted, WantedObject, digest_of
from cellplane.agent.outbox import DueOutbox
from cellplane.agent.store import Store
from cellplane.agent.target import Attempt
from cellplane.cell import labels
from cellplane.cell.manifest import Manifest, ObjectKey, Phase, manifest
from cellplane.cell.names import CellName
from cellplane.runtime.clock import SystemClock
from tests.unit.agent.memory import MemoryTarget

pytestmark = pytest.mark.asyncio

CELL = CellName(organization="acme", project="shop", environment="development")
NAME = str(CELL)
DEADLINE = 10.0


def _object(name: str, value: str, phase: Phase = Phase.CONFIGURATION, part: str = "") -> Manifest:
    kinds = {Phase.GUARD: ("networking.k8s.io/v1", "NetworkPolicy")}
    api_version, kind = kinds.get(phase, ("v1", "ConfigMap"))
    body: dict[str, Any] = {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": CELL.namespace,
            "annotations": {labels.OWNER: NAME},
        },
    }
    body |= {"data": {"A": value}} if kind == "ConfigMap" else {"spec": {"podSelector": {}}}
    return manifest(part, phase, body)


def _want(
    revision: int, *manifests: Manifest, removals: tuple[ObjectKey, ...] = (), removed: bool = False
) -> tuple[Want, dict[str, bytes]]:
    objects = tuple(
        WantedObject(key=m.key, phase=m.phase, part=m.part, digest=m.digest) for m in manifests
    )
    whole = {
        m.key: Wanted(key=m.key, phase=m.phase, part=m.part, digest=m.digest, content=m.content)
        for m in manifests
    }
    want = Want(
        cell=NAME,
        revision=revision,
        base_revision=0,
        nonce=str(revision),
        objects=objects,
        removals=removals,
        digest=digest_of(whole),
        namespace=CELL.namespace,
        removed=removed,
    )
    return want, {m.digest: m.content for m in manifests}


class Bench:
    """Cells over a target in memory."""

    def __init__(self, cells: Cells, target: MemoryTarget, outbox: DueOutbox) -> None:
        self.cells = cells
        self.target = target
        self.outbox = outbox

    async def want(self, revision: int, *manifests: Manifest, **how: Any) -> Verdict:
        """Want these objects."""
        return (await self.cells.accept(*_want(revision, *manifests, **how))).verdict

    async def until(self, found: Callable[[], bool]) -> None:
        """Wait until something holds; the outbox tells that anything happened."""
        async with asyncio.timeout(DEADLINE):
            while not found():
                self.outbox.stir.clear()
                try:
                    async with asyncio.timeout(0.05):
                        await self.outbox.stir.wait()
                except TimeoutError:
                    continue

    def is_applied(self, revision: int) -> bool:
        """Whether a revision is applied in full."""
        return any(
            state.cell == NAME and state.applied_revision == revision
            for state in self.cells.inventory()
        )

    def data(self, key: ObjectKey) -> str:
        """What an object says."""
        return str(self.target.objects[key]["data"]["A"])


@asynccontextmanager
async def bench_of(folder: Path) -> AsyncIterator[Bench]:
    """Run Cells with a store in *folder* until left."""
    target, outbox = MemoryTarget(), DueOutbox()
    async with Store(folder / "agent.db") as store:
        cells = Cells(
            target=target,
            store=store,
            outbox=outbox,
            clock=SystemClock(),
            rng=random.Random(1),  # noqa: S311 - jitter
            plane=lambda: "east",
        )
        await cells.load()
        running = asyncio.create_task(cells.run())
        await asyncio.sleep(0)
        try:
            yield Bench(cells, target, outbox)
        finally:
            running.cancel()
            await asyncio.wait({running})


async def test_a_revision_that_returns_while_another_is_written_wins(tmp_path: Path) -> None:
    """One, two, one: the write of two was in flight when one was wanted again, and one it is."""
    one, two = _object("a", "1"), _object("a", "2")
    async with bench_of(tmp_path) as bench:
        await bench.want(1, one)
        await bench.until(lambda: bench.is_applied(1))
        bench.target.open.clear()
        bench.target.written.clear()
        await bench.want(2, two)
        await bench.target.written.wait()
        await bench.want(3, one)
        bench.target.open.set()
        await bench.until(lambda: bench.is_applied(3))
        assert bench.data(one.key) == "1"


async def test_what_is_deleted_while_it_is_written_is_made_again(tmp_path: Path) -> None:
    """A deletion that is seen before the answer to an earlier write is not forgotten."""
    one, two = _object("a", "1"), _object("a", "2")
    async with bench_of(tmp_path) as bench:
        await bench.want(1, one)
        await bench.until(lambda: bench.is_applied(1))
        bench.target.open.clear()
        bench.target.written.clear()
        await bench.want(2, two)
        await bench.target.written.wait()
        bench.target.delete(one.key)
        bench.target.open.set()
        await bench.until(lambda: one.key in bench.target.objects)
        assert bench.data(one.key) == "2"


async def test_what_is_changed_while_it_is_written_is_repaired(tmp_path: Path) -> None:
    """A change that is seen before the answer to an earlier write is drift of that write."""
    one = _object("a", "1")
    async with bench_of(tmp_path) as bench:
        bench.target.open.clear()
        await bench.want(1, one)
        await bench.target.written.wait()
        bench.target.change(one.key, data={"A": "theirs"})
        bench.target.open.set()
        await bench.until(lambda: bench.data(one.key) == "1")
        assert [d.fields for d in bench.outbox.drifts] == [("/data/A",)]


async def test_one_who_changes_it_again_and_again_is_not_fought_for_every_price(
    tmp_path: Path,
) -> None:
    """After three repairs the next ones are made with growing pauses, and it is said."""
    one = _object("a", "1")
    async with bench_of(tmp_path) as bench:
        await bench.want(1, one)
        await bench.until(lambda: bench.is_applied(1))
        for time in range(4):
            bench.target.change(one.key, data={"A": f"theirs {time}"})
            if time < 3:
                await bench.until(lambda: bench.data(one.key) == "1")
                await bench.until(lambda count=time: len(bench.outbox.drifts) > count)
        assert bench.data(one.key) == "theirs 3"
        await bench.until(lambda: bench.data(one.key) == "1")
        said = [drift.repaired for drift in bench.outbox.drifts]
        assert said[:4] == [True, True, True, False]


async def test_an_unchanged_refusal_is_said_once(tmp_path: Path) -> None:
    """An object that fails is tried again, others are applied, and it is news only once."""
    bad, good = _object("bad", "1"), _object("good", "1")
    async with bench_of(tmp_path) as bench:
        bench.target.refused[bad.key] = Attempt(outcome=Outcome.FAILED, message="not now")
        await bench.want(1, bad, good)
        tries = lambda: [o for k, o in bench.target.writes if k == bad.key]  # noqa: E731
        await bench.until(lambda: len(tries()) >= 2)
        assert good.key in bench.target.objects
        applied = bench.cells.take_applied(NAME)
        assert applied is not None
        assert not applied.complete
        assert {(r.key, r.outcome) for r in applied.results} == {
            (bad.key, Outcome.FAILED),
            (good.key, Outcome.CREATED),
        }
        await bench.until(lambda: len(tries()) >= 3)
        assert bench.cells.take_applied(NAME) is None
        bench.target.refused.clear()
        await bench.until(lambda: bench.is_applied(1))


async def test_a_removal_waits_for_what_replaces_it(tmp_path: Path) -> None:
    """What a component is to lose stays until what it gets instead is in place."""
    old, new = _object("old", "1", part="web"), _object("new", "1", part="web")
    async with bench_of(tmp_path) as bench:
        await bench.want(1, old)
        await bench.until(lambda: bench.is_applied(1))
        bench.target.refused[new.key] = Attempt(outcome=Outcome.INVALID, message="wrong")
        await bench.want(2, new, removals=(old.key,))
        await bench.until(lambda: bool(bench.target.writes[-1][1] is Outcome.INVALID))
        assert old.key in bench.target.objects
        bench.target.refused.clear()
        await bench.want(3, new, removals=(old.key,))
        await bench.until(lambda: bench.is_applied(3))
        assert old.key not in bench.target.objects


async def test_nothing_comes_before_a_guard_that_failed(tmp_path: Path) -> None:
    """While a guard of the Cell is not in place, no component gets anything."""
    guard = _object("deny", "", Phase.GUARD)
    config = _object("a", "1", part="web")
    async with bench_of(tmp_path) as bench:
        bench.target.refused[guard.key] = Attempt(outcome=Outcome.INVALID, message="wrong")
        await bench.want(1, guard, config)
        await bench.until(lambda: bool(bench.target.writes))
        await bench.until(lambda: NAME in bench.outbox.applied)
        applied = bench.cells.take_applied(NAME)
        assert applied is not None
        outcomes = {r.key: r.outcome for r in applied.results}
        assert outcomes == {guard.key: Outcome.INVALID, config.key: Outcome.BLOCKED}
        assert config.key not in bench.target.objects


async def test_an_empty_want_removes_nothing(tmp_path: Path) -> None:
    """A revision without objects and without removals leaves everything where it is."""
    one = _object("a", "1")
    async with bench_of(tmp_path) as bench:
        await bench.want(1, one)
        await bench.until(lambda: bench.is_applied(1))
        assert await bench.want(2) is Verdict.ACCEPTED
        await bench.until(lambda: bench.is_applied(2))
        assert one.key in bench.target.objects


async def test_an_older_revision_is_refused(tmp_path: Path) -> None:
    """A revision that is lower than the stored one is not taken, whatever it starts from."""
    async with bench_of(tmp_path) as bench:
        assert await bench.want(5, _object("a", "1")) is Verdict.ACCEPTED
        assert await bench.want(4, _object("a", "2")) is Verdict.BASE_MISMATCH


async def test_a_removed_cell_is_forgotten_once_it_is_gone(tmp_path: Path) -> None:
    """A removal counts until everything is gone, and is said then; nothing of it is stored."""
    one = _object("a", "1")
    async with bench_of(tmp_path) as bench:
        await bench.want(1, one)
        await bench.until(lambda: bench.is_applied(1))
        bench.cells.take_applied(NAME)
        await bench.want(2, removals=(one.key,), removed=True)
        assert bench.cells.root_digest()
        await bench.until(lambda: not bench.cells.inventory())
        applied = bench.cells.take_applied(NAME)
        assert applied is not None
        assert (applied.removed, applied.complete, applied.revision) == (True, True, 2)
        assert bench.cells.root_digest() == ""
    async with Store(tmp_path / "agent.db") as store:
        assert await store.cells() == []
