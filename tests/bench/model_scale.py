"""Lists, filters and the way from an apply to the feed, with 300,000 connections on PostgreSQL.

Run: ``python tests/bench/model_scale.py [projects]``. A thousand projects of ten components with
thirty connections each are applied as users do, resolution and all; then pages are listed and
components applied, over gRPC and TLS, and the statements that each took are counted. Beside each
stands what the same client pays for an empty call to the same server, which is the machine's part.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
import structlog

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "services"), str(ROOT / "gen")]

from cellplane.api.model.v1 import component_pb2, project_pb2, resource_pb2  # noqa: E402
from cellplane.testing.postgres import postgresql  # noqa: E402
from tests.service.model.conftest import serving  # noqa: E402
from tests.service.model.world import (  # noqa: E402
    ORG,
    ORGANIZATION,
    PIPELINE,
    Api,
    component,
    connection,
    endpoint,
    platform,
)

COMPONENTS, ENDPOINTS, CONNECTIONS = 10, 3, 30
ROUNDS = 60


class Statements:
    """Counts what is sent to the database."""

    def __init__(self) -> None:
        self.count = 0
        sa.event.listen(sa.Engine, "before_cursor_execute", self._count)

    def _count(self, *_: Any) -> None:
        self.count += 1


def project(number: int) -> list[Any]:
    """A project and its components; each is connected to the others and to the project before."""
    name = f"{ORG}/projects/p{number:04}"
    former = f"{ORG}/projects/p{max(number - 1, 0):04}"
    made: list[Any] = [project_pb2.Project(name=name, deployment_pipeline=PIPELINE)]
    targets = [
        (f"{where}/components/c{index}", f"e{port}")
        for where in (name, former)
        for index in range(COMPONENTS)
        for port in range(ENDPOINTS)
    ]
    for index in range(COMPONENTS):
        own = f"{name}/components/c{index}"
        others = [target for target in targets if target[0] != own]
        made.append(
            component(
                f"c{index}",
                project=name,
                endpoints=[
                    endpoint(f"e{port}", 80 + port, visible=[ORGANIZATION])
                    for port in range(ENDPOINTS)
                ],
                connections=[
                    connection(target, e, id=f"k{i}")
                    for i, (target, e) in enumerate(others[:CONNECTIONS])
                ],
            )
        )
    return made


async def fill(api: Api, count: int) -> None:
    """Apply everything."""
    await api.apply(*platform())
    begun = time.perf_counter()
    for start in range(0, count, 5):
        some = [r for n in range(start, min(start + 5, count)) for r in project(n)]
        await api.apply(*some)
        if start % 100 == 0:
            print(f"  {start} projects after {time.perf_counter() - begun:.0f} s", flush=True)
    print(f"{count} projects in {time.perf_counter() - begun:.0f} s")


def settle(url: str) -> None:
    """Let the database do now what it would do in its own time, after so many rows at once."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


async def measure(
    what: str, statements: Statements, call: Callable[[int], Awaitable[Any]], rounds: int = ROUNDS
) -> float:
    """Print the median and the statements of one call; answers the median in milliseconds."""
    await call(0)
    times: list[float] = []
    before = statements.count
    for number in range(rounds):
        begun = time.perf_counter()
        await call(number)
        times.append(1000 * (time.perf_counter() - begun))
    cuts = statistics.quantiles(times, n=20)
    count = (statements.count - before) / rounds
    print(f"{what:44} p50 {cuts[9]:6.1f} ms  p95 {cuts[18]:6.1f} ms  {count:5.1f} statements")
    return cuts[9]


async def feed(api: Api, statements: Statements, count: int) -> None:
    """Measure from an apply to its change on the feed, and to the end of the apply itself."""
    watching = api.resources.WatchResources(
        resource_pb2.WatchResourcesRequest(kinds=["Component"], parent=f"{ORG}/projects/p0000")
    )
    while (await watching.read()).change.type != 2:
        pass
    _, first, *_ = project(0)
    times: list[float] = []
    answers: list[float] = []
    before = statements.count
    for number in range(ROUNDS):
        one = component_pb2.Component()
        one.CopyFrom(first)
        one.workload.image = f"app:{number + 2}"
        begun = time.perf_counter()
        applying = asyncio.ensure_future(api.apply(one))
        while True:
            change = (await watching.read()).change
            seen = component_pb2.Component()
            if change.resource.Unpack(seen) and seen.workload.image == one.workload.image:
                break
        times.append(1000 * (time.perf_counter() - begun))
        await applying
        answers.append(1000 * (time.perf_counter() - begun))
    watching.cancel()
    count = (statements.count - before) // ROUNDS
    for what, some in (
        ("apply to its change on the feed", times),
        ("apply to its answer", answers),
    ):
        cuts = statistics.quantiles(some, n=20)
        print(f"{what:44} p50 {cuts[9]:6.1f} ms  p95 {cuts[18]:6.1f} ms  {count:5} statements")


async def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with (
        tempfile.TemporaryDirectory() as folder,
        postgresql(ROOT / "tests" / "postgresql.lock", durable=True) as server,
    ):
        url = server.new_database()
        async with serving(Path(folder), url) as api:
            await fill(api, count)
            settle(url)
            statements = Statements()
            await lists(api, statements, count)
            await feed(api, statements, count)


async def lists(api: Api, statements: Statements, count: int) -> None:
    """Measure pages."""
    across, some = f"{ORG}/projects/-", f"{ORG}/projects/p{count // 2:04}"
    List = component_pb2.ListComponentsRequest  # noqa: N806 - a class

    async def nothing(_: int) -> Any:
        return await api.projects.ListProjects(
            project_pb2.ListProjectsRequest(parent="organizations/none", page_size=1)
        )

    base = await measure("empty page (the machine's part)", statements, nothing)
    tokens = [""]
    for _ in range(9):
        page = await api.components.ListComponents(List(parent=across, page_token=tokens[-1]))
        tokens.append(page.next_page_token)

    async def of_project(_: int) -> Any:
        return await api.components.ListComponents(List(parent=some))

    async def walked(number: int) -> Any:
        return await api.components.ListComponents(
            List(parent=across, page_token=tokens[number % len(tokens)])
        )

    async def projects(_: int) -> Any:
        return await api.projects.ListProjects(project_pb2.ListProjectsRequest(parent=ORG))

    medians = [
        await measure("components of one project (10)", statements, of_project),
        await measure("components of all projects, pages of 50", statements, walked),
        await measure("projects, first page of 50", statements, projects),
    ]
    if "filter" in List.DESCRIPTOR.fields_by_name:
        for text in (
            f'name = "{some}/components/c3"',
            'workload.image = "app:1"',
            'endpoints.endpoint:"e2" AND display_name = ""',
            'workload.image = "none"',
            'NOT workload.image > "a"',
            'connections.connection:"none"',
            f'connections.component_endpoint.component:"{some}/components/c3"',
        ):

            async def filtered(_: int, text: str = text) -> Any:
                return await api.components.ListComponents(List(parent=across, filter=text))

            medians.append(await measure(f"filter {text[:36]}", statements, filtered, 10))
        for text in ("workload.image desc", "latest_release"):

            async def ordered(_: int, text: str = text) -> Any:
                return await api.components.ListComponents(List(parent=across, order_by=text))

            medians.append(await measure(f"order by {text}", statements, ordered, 10))
    worst = max(medians)
    print(f"the slowest page is {worst:.1f} ms at the median, {worst / base:.0f} empty pages")


if __name__ == "__main__":
    asyncio.run(main())
