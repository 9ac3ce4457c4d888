"""How long pages of a big collection take: 10,000 components of 30 connections, on PostgreSQL.

Usage: ``python -m tests.bench.lists``. Prints medians in milliseconds, and each as a ratio to the
plain first page of the same run, which is what a machine's speed cancels out of.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path

import sqlalchemy as sa

from cellplane.api.model.v1 import component_pb2
from cellplane.api.type.v1 import workload_pb2
from cellplane.resource.filter.document import document_of
from cellplane.resource.names import Collection
from cellplane.resource.standard import StandardMethods
from cellplane.rpc.pagination import PageTokens, derive_key
from cellplane.runtime.clock import SystemClock
from cellplane.store.database import Database
from cellplane.store.resources import Resources, ResourceTables, parent_of
from cellplane.testing.postgres import postgresql

ROOT = Path(__file__).parents[1]
COMPONENTS = Collection(
    kind="Component",
    message=component_pb2.Component,
    pattern="organizations/{organization}/projects/{project}/components/{component}",
    field="component",
)
FILTERS = {
    "first page of all": "",
    "every row matches": "component_kind = COMPONENT_KIND_SERVICE",
    "one in ten matches": 'annotations.team = "t3"',
    "one row matches, text": 'display_name = "component 7777"',
    "one row matches, in a list": 'connections.connection:"only-7777"',
    "one row, its whole name": 'name = "organizations/acme/projects/p777/components/c7"',
    "one row matches, by name": 'name = "*/p777/components/c7"',
    "no row matches, text": 'display_name = "nobody"',
    "no row matches, by order": 'display_name > "x"',
    "no row matches, in a list": 'connections.component_endpoint.endpoint:"none"',
    "no row matches, wildcard": 'connections.connection:"*none*"',
    "every row is excluded": 'NOT connections.component_endpoint.endpoint:"http"',
    "a word": "7777",
}
ORDERS = {
    "by text": "display_name",
    "by text, the last first": "display_name desc",
    "by enum and by key of a map": "component_kind, annotations.team desc",
}


async def main() -> None:
    """Fill, ask, print."""
    with postgresql(ROOT / "postgresql.lock") as server:
        database = await Database.open(
            server.new_database(), service="bench", migrations=ROOT / "contract" / "migrations"
        )
        try:
            await _run(database)
        finally:
            await database.close()


async def _run(database: Database) -> None:
    resources = Resources(ResourceTables(sa.MetaData()))
    now = SystemClock().now()
    rows = []
    for number in range(10_000):
        name = f"organizations/acme/projects/p{number // 10}/components/c{number % 10}"
        own = component_pb2.Component(
            name=name,
            display_name=f"component {number}",
            annotations={"team": f"t{number % 10}"},
            component_kind=workload_pb2.COMPONENT_KIND_SERVICE,
        )
        for other in range(30):
            own.connections.add(
                connection=f"only-{number}" if other == 29 else f"peer-{other}",
                component_endpoint=component_pb2.ComponentEndpoint(
                    component=f"organizations/acme/projects/p{other}/components/c{number % 10}",
                    endpoint="http",
                ),
            )
        document = document_of(own)
        rows.append(
            {
                "name": name, "kind": "Component", "parent": parent_of(name), "uid": str(number),
                "revision": number + 1, "create_time": now, "update_time": now,
                "payload": own.SerializeToString(deterministic=True),
                "fields": document.fields, "lists": document.lists,
            }
        )  # fmt: skip
    async with database.transaction() as tx:
        await tx.execute(sa.insert(resources.tables.resources), rows)
        await tx.execute(sa.text("ANALYZE"))
    methods = StandardMethods(
        database=database,
        resources=resources,
        collection=COMPONENTS,
        tokens=PageTokens(derive_key(b"secret")),
        clock=SystemClock(),
    )
    print(f"payload: {len(rows[0]['payload'])} bytes")
    first = 0.0
    asked = [(label, {"filter": text}) for label, text in FILTERS.items()]
    asked += [(label, {"order_by": text}) for label, text in ORDERS.items()]
    for label, fields in asked:
        request = component_pb2.ListComponentsRequest(
            parent="organizations/acme/projects/-", **fields
        )
        took = []
        for _ in range(15):
            began = time.perf_counter()
            page = await methods.list(request, component_pb2.ListComponentsResponse())
            took.append((time.perf_counter() - began) * 1000)
        median = statistics.median(took)
        first = first or median
        print(f"{label:28} {len(page.components):4} rows {median:8.1f} ms {median / first:6.1f} x")


if __name__ == "__main__":
    asyncio.run(main())
