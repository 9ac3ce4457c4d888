"""How long one edit of a project with many components takes inside of the model.

Run: ``python tests/bench/model_edit.py [components] [edits] [--profile]``. Calls the servicer
itself, on SQLite in a file, so that neither gRPC nor a client is in the numbers; the commit is.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import statistics
import sys
import tempfile
import time
import zoneinfo
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "services"), str(ROOT / "gen")]

from cellplane.api.model.v1 import component_pb2, resource_pb2  # noqa: E402
from cellplane.model.__main__ import MIGRATIONS  # noqa: E402
from cellplane.model.service import serve_model  # noqa: E402
from cellplane.runtime.clock import SystemClock  # noqa: E402
from cellplane.store.database import Database  # noqa: E402
from tests.service.model.world import (  # noqa: E402
    SHOP,
    component,
    connection,
    endpoint,
    pack,
    platform,
)


class Servicers:
    """Stands where a server would, and hands out what is registered."""

    def __init__(self) -> None:
        self.by_name: dict[str, Any] = {}

    def add(self, name: str, add: Callable[..., None], servicer: Any) -> None:
        """Keep a servicer."""
        del add
        self.by_name[name.rsplit(".", 1)[-1]] = servicer


async def main() -> None:
    """Print the table."""
    numbers = [int(a) for a in sys.argv[1:] if a.isdigit()]
    count, edits = [*numbers, 200, 200][:2]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory() as folder:
        database = await Database.open(
            f"sqlite:///{folder}/model.db", service="model", migrations=MIGRATIONS
        )
        servicers = Servicers()
        zones = zoneinfo.available_timezones()
        async with serve_model(
            servicers,  # type: ignore[arg-type]
            database,
            clock=SystemClock(),
            key=b"k" * 32,
            zones=zones,
        ):
            await run(servicers, count, edits)
        await database.close()


async def run(servicers: Servicers, count: int, edits: int) -> None:
    """Apply *count* components, then edit them one by one."""
    resources = [
        component(
            f"c{i}",
            endpoints=[endpoint()],
            connections=[
                connection(f"{SHOP}/components/c{(i * 7 + j) % count}", id=f"k{j}")
                for j in range(1, 6)
            ],
        )
        for i in range(count)
    ]
    apply = servicers.by_name["ResourceService"].ApplyResources
    begun = time.perf_counter()
    await apply(resource_pb2.ApplyResourcesRequest(resources=pack(platform() + resources)), None)
    print(f"apply of {count} components      {1000 * (time.perf_counter() - begun):8.1f} ms")
    await measure("image of one component", servicers, count, edits, _image)
    await measure("port of one component's endpoint", servicers, count, edits, _port)
    await measure("connections of one component", servicers, count, edits, _connections)


def _image(number: int, given: component_pb2.Component) -> str:
    given.workload.image = f"app:{number + 2}"
    return "workload.image"


def _port(number: int, given: component_pb2.Component) -> str:
    given.endpoints.append(endpoint(port=1000 + number))
    return "endpoints"


def _connections(number: int, given: component_pb2.Component) -> str:
    given.connections.append(connection(f"{SHOP}/components/c0", id=f"n{number}"))
    return "connections"


async def measure(
    what: str,
    servicers: Servicers,
    count: int,
    edits: int,
    edit: Callable[[int, component_pb2.Component], str],
) -> None:
    """Time one kind of edit."""
    update = servicers.by_name["ComponentService"].UpdateComponent
    profile = cProfile.Profile() if "--profile" in sys.argv else None
    times: list[float] = []
    cpu = time.process_time()
    for number in range(edits):
        given = component_pb2.Component(name=f"{SHOP}/components/c{number % count}")
        request = component_pb2.UpdateComponentRequest(component=given)
        request.update_mask.paths.append(edit(number, request.component))
        begun = time.perf_counter()
        if profile:
            profile.enable()
        await update(request, None)
        if profile:
            profile.disable()
        times.append(1000 * (time.perf_counter() - begun))
    cpu = 1000 * (time.process_time() - cpu) / edits
    cuts = statistics.quantiles(times, n=100)
    print(f"{what:34} p50 {cuts[49]:6.1f} ms   p95 {cuts[94]:6.1f} ms   cpu {cpu:6.1f} ms")
    if profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


if __name__ == "__main__":
    asyncio.run(main())
