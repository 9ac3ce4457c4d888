"""Registers what components offer, in the transaction that changes it.

``catalog_offers`` holds what is offered, by component and by environment; no environment stands for
the component as it is written. A change reads and writes the rows of its own components alone, and
an entry is written only where one of its rows differs. Who uses an entry, which release is deployed
and who owns it are not part of it: they are read from the model's own indices.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeAlias

import sqlalchemy as sa

from cellplane.api.model.v1 import api_schema_pb2, catalog_pb2, project_pb2
from cellplane.api.type.v1 import endpoint_pb2
from cellplane.cell.names import last_segment
from cellplane.model.batch import Batch
from cellplane.model.catalog.convert import facts_of
from cellplane.model.catalog.index import Index, Indexed
from cellplane.model.catalog.rules.words import Words, words_of
from cellplane.model.convert import Codecs
from cellplane.model.domain.kinds import Kind, project_of
from cellplane.model.domain.offers import offers_of
from cellplane.model.domain.resolve import Deployed
from cellplane.model.domain.resources import Component
from cellplane.model.records import Records
from cellplane.model.tables import catalog_offers, deployed
from cellplane.store.database import Transaction
from cellplane.store.prepared import OneOf, Prepared

WRITTEN = ""
"""In place of an environment: the component as it is written."""
Rows: TypeAlias = dict[tuple[str, str], dict[str, bytes]]
"""By component and environment: what is offered there, by id."""
_MANY = 200

SELECT_OFFERS = Prepared(
    sa.select(catalog_offers).where(OneOf(catalog_offers.c.component, "components"))
)


class Register:
    """Keeps the catalog up to date inside of transactions."""

    def __init__(self, codecs: Codecs, records: Records, index: Index) -> None:
        self._codecs = codecs
        self._records = records
        self._index = index

    async def settle(
        self,
        tx: Transaction,
        batch: Batch,
        moves: Mapping[str, Mapping[str, Deployed | None]],
    ) -> None:
        """Register what a batch changes; *moves* are by environment and component."""
        wanted: Rows = {}
        for change in batch.of_kind(Kind.COMPONENT):
            wanted[change.name, WRITTEN] = _facts(batch.component(change.name))
        for environment, moved in moves.items():
            for name, one in moved.items():
                wanted[name, environment] = _facts(one.component if one else None)
        await self._put(tx, wanted)
        for change in batch.of_kind(Kind.PROJECT):
            if change.new and change.old and change.new.owner != change.old.owner:
                await self._index.own(tx, change.name, _owner(change.new))

    async def rebuild(self, tx: Transaction) -> None:
        """Register everything from nothing, where nothing is: after a migration, or a restore."""
        if (await tx.execute(sa.select(catalog_offers.c.offer).limit(1))).first() is not None:
            return
        wanted: Rows = {}
        for record in await self._records.below(tx, "", [Kind.COMPONENT]):
            component = self._codecs.component.to_domain(record.message)
            wanted[component.name, WRITTEN] = _facts(component)
        query = sa.select(deployed.c.component, deployed.c.environment, deployed.c.written)
        for row in (await tx.execute(query.where(deployed.c.is_deployed))).all():
            component = self._codecs.component_of(row.written)
            wanted[row.component, row.environment] = _facts(component)
        await self._put(tx, wanted)

    async def _put(self, tx: Transaction, wanted: Rows) -> None:
        names = sorted({component for component, _ in wanted})
        for start in range(0, len(names), _MANY):
            some = names[start : start + _MANY]
            rows = await self._read(tx, some)
            here = {key: w for key, w in wanted.items() if key[0] in some}
            differing = {key: w for key, w in here.items() if rows.get(key, {}) != w}
            if not differing:
                continue
            await self._write(tx, rows, differing)
            touched: dict[str, set[str]] = defaultdict(set)
            for key, facts in differing.items():
                touched[key[0]] |= _changed(rows.get(key, {}), facts)
            await self._entries(tx, rows | differing, touched)

    async def _read(self, tx: Transaction, components: Collection[str]) -> Rows:
        rows: Rows = defaultdict(dict)
        for row in await tx.fetch(SELECT_OFFERS, {"components": components}):
            rows[row.component, row.environment][row.offer] = row.facts
        return dict(rows)

    async def _write(self, tx: Transaction, rows: Rows, wanted: Rows) -> None:
        c = catalog_offers.c
        gone = [
            {"c": component, "e": environment}
            for component, environment in wanted
            if (component, environment) in rows
        ]
        if gone:
            own = (c.component == sa.bindparam("c"), c.environment == sa.bindparam("e"))
            await tx.execute(sa.delete(catalog_offers).where(*own), gone)
        fresh = [
            {"component": component, "environment": environment, "offer": offer, "facts": facts}
            for (component, environment), offers in wanted.items()
            for offer, facts in offers.items()
        ]
        if fresh:
            await tx.execute(sa.insert(catalog_offers), fresh)

    async def _entries(
        self, tx: Transaction, rows: Rows, touched: Mapping[str, Collection[str]]
    ) -> None:
        """Write the entries whose rows differ."""
        entries = {
            f"{component}/catalogEntries/{offer}": entry_of(component, offer, rows)
            for component, offers in touched.items()
            for offer in sorted(offers)
        }
        schemas = await self._schemas(tx, [e for e in entries.values() if e is not None])
        projects = await self._records.get_many(tx, {project_of(name) for name in touched})
        stored = await self._records.get_many(tx, entries)
        for name, entry in entries.items():
            record = stored.get(name)
            if entry is None:
                if record is not None:
                    await self._index.remove(tx, [name])
                    await self._records.remove(tx, name)
                continue
            for offer in (entry.offer, *(d.offer for d in entry.deployments)):
                if offer.api_schema in schemas and not offer.version:
                    offer.version = schemas[offer.api_schema].version
            project = projects.get(project_of(name))
            owner = _owner(project.message) if project else last_segment(project_of(name))
            await self._index.write(tx, indexed(entry, owner, schemas.get(entry.offer.api_schema)))
            if record is None or not _is_same(record.message, entry):
                await self._records.write(tx, entry, record.stored if record else None)

    async def _schemas(
        self, tx: Transaction, entries: Iterable[catalog_pb2.CatalogEntry]
    ) -> dict[str, api_schema_pb2.ApiSchema]:
        names = {
            offer.api_schema
            for entry in entries
            for offer in (entry.offer, *(d.offer for d in entry.deployments))
            if offer.api_schema
        }
        return {n: r.message for n, r in (await self._records.get_many(tx, names)).items()}


def entry_of(component: str, offer: str, rows: Rows) -> catalog_pb2.CatalogEntry | None:
    """An entry as its rows say; ``None`` if there are none."""
    there = {
        environment: catalog_pb2.CatalogEntry.FromString(offers[offer])
        for (name, environment), offers in rows.items()
        if name == component and offer in offers
    }
    if not there:
        return None
    best = there.get(WRITTEN) or there[min(there)]
    return catalog_pb2.CatalogEntry(
        name=f"{component}/catalogEntries/{offer}",
        kind=best.kind,
        component=component,
        declared=WRITTEN in there,
        offer=best.offer,
        deployments=[
            catalog_pb2.DeployedOffer(environment=environment, offer=there[environment].offer)
            for environment in sorted(there)
            if environment
        ],
    )


def indexed(
    entry: catalog_pb2.CatalogEntry, owner: str, schema: api_schema_pb2.ApiSchema | None
) -> Indexed:
    """What is looked for of an entry."""
    offer = entry.offer
    component, own = entry.component, last_segment(entry.name)
    protocol = endpoint_pb2.Protocol.Name(offer.protocol).removeprefix("PROTOCOL_")
    return Indexed(
        entry=entry.name,
        component=component,
        offer=own,
        owner=owner,
        kind=catalog_pb2.CatalogEntry.Kind.Name(entry.kind),
        protocol=protocol,
        visibilities=tuple(
            endpoint_pb2.Visibility.Name(v).removeprefix("VISIBILITY_") for v in offer.visibilities
        ),
        words=Words(
            name=words_of([own]),
            owner=words_of([last_segment(component), last_segment(project_of(component))]),
            text=words_of([offer.description, offer.path, offer.address, protocol]),
            schema=words_of([schema.title, *schema.operations]) if schema is not None else (),
        ),
    )


def _facts(component: Component | None) -> dict[str, bytes]:
    if component is None:
        return {}
    return {offered.offer: facts_of(offered) for offered in offers_of(component)}


def _changed(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> set[str]:
    return {o for o in before.keys() | after.keys() if before.get(o) != after.get(o)}


def _owner(project: project_pb2.Project) -> str:
    return project.owner or last_segment(project.name)


def _is_same(stored: Any, wanted: catalog_pb2.CatalogEntry) -> bool:
    same = catalog_pb2.CatalogEntry()
    same.CopyFrom(stored)
    for output in ("uid", "create_time", "update_time", "etag"):
        same.ClearField(output)
    return same == wanted
