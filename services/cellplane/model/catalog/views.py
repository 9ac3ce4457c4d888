"""The catalog as it is read: entries with their releases, owners and consumers, and who breaks.

A page costs the same few statements whatever is on it. Who uses something is told by the indices
that resolution itself uses: ``calls`` by environment, ``mentions`` as it is written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from cellplane.api.model.v1 import catalog_pb2
from cellplane.cell.names import last_segment
from cellplane.model.catalog.index import Index
from cellplane.model.catalog.rules.impact import Edge, Reached, Spread
from cellplane.model.domain.kinds import Kind, organization_of, parent_of
from cellplane.model.tables import calls, deployed, mentions
from cellplane.store.database import Transaction

MAX_CONSUMERS: Final = 100
_MANY: Final = 400


@dataclass(slots=True)
class Use:
    """One pair: who uses what."""

    declared: bool = False
    environments: set[str] = field(default_factory=set)


Pairs = dict[tuple[str, str, str], Use]
"""By consumer, provider and what is used of it."""


class Views:
    """Reads the catalog inside of transactions."""

    def __init__(self, index: Index) -> None:
        self._index = index

    async def fill(self, tx: Transaction, entries: Sequence[Any]) -> None:
        """Add to entries what is not stored with them."""
        if not entries:
            return
        owners = await self._index.owners(tx, [e.name for e in entries])
        releases = await self._releases(tx, entries)
        users: dict[tuple[str, str], list[tuple[str, Use]]] = defaultdict(list)
        pairs = await self.pairs(tx, providers={e.component for e in entries})
        for (consumer, provider, offer), use in sorted(pairs.items(), key=lambda p: p[0]):
            users[provider, offer].append((consumer, use))
        for entry in entries:
            entry.owner = owners.get(entry.name, "")
            for there in entry.deployments:
                there.release = releases.get((entry.component, there.environment), "")
            own = users[entry.component, last_segment(entry.name)]
            entry.consumer_count = len(own)
            for consumer, use in own[:MAX_CONSUMERS]:
                entry.consumers.add(
                    component=consumer,
                    declared=use.declared,
                    environments=sorted(use.environments),
                )

    async def _releases(
        self, tx: Transaction, entries: Sequence[Any]
    ) -> dict[tuple[str, str], str]:
        components = sorted({e.component for e in entries})
        environments = sorted({d.environment for e in entries for d in e.deployments})
        if not environments:
            return {}
        query = sa.select(deployed.c.component, deployed.c.environment, deployed.c.release).where(
            deployed.c.environment.in_(environments),
            deployed.c.component.in_(components),
            deployed.c.is_deployed,
        )
        return {
            (row.component, row.environment): f"{row.component}/releases/{row.release}"
            for row in (await tx.execute(query)).all()
        }

    async def pairs(
        self,
        tx: Transaction,
        *,
        providers: Collection[str] = (),
        consumers: Collection[str] = (),
    ) -> Pairs:
        """Every pair with one of the providers, or else of the consumers."""
        found: Pairs = defaultdict(Use)
        side, names = (True, providers) if providers else (False, consumers)
        for some in _chunks(sorted(names)):
            written = sa.select(mentions.c.source, mentions.c.target, mentions.c.endpoint).where(
                (mentions.c.target if side else mentions.c.source).in_(some),
                mentions.c.endpoint != "",
            )
            for row in (await tx.execute(written)).all():
                found[row.source, row.target, row.endpoint].declared = True
            c = calls.c
            running = sa.select(c.environment, c.caller, c.target, c.endpoint)
            if side:
                running = running.where(c.target.in_(some))
            else:
                environments = await self._environments(tx, some)
                running = running.where(c.environment.in_(environments), c.caller.in_(some))
            for row in (await tx.execute(running)).all():
                found[row.caller, row.target, row.endpoint].environments.add(row.environment)
        # The same indices tell who reads a secret.
        return {key: use for key, use in found.items() if "/components/" in key[1]}

    async def _environments(self, tx: Transaction, components: Sequence[str]) -> list[str]:
        """Environments that the components' organizations have calls in."""
        # "0" follows "/": a range of names, which the key serves.
        found: set[str] = set()
        for organization in {organization_of(c) for c in components}:
            e = calls.c.environment
            query = sa.select(e).where(e > f"{organization}/", e < f"{organization}0").distinct()
            found |= set((await tx.execute(query)).scalars())
        return sorted(found)

    async def impact(
        self, tx: Transaction, environments: Collection[str], name: str, offers: Collection[str]
    ) -> list[tuple[str, Reached]]:
        """Who breaks in each environment; each distance is one statement."""
        found: list[tuple[str, Reached]] = []
        for environment in sorted(environments):
            gone = await self._gone(tx, environment, name)
            spread = Spread(gone, offers)
            while spread.border:
                spread.advance(await self._edges(tx, environment, spread.border))
            reached = sorted(spread.reached.values(), key=lambda r: (len(r.steps), r.component))
            found += [(environment, one) for one in reached]
        return found

    async def environments_of(self, tx: Transaction, organization: str) -> list[str]:
        """Environments of an organization in which something uses something."""
        return await self._environments(tx, [f"{organization}/"])

    async def _gone(self, tx: Transaction, environment: str, name: str) -> set[str]:
        """Components that go with a name."""
        if "/components/" in name:
            return {name}
        project = parent_of(name) if "/cells/" in name else name
        c = deployed.c
        query = sa.select(c.component).where(
            c.environment == environment,
            c.component >= f"{project}/components/",
            c.component < f"{project}/components0",
        )
        return set((await tx.execute(query)).scalars())

    async def _edges(
        self, tx: Transaction, environment: str, providers: Collection[str]
    ) -> list[Edge]:
        found: list[Edge] = []
        c = calls.c
        for some in _chunks(sorted(providers)):
            query = sa.select(c.caller, c.target, c.endpoint).where(
                c.environment == environment, c.target.in_(some)
            )
            found += [(r.caller, r.target, r.endpoint) for r in (await tx.execute(query)).all()]
        return found


def behind(entry: Any, others: Iterable[Any]) -> set[str]:
    """Ids of what goes with an entry: with an endpoint, what is read through it."""
    own = last_segment(entry.name)
    found = {own}
    if entry.kind == catalog_pb2.CatalogEntry.ENDPOINT:
        found |= {last_segment(o.name) for o in others if o.offer.endpoint == own}
    return found


ENTRY: Final = Kind.CATALOG_ENTRY.value


def _chunks(values: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(values), _MANY):
        yield values[start : start + _MANY]
