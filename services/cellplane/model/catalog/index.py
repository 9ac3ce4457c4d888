"""The index of words: FTS5 on SQLite, ``tsvector`` on PostgreSQL, one meaning (``rules.words``).

Both hold the same words in four fields, and answer the same entries in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from cellplane.model.catalog.rules.words import TIERS, Tier, Words
from cellplane.model.tables import catalog_index, catalog_offers
from cellplane.store.database import Transaction

_FIELDS: Final = ("name", "owner", "text", "schema")
_WEIGHTS: Final = "ABCD"
_MAX_POSITION: Final = 16383
_FTS = sa.table("catalog_words", sa.column("rowid"), *(sa.column(f) for f in _FIELDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """What is looked for of one entry."""

    entry: str
    component: str
    offer: str
    owner: str
    kind: str
    protocol: str
    visibilities: tuple[str, ...]
    words: Words


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a search asks for; empty means anything."""

    organization: str
    terms: tuple[str, ...] = ()
    kind: str = ""
    protocol: str = ""
    visibility: str = ""
    environment: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One entry that was found. Hits are in the order of both fields."""

    rank: int
    entry: str


class Index:
    """Writes and searches the index inside of transactions."""

    def __init__(self, dialect: str) -> None:
        self._is_postgresql = dialect == "postgresql"

    async def write(self, tx: Transaction, one: Indexed) -> None:
        """Put an entry into the index, in place of what was there of it."""
        await self.remove(tx, [one.entry])
        values = {
            "entry": one.entry,
            "component": one.component,
            "offer": one.offer,
            "owner": one.owner,
            "kind": one.kind,
            "protocol": one.protocol,
            "visibilities": _listed(one.visibilities),
        }
        made = await tx.execute(sa.insert(catalog_index), values)
        key = made.inserted_primary_key
        if key is None:
            raise RuntimeError("the database answered no number")
        if self._is_postgresql:
            await tx.execute(
                sa.text("UPDATE catalog_index SET words = CAST(:w AS tsvector) WHERE number = :n"),
                {"w": _vector(one.words), "n": key[0]},
            )
            return
        fields = {f: " ".join(w) for f, w in zip(_FIELDS, one.words.by_field(), strict=True)}
        await tx.execute(sa.insert(_FTS), {"rowid": key[0], **fields})

    async def remove(self, tx: Transaction, entries: Sequence[str]) -> None:
        """Take entries out of the index."""
        for entry in entries:
            own = catalog_index.c.entry == entry
            if not self._is_postgresql:
                numbers = sa.select(catalog_index.c.number).where(own).scalar_subquery()
                await tx.execute(sa.delete(_FTS).where(_FTS.c.rowid == numbers))
            await tx.execute(sa.delete(catalog_index).where(own))

    async def own(self, tx: Transaction, project: str, owner: str) -> None:
        """Note who owns the entries of a project."""
        i = catalog_index.c
        # "0" follows "/": a range, so that the index serves it.
        below = (i.entry >= f"{project}/components/", i.entry < f"{project}/components0")
        await tx.execute(sa.update(catalog_index).where(*below).values(owner=owner))

    async def owners(self, tx: Transaction, entries: Sequence[str]) -> dict[str, str]:
        """Who owns each of these entries."""
        query = sa.select(catalog_index.c.entry, catalog_index.c.owner).where(
            catalog_index.c.entry.in_(entries)
        )
        return {row.entry: row.owner for row in (await tx.execute(query)).all()}

    async def search(
        self, tx: Transaction, asked: Asked, *, after: Hit | None, limit: int
    ) -> list[Hit]:
        """Entries behind a hit, the best first."""
        i = catalog_index.c
        rank = self._rank(asked.terms)
        query = sa.select(rank.label("rank"), i.entry).where(
            i.entry >= f"{asked.organization}/", i.entry < f"{asked.organization}0"
        )
        if asked.terms:
            query = query.where(self._matches(asked.terms, TIERS[-1]))
        for column, value in ((i.kind, asked.kind), (i.protocol, asked.protocol)):
            if value:
                query = query.where(column == value)
        if asked.owner:
            query = query.where(i.owner == asked.owner)
        if asked.visibility:
            query = query.where(i.visibilities.like(f"%,{asked.visibility},%"))
        if asked.environment:
            there = sa.exists().where(
                catalog_offers.c.component == i.component,
                catalog_offers.c.environment == asked.environment,
                catalog_offers.c.offer == i.offer,
            )
            query = query.where(there)
        if after is not None:
            behind = sa.and_(rank == after.rank, i.entry > after.entry)
            query = query.where(sa.or_(rank > after.rank, behind))
        # A plain number would mean a column's place.
        order = (rank, i.entry) if asked.terms else (i.entry,)
        query = query.order_by(*order).limit(limit)
        return [Hit(rank=row.rank, entry=row.entry) for row in (await tx.execute(query)).all()]

    def _rank(self, terms: Sequence[str]) -> sa.ColumnElement[int]:
        if not terms:
            return sa.literal_column("0", sa.Integer)
        cases = [(self._matches(terms, tier), n) for n, tier in enumerate(TIERS[:-1])]
        return sa.case(*cases, else_=len(TIERS) - 1)

    def _matches(self, terms: Sequence[str], tier: Tier) -> sa.ColumnElement[bool]:
        if self._is_postgresql:
            query = _tsquery(terms, tier)
            words: sa.ColumnElement[Any] = sa.literal_column("catalog_index.words")
            return words.bool_op("@@")(sa.cast(query, _Tsquery()))
        matching = sa.select(_FTS.c.rowid).where(
            sa.literal_column("catalog_words").bool_op("MATCH")(_fts_query(terms, tier))
        )
        return catalog_index.c.number.in_(matching)


class _Tsquery(sa.types.UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "tsquery"


def _vector(words: Words) -> str:
    """A ``tsvector`` as PostgreSQL writes it: nothing is parsed, so nothing is cut."""
    lexemes: dict[str, list[str]] = {}
    position = 0
    for weight, field in zip(_WEIGHTS, words.by_field(), strict=True):
        for word in field:
            position = min(position + 1, _MAX_POSITION)
            lexemes.setdefault(word, []).append(f"{position}{weight}")
    return " ".join(f"'{word}':{','.join(places)}" for word, places in lexemes.items())


def _tsquery(terms: Sequence[str], tier: Tier) -> str:
    mark = ("" if tier.whole else "*") + _WEIGHTS[: tier.fields]
    return " & ".join(f"'{term}':{mark}" for term in terms)


def _fts_query(terms: Sequence[str], tier: Tier) -> str:
    wanted = " AND ".join(f'"{term}"' + ("" if tier.whole else "*") for term in terms)
    return f"{{{' '.join(_FIELDS[: tier.fields])}}} : ({wanted})"


def _listed(values: Sequence[str]) -> str:
    return f",{','.join(values)}," if values else ""
