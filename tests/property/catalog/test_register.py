"""Laws of the catalog on the real database: kept step by step, it is what a rebuild gives."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellplane.api.model.v1 import catalog_pb2, component_pb2
from cellplane.model.tables import calls, catalog_index, catalog_offers
from tests.property.model.edits import NAMES, components, full
from tests.property.model.inprocess import Model, model
from tests.service.model.world import ORG, platform

WORDS = sa.table("catalog_words", sa.column("rowid"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a platform in it."""
    folder = tmp_path_factory.mktemp("catalog")

    async def make() -> None:
        async with model(folder) as made:
            assert await made.apply(*platform(), *map(full, NAMES))

    asyncio.run(make())
    return folder


@st.composite
def offering(draw: st.DrawFn) -> Any:
    """A component that can offer channels, and use those of others."""
    own = draw(components())
    if draw(st.booleans()):
        own.event_channels.append(
            component_pb2.EventChannel(
                event_channel=draw(st.sampled_from(["c", "d"])),
                endpoint=own.endpoints[0].endpoint,
                description=draw(st.sampled_from(["", "told"])),
            )
        )
    for connection in own.connections:
        if draw(st.integers(0, 3)) == 0:
            connection.component_endpoint.offers.append("c")
    return own


STEPS = st.one_of(
    st.lists(offering(), min_size=1, max_size=3, unique_by=lambda c: c.name),
    st.sampled_from(NAMES),
)


async def entries(made: Model) -> dict[str, catalog_pb2.CatalogEntry]:
    """Every entry, without what differs from one writing to the next."""
    request = catalog_pb2.ListCatalogEntriesRequest(
        parent=f"{ORG}/projects/-/components/-", page_size=500
    )
    page = await made.servicers["CatalogService"].ListCatalogEntries(request, None)
    for entry in page.catalog_entries:
        for field in ("uid", "etag", "create_time", "update_time"):
            entry.ClearField(field)
    return {entry.name: entry for entry in page.catalog_entries}


async def searched(made: Model) -> list[str]:
    """What searches answer, in their order."""
    found: list[str] = []
    for query in ("", "e", "a", "told", "shop c"):
        request = catalog_pb2.SearchCatalogEntriesRequest(parent=ORG, query=query)
        page = await made.servicers["CatalogService"].SearchCatalogEntries(request, None)
        found += [entry.name for entry in page.catalog_entries]
    return found


async def forget(made: Model) -> None:
    """Leave a database as one that never had a catalog."""
    async with made.database.transaction() as tx:
        resources = sa.table("resources", sa.column("kind"))
        await tx.execute(sa.delete(catalog_offers))
        await tx.execute(sa.delete(catalog_index))
        await tx.execute(sa.delete(WORDS))
        await tx.execute(sa.delete(resources).where(resources.c.kind == "CatalogEntry"))


async def check_pairs(made: Model, kept: dict[str, catalog_pb2.CatalogEntry]) -> None:
    """Who uses what is the same from the consumer, from the provider, and in the entry."""
    service = made.servicers["CatalogService"]

    async def pairs(**side: str) -> set[tuple[str, str, bool, tuple[str, ...]]]:
        request = catalog_pb2.SearchDependenciesRequest(parent=ORG, page_size=500, **side)
        page = await service.SearchDependencies(request, None)
        return {
            (d.consumer, d.catalog_entry, d.declared, tuple(d.environments))
            for d in page.dependencies
        }

    by_consumer = set().union(*[await pairs(consumer=name) for name in NAMES])
    by_provider = set().union(*[await pairs(provider=name) for name in NAMES])
    in_entries = {
        (c.component, name, c.declared, tuple(c.environments))
        for name, entry in kept.items()
        for c in entry.consumers
    }
    async with made.database.snapshot() as tx:
        rows = (await tx.execute(sa.select(calls))).all()
    running = {(r.caller, f"{r.target}/catalogEntries/{r.endpoint}") for r in rows}

    assert by_consumer == by_provider
    # What is used and not offered any more has no entry, but a pair.
    assert in_entries == {p for p in by_provider if p[1] in kept}
    assert {(c, e) for c, e, _, environments in by_provider if environments} == running


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=1, max_size=6))
def test_the_catalog_is_what_a_rebuild_gives(template: Path, steps: Sequence[Any]) -> None:
    """After any changes, entries, searches and pairs are those of a catalog made from nothing."""

    async def run(folder: Path) -> None:
        async with model(folder) as made:
            for step in steps:
                await (made.undeploy(step) if isinstance(step, str) else made.apply(*step))
            kept, found = await entries(made), await searched(made)
            await check_pairs(made, kept)
            await forget(made)
        async with model(folder) as again:
            assert await entries(again) == kept
            assert await searched(again) == found

    with tempfile.TemporaryDirectory() as folder:
        for file in template.iterdir():
            (Path(folder) / file.name).write_bytes(file.read_bytes())
        asyncio.run(run(Path(folder)))
