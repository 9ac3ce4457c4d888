"""The catalog on the wire: entries, searches, and who breaks if something goes."""
# ruff: noqa: ARG002, N802 - the contract's names

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cellplane.api.model.v1 import catalog_pb2, catalog_pb2_grpc
from cellplane.api.type.v1 import endpoint_pb2
from cellplane.cell.names import last_segment
from cellplane.cell.problem import Invalid, NotFound, Problem
from cellplane.model.catalog.index import Asked, Hit, Index
from cellplane.model.catalog.rules.impact import Reached
from cellplane.model.catalog.rules.words import terms_of
from cellplane.model.catalog.views import ENTRY, Views, behind
from cellplane.model.domain.kinds import Kind, environment_name, ids, organization_of, parent_of
from cellplane.model.transactions import Transactions
from cellplane.model.writes import collection_of
from cellplane.resource.standard import Hooks, StandardMethods
from cellplane.rpc.pagination import Listing, PageTokens
from cellplane.store.database import Transaction

_SUBJECTS = (Kind.CATALOG_ENTRY, Kind.COMPONENT, Kind.PROJECT, Kind.CELL)


class CatalogService(catalog_pb2_grpc.CatalogServiceServicer):
    """See ``model/v1/catalog.proto``."""

    def __init__(self, transactions: Transactions, tokens: PageTokens, index: Index) -> None:
        self._database = transactions.database
        self._resources = transactions.resources
        self._tokens = tokens
        self._index = index
        self._views = Views(index)
        self._standard = StandardMethods(
            database=transactions.database,
            resources=transactions.resources,
            collection=collection_of(Kind.CATALOG_ENTRY),
            tokens=tokens,
            clock=transactions.clock,
            hooks=Hooks(on_read=self._views.fill),
        )

    async def GetCatalogEntry(
        self, request: catalog_pb2.GetCatalogEntryRequest, context: Any
    ) -> catalog_pb2.CatalogEntry:
        """Read an entry."""
        found: catalog_pb2.CatalogEntry = await self._standard.get(request)
        return found

    async def ListCatalogEntries(
        self, request: catalog_pb2.ListCatalogEntriesRequest, context: Any
    ) -> catalog_pb2.ListCatalogEntriesResponse:
        """List them, by name."""
        return await self._standard.list(request, catalog_pb2.ListCatalogEntriesResponse())

    async def BatchGetCatalogEntries(
        self, request: catalog_pb2.BatchGetCatalogEntriesRequest, context: Any
    ) -> catalog_pb2.BatchGetCatalogEntriesResponse:
        """Read several."""
        return await self._standard.batch_get(request, catalog_pb2.BatchGetCatalogEntriesResponse())

    async def SearchCatalogEntries(
        self, request: catalog_pb2.SearchCatalogEntriesRequest, context: Any
    ) -> catalog_pb2.SearchCatalogEntriesResponse:
        """Find entries by words."""
        _named(Kind.ORGANIZATION, request.parent, "parent")
        asked = Asked(
            organization=request.parent,
            terms=terms_of(request.query),
            kind=catalog_pb2.CatalogEntry.Kind.Name(request.kind) if request.kind else "",
            protocol=_word(endpoint_pb2.Protocol, request.protocol, "PROTOCOL_"),
            visibility=_word(endpoint_pb2.Visibility, request.visibility, "VISIBILITY_"),
            environment=request.environment,
            owner=request.owner,
        )
        listing = Listing(method="SearchCatalogEntries", parent=request.parent, filter=repr(asked))
        page = self._tokens.read(listing, size=request.page_size, token=request.page_token)
        after = Hit(rank=int(page.cursor[0]), entry=str(page.cursor[1])) if page.cursor else None
        answer = catalog_pb2.SearchCatalogEntriesResponse()
        async with self._database.snapshot() as tx:
            hits = await self._index.search(tx, asked, after=after, limit=page.size + 1)
            stored = await self._resources.get_many(tx, [h.entry for h in hits[: page.size]])
            entries = [
                self._standard.to_message(stored[h.entry])
                for h in hits[: page.size]
                if h.entry in stored
            ]
            await self._views.fill(tx, entries)
        answer.catalog_entries.extend(entries)
        if len(hits) > page.size:
            last = hits[page.size - 1]
            answer.next_page_token = self._tokens.next(listing, (str(last.rank), last.entry))
        return answer

    async def SearchDependencies(
        self, request: catalog_pb2.SearchDependenciesRequest, context: Any
    ) -> catalog_pb2.SearchDependenciesResponse:
        """Find pairs of who uses something and who offers it."""
        _named(Kind.ORGANIZATION, request.parent, "parent")
        for field in ("consumer", "provider"):
            name = getattr(request, field)
            if name:
                _named(Kind.COMPONENT, name, field)
                _same_organization(request.parent, name, field)
        listing = Listing(
            method="SearchDependencies",
            parent=request.parent,
            filter=f"{request.consumer} {request.provider}",
        )
        page = self._tokens.read(listing, size=request.page_size, token=request.page_token)
        async with self._database.snapshot() as tx:
            pairs = (
                await self._views.pairs(tx, providers=[request.provider])
                if request.provider
                else await self._views.pairs(tx, consumers=[request.consumer])
            )
        wanted = sorted(
            key
            for key in pairs
            if not request.consumer or key[0] == request.consumer
            if not page.cursor or key > tuple(map(str, page.cursor))
        )
        answer = catalog_pb2.SearchDependenciesResponse()
        for consumer, provider, offer in wanted[: page.size]:
            use = pairs[consumer, provider, offer]
            answer.dependencies.add(
                consumer=consumer,
                provider=provider,
                catalog_entry=f"{provider}/catalogEntries/{offer}",
                declared=use.declared,
                environments=sorted(use.environments),
            )
        if len(wanted) > page.size:
            answer.next_page_token = self._tokens.next(listing, wanted[page.size - 1])
        return answer

    async def AnalyzeImpact(
        self, request: catalog_pb2.AnalyzeImpactRequest, context: Any
    ) -> catalog_pb2.AnalyzeImpactResponse:
        """Say who breaks if something goes."""
        kind = next((k for k in _SUBJECTS if ids(k, request.name)), None)
        if kind is None:
            raise _refused(
                "name",
                request.name,
                "is no catalog entry, component, project or Cell: name one",
            )
        if request.environment:
            _named(Kind.ENVIRONMENT, request.environment, "environment")
            _same_organization(request.name, request.environment, "environment")
        listing = Listing(method="AnalyzeImpact", parent=request.name, filter=request.environment)
        page = self._tokens.read(listing, size=request.page_size, token=request.page_token)
        async with self._database.snapshot() as tx:
            stored = await self._resources.get(tx, request.name)
            if stored is None:
                raise NotFound(f"{request.name} does not exist", metadata={"name": request.name})
            environments = await self._places(tx, kind, request)
            subject, offers = await self._subject(tx, kind, request.name)
            found = await self._views.impact(tx, environments, subject, offers)
        return self._impacts(listing, tuple(map(str, page.cursor)), page.size, found)

    async def _places(
        self, tx: Transaction, kind: Kind, request: catalog_pb2.AnalyzeImpactRequest
    ) -> list[str]:
        organization = organization_of(request.name)
        if kind is Kind.CELL:
            own = environment_name(organization, last_segment(request.name))
            return [own] if request.environment in ("", own) else []
        if request.environment:
            return [request.environment]
        return await self._views.environments_of(tx, organization)

    async def _subject(self, tx: Transaction, kind: Kind, name: str) -> tuple[str, set[str]]:
        """What goes, and of a component which offers alone."""
        if kind is not Kind.CATALOG_ENTRY:
            return name, set()
        component = parent_of(name)
        found = await self._resources.below(tx, component, [ENTRY])
        entries = {s.name: catalog_pb2.CatalogEntry.FromString(s.payload) for s in found}
        return component, behind(entries[name], entries.values())

    def _impacts(
        self,
        listing: Listing,
        cursor: tuple[str, ...],
        size: int,
        found: Sequence[tuple[str, Reached]],
    ) -> catalog_pb2.AnalyzeImpactResponse:
        answer = catalog_pb2.AnalyzeImpactResponse()
        keys = [(e, f"{len(r.steps):08}", r.component) for e, r in found]
        start = next((n for n, key in enumerate(keys) if key > cursor), len(keys))
        for environment, reached in found[start : start + size]:
            impact = answer.impacts.add(
                environment=environment,
                component=reached.component,
                distance=len(reached.steps),
            )
            for step in reached.steps:
                impact.steps.add(
                    consumer=step.consumer,
                    catalog_entry=f"{step.provider}/catalogEntries/{step.offer}",
                )
        if start + size < len(keys):
            answer.next_page_token = self._tokens.next(listing, keys[start + size - 1])
        return answer


def _named(kind: Kind, name: str, field: str) -> None:
    if ids(kind, name) is None:
        raise _refused(field, name, f"is not the name of a {kind.value}")


def _same_organization(one: str, other: str, field: str) -> None:
    if organization_of(one) != organization_of(other):
        raise _refused(field, other, f"is of another organization than {organization_of(one)}")


def _refused(field: str, value: str, text: str) -> Invalid:
    problem = Problem(reason="NAME_INVALID", message=f'"{value}" {text}', field=field, value=value)
    return Invalid(problem.message, problems=[problem], reason="REQUEST_INVALID")


def _word(enum: Any, value: int, prefix: str) -> str:
    return str(enum.Name(value)).removeprefix(prefix) if value else ""
