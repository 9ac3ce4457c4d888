"""How long 1,000 components take to render, on one core: shipped types, and one with two traits.

Usage: ``python -m tests.bench.rendering [COMPONENTS]``. Prints seconds of CPU time, and each as a
ratio to writing the same objects as canonical JSON, which is what a machine's speed cancels out of.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cellplane.cell.cell import ResolvedCell
from cellplane.cell.manifest import Compiled, canonical
from cellplane.cell.plane import Peers
from cellplane.cli.documents.load import load
from cellplane.cli.offline import cells
from cellplane.cli.offline.rendering import PLANE
from cellplane.model.workload.compile import compile as compile_workloads
from tests.golden.cases import case_of
from tests.golden.cases import load as read

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "tests/golden/workload/cases"


def cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU time that *work* takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def many(cell: ResolvedCell, count: int) -> ResolvedCell:
    """The Cell with *count* components, each with an id of its own."""
    own = cell.components
    copies = (
        replace(own[n % len(own)], component=f"{own[n % len(own)].component[:40]}-{n}")
        for n in range(count)
    )
    return replace(cell, components=tuple(copies))


def typed() -> ResolvedCell:
    """The sample with a type of its own and two traits."""
    names = ["web-service.yaml", "traits.yaml", "examples/shop.yaml"]
    files = [str(ROOT / "samples/types" / name) for name in names]
    ((cell, wrong),) = cells.cells(cells.World(load(files, "acme")), "development")
    assert not wrong
    return cell


def main(count: int = 1000) -> None:
    """Print what each takes."""
    shipped = [case_of(read(SHIPPED / n / "in.yaml")).cell for n in ("service", "stateful")]
    worlds = {
        "shipped types": replace(
            shipped[0], components=(*shipped[0].components, *shipped[1].components)
        ),
        "a type with two traits": typed(),
    }
    for what, cell in worlds.items():
        every, answers = many(cell, count), list[Compiled]()

        def render(every: ResolvedCell = every, answers: list[Compiled] = answers) -> None:
            answers.append(compile_workloads(every, PLANE, Peers(), include_frame=False))

        first = cpu(render)
        again = cpu(render)
        assert not answers[0].problems
        assert answers[0] == answers[1]
        bodies = [json.loads(m.content) for m in answers[0].manifests]
        baseline = cpu(lambda bodies=bodies: [canonical(body) for body in bodies])
        print(
            f"{what}: {count} components, {len(bodies)} objects: {first:.2f} s, "
            f"with expressions compiled {again:.2f} s; {again / baseline:.1f} times writing them"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
