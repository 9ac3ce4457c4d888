"""What decisions cost, on this machine: the table of placement's design, and growth.

Usage: ``python -m tests.bench.placement [--quick] [--plot FILE.svg]``. Decisions are committed
durably, in batches, to a SQLite database in a temporary folder, by the code of the service. The
baseline of the same run decides each Cell from a snapshot of all data planes, with nothing kept
from one to the next.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
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


async def commit(
    repository: Repository | None, fleet: Fleet, changes: Iterator[Change]
) -> list[Change]:
    """Take all changes; store them in batches, each in one durable transaction."""
    every: list[Change] = []
    batch: dict[str, Decided] = {}
    for change in changes:
        every.append(change)
        resident = fleet.cells[change.cell]
        batch[change.cell] = Decided(
            decision=change.decision,
            decide_time=NOW,
            spreads=resident.spreads,
            reserved=resident.taken,
        )
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
    found = await commit(repository, fleet, fleet.run())
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


Points = list[tuple[int, float]]


def table(title: str, unit: str, points: Points) -> None:
    """How the CPU of one decision grows, and against what growth alone would make of it."""
    print(f"\n{title}")
    first = points[0]
    for many, cost in points:
        grown, times = many / first[0], cost / first[1]
        print(f"  {many:>7} {unit:7} {cost:8.3f} ms of CPU", end="")
        print(f"   x {grown:5.1f} {unit}: x {times:4.2f}")


def svg(path: Path, plots: list[tuple[str, str, Points]]) -> None:
    """The tables as curves, side by side, from 0 up."""
    width, height, edge = 420, 260, 50
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * len(plots)}" '
            f'height="{height}" font-family="sans-serif" font-size="11">'
        )
    ]
    for at, (title, unit, points) in enumerate(plots):
        most = max(cost for _, cost in points) * 1.15
        right = max(many for many, _ in points)

        def place(many: float, cost: float, left: int = at * width) -> tuple[float, float]:
            wide, high = width - 2 * edge, height - 2 * edge
            return left + edge + wide * many / right, height - edge - high * cost / most  # noqa: B023

        corner, end, top = place(0, 0), place(right, 0), place(0, most)
        curve = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*p) for p in points))
        parts += [
            f'<text x="{at * width + edge}" y="20" font-size="13">{title}</text>',
            (
                f'<path d="M{top[0]},{top[1]} L{corner[0]},{corner[1]} L{end[0]},{end[1]}" '
                'fill="none" stroke="#888"/>'
            ),
            f'<polyline points="{curve}" fill="none" stroke="#0a6" stroke-width="2"/>',
        ]
        for many, cost in points:
            x, y = place(many, cost)
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="#0a6"/>',
                f'<text x="{x:.1f}" y="{y - 8:.1f}" text-anchor="middle">{cost:.2f}</text>',
                f'<text x="{x:.1f}" y="{height - edge + 15}" text-anchor="middle">{many}</text>',
            ]
        parts.append(
            f'<text x="{at * width + width / 2}" y="{height - 12}" text-anchor="middle">'
            f"{unit}; ms of CPU for a decision</text>"
        )
    path.write_text("\n".join([*parts, "</svg>", ""]))


async def cost(planes: int, cells: int) -> float:
    """Milliseconds of CPU for one decision, nothing committed: the better of two runs."""
    took: list[float] = []
    for _ in range(2):
        used = time.process_time()
        await filled(None, planes, cells, two_domains(3))
        took.append((time.process_time() - used) * 1000 / cells)
    return min(took)


async def main(*, quick: bool, plot: Path | None) -> int:
    """Print the table."""
    # As the service runs: see ``runtime.tasks``.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
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
        cells_grow = [
            (many // scale, await cost(1000, many // scale)) for many in (1000, 2000, 5000, 10_000)
        ]
        planes_grow = [
            (many, await cost(many, 2000 // scale)) for many in (100, 500, 1000, 2000, 5000)
        ]
        table("growth with Cells, 1,000 data planes", "Cells", cells_grow)
        table(f"growth with data planes, {2000 // scale} Cells", "planes", planes_grow)
        if plot is not None:
            plots = [
                ("1,000 data planes", "Cells", cells_grow),
                (f"{2000 // scale} Cells", "data planes", planes_grow),
            ]
            svg(plot, plots)
        await database.close()
    return 0


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description="What decisions cost, on this machine.")
    asked.add_argument("--quick", action="store_true", help="a tenth of the Cells")
    asked.add_argument("--plot", type=Path, help="where to write how the costs grow, as SVG")
    given = asked.parse_args()
    sys.exit(asyncio.run(main(quick=given.quick, plot=given.plot)))
