"""What decisions cost, on this machine: the table of placement's design, and growth.

Usage: ``python -m tests.bench.placement [--quick]``. Decisions are committed durably, in batches,
to a SQLite database in a temporary folder, by the code of the service. The baseline of the same run
decides each Cell from a snapshot of all data planes, with nothing kept from one to the next.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from cellplane.cell.plane import CILIUM_POLICY
from cellplane.cell.requirement import Effect, PlacementRequirement, Spread, Taint
from cellplane.placement.records import Decided
from cellplane.placement.repository import Repository
from cellplane.placement.scheduler.decide import Placed, decide
from cellplane.placement.scheduler.fleet import Change, Fleet
from cellplane.placement.scheduler.keeper import Keeper
from cellplane.placement.scheduler.snapshot import (
    REGION,
    ZONE,
    ComponentDemand,
    Demand,
    Plane,
    PlaneState,
    Previous,
    Snapshot,
)
from cellplane.store.database import Database

MIGRATIONS = Path(__file__).parents[2] / "services/cellplane/placement/migrations"
BATCH = 256
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def plane(index: int, regions: int = 5, cpu: int = 10_000_000) -> Plane:
    """A data plane of a region and one of its three zones."""
    region = f"region-{index % regions}"
    return Plane(
        data_plane=f"plane-{index:04}",
        organization="acme",
        state=PlaneState.READY,
        labels={REGION: region, ZONE: f"{region}-{index // regions % 3}"},
        capabilities=frozenset({CILIUM_POLICY}),
        allocatable={"cpu_millis": cpu},
    )


def cell(index: int, requirement: PlacementRequirement) -> Demand:
    """A Cell with two components, of one of forty sizes."""
    return Demand(
        cell=f"organizations/acme/projects/p{index:05}/cells/production",
        organization="acme",
        requirement=requirement,
        components=(
            ComponentDemand(component="api", replicas=2, resources={"cpu_millis": 100}),
            ComponentDemand(component="web", resources={"cpu_millis": 10 * (index % 40 + 1)}),
        ),
    )


def two_domains(copies: int) -> PlacementRequirement:
    """Copies over regions and zones at once."""
    groups = min(copies, 3)
    return PlacementRequirement(
        copies=copies,
        spreads=(
            Spread(topology_key=REGION, min_groups=groups),
            Spread(topology_key=ZONE, min_groups=groups),
        ),
    )


async def commit(repository: Repository | None, changes: Iterator[Change]) -> list[Change]:
    """Take all changes; store them in batches, each in one durable transaction."""
    every: list[Change] = []
    batch: dict[str, Decided] = {}
    for change in changes:
        every.append(change)
        batch[change.cell] = Decided(decision=change.decision, decide_time=NOW)
        if len(batch) == BATCH and repository is not None:
            await repository.save_decisions(batch)
            batch = {}
    if batch and repository is not None:
        await repository.save_decisions(batch)
    return every


async def filled(
    repository: Repository | None, planes: int, cells: int, requirement: PlacementRequirement
) -> tuple[Fleet, float]:
    """A fleet with all Cells placed, and the seconds that it took."""
    fleet = Fleet()
    for index in range(planes):
        fleet.put_plane(plane(index))
    started = time.perf_counter()
    for index in range(cells):
        fleet.put_cell(cell(index, requirement))
    found = await commit(repository, fleet.run())
    if sum(isinstance(c.decision, Placed) for c in found) != cells:
        raise AssertionError("a Cell was not placed")
    return fleet, time.perf_counter() - started


def baseline(planes: int, cells: int) -> float:
    """Seconds for each decision from a whole snapshot, nothing committed."""
    world = Snapshot(planes=tuple(plane(i) for i in range(planes)))
    started = time.perf_counter()
    for index in range(cells):
        decide(world, cell(index, two_domains(3)), Previous())
    return (time.perf_counter() - started) / cells


def wide(fleet: Fleet, times: int) -> list[float]:
    """Milliseconds to decide one Cell on 100 data planes."""
    took: list[float] = []
    for index in range(times):
        fleet.put_cell(cell(90_000 + index, two_domains(100)))
        started = time.perf_counter()
        for change in fleet.run():
            if len(change.decision.data_planes) != 100:
                raise AssertionError("a wide Cell was not placed")
        took.append((time.perf_counter() - started) * 1000)
    return sorted(took)


def events(fleet: Fleet) -> Iterator[tuple[str, int, int, float]]:
    """By event: Cells evaluated, affected, and milliseconds."""
    one = fleet.index.get("plane-0007")
    if one is None:
        raise AssertionError("there is no such plane")
    out = (Taint(key="maintenance", effect=Effect.NO_EXECUTE),)
    changes = {
        "a label that nobody reads": replace(one, labels={**one.labels, "note": "x"}),
        "cordoned": replace(one, cordoned=True),
        "suspect": replace(one, state=PlaneState.SUSPECT),
        "a soft taint": replace(one, taints=(Taint(key="x", effect=Effect.PREFER_NO_SCHEDULE),)),
        "drained": replace(one, drained=True),
        "back as it was": one,
        "tainted NO_EXECUTE": replace(one, taints=out),
        "back again": one,
    }
    for name, changed in changes.items():
        before = fleet.counters.evaluated, fleet.counters.affected
        started = time.perf_counter()
        fleet.put_plane(changed)
        for _ in fleet.run():
            pass
        took = (time.perf_counter() - started) * 1000
        yield name, fleet.counters.evaluated - before[0], fleet.counters.affected - before[1], took


def lost(cells: int) -> tuple[int, int, int, int, float]:
    """One of 20 equal planes is lost: its Cells, those that moved, evaluated, affected, seconds."""
    keeper = Keeper()
    for index in range(20):
        keeper.put(plane(index, regions=1))
    for index in range(cells):
        keeper.want(cell(index, PlacementRequirement()))
    for _ in keeper.advance(0):
        pass
    there = set(keeper.fleet.on("plane-0007"))
    evaluated, affected = keeper.fleet.counters.evaluated, keeper.fleet.counters.affected
    keeper.silent("plane-0007")
    started = time.perf_counter()
    moved = {change.cell for change in keeper.advance(1000)}
    took = time.perf_counter() - started
    if moved != there:
        raise AssertionError("others than its Cells moved, or not all of them")
    counters = keeper.fleet.counters
    return (
        len(there),
        len(moved),
        counters.evaluated - evaluated,
        counters.affected - affected,
        took,
    )


def plot(title: str, points: list[tuple[str, float]], unit: str) -> None:
    """Bars, as long as the values."""
    most = max(value for _, value in points)
    print(f"\n{title}")
    for name, value in points:
        print(f"  {name:>24} {'#' * max(1, round(40 * value / most)):40} {value:10.3f} {unit}")


async def main(*, quick: bool) -> int:
    """Print the table."""
    scale = 10 if quick else 1
    with tempfile.TemporaryDirectory() as folder:
        database = await Database.open(
            "", service="placement", migrations=MIGRATIONS, path=Path(folder) / "placement.db"
        )
        repository = Repository(database)
        cells = 10_000 // scale
        used = time.process_time()
        fleet, seconds = await filled(repository, 1000, cells, two_domains(3))
        used = time.process_time() - used
        scratch = baseline(1000, 20)
        print(f"{cells} Cells on 1,000 planes, k = 3, two domains, committed: ", end="")
        print(f"{cells / seconds:.0f} decisions/s, {cells / used:.0f} a CPU second; goal 2,000")
        print(f"  each from a whole snapshot, not committed: {1 / scratch:.0f} decisions/s", end="")
        print(f"; ratio {cells / seconds * scratch:.1f}")
        print("\nevent                        evaluated  affected        ms")
        for name, evaluated, affected, took in events(fleet):
            print(f"  {name:28} {evaluated:8} {affected:9} {took:9.2f}")
        used = time.process_time()
        took_wide = wide(fleet, 100)
        used = (time.process_time() - used) * 10
        print("\none Cell on 100 of 1,000 planes: ", end="")
        print(f"p50 {took_wide[50]:.1f} ms, p99 {took_wide[98]:.1f} ms; goal 50 ms", end="")
        print(f"; {used:.1f} ms of CPU each")
        there, moved, evaluated, affected, took = lost(cells)
        print(f"\n{cells} Cells, 1 of 20 planes lost: {there} Cells on it, {moved} moved, ", end="")
        print(f"{evaluated} evaluated, {affected} affected, {took:.2f} s")
        print(f"  evaluated/affected {evaluated / affected:.2f}; goal 1.2")
        growth: list[tuple[str, float]] = []
        for many in (1000, 2000, 5000, 10_000):
            _, seconds = await filled(None, 1000, many // scale, two_domains(3))
            growth.append((f"{many // scale} Cells", seconds * 1000 / (many // scale)))
        plot("growth with Cells, 1,000 planes", growth, "ms/decision")
        growth = []
        for many in (100, 500, 1000, 2000, 5000):
            _, seconds = await filled(None, many, 2000 // scale, two_domains(3))
            growth.append((f"{many} planes", seconds * 1000 / (2000 // scale)))
        plot(f"growth with planes, {2000 // scale} Cells", growth, "ms/decision")
        await database.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(quick="--quick" in sys.argv)))
