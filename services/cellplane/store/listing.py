"""Pages of resources, in any order of their columns: always behind a key, never by an offset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from cellplane.store.database import Transaction
from cellplane.store.resources import Resources, Stored

ACROSS = "-"

Sort = tuple[tuple["sa.ColumnElement[Any]", bool], ...]
"""What to sort by, and whether it descends: then null comes last, else first."""


async def read_page(
    tx: Transaction,
    resources: Resources,
    *,
    kind: str,
    parent: str,
    where: sa.ColumnElement[bool] | None = None,
    sort: Sort = (),
    after: Sequence[Any] = (),
    limit: int,
) -> Sequence[Stored]:
    """Read resources of a kind, by *sort* and then by name.

    Args:
        tx: The transaction.
        resources: Whose tables.
        kind: Of what kind.
        parent: Below what; ``-`` for an id reads across, empty is everywhere.
        where: What rows must be like.
        sort: By what.
        after: Behind which values, ``None`` for null, and which name; from the start if empty.
        limit: How many at most.
    """
    t = resources.tables.resources
    query = sa.select(*resources.tables.columns).where(t.c.kind == kind, *_below(t, parent))
    if where is not None:
        query = query.where(where)
    columns = (*sort, (t.c.name, False))
    if after:
        query = query.where(_behind(columns, after))
    order = [_ordered(column, descends=descends) for column, descends in columns]
    rows = (await tx.execute(query.order_by(*order).limit(limit))).all()
    return [_stored(row) for row in rows]


async def read_all(
    tx: Transaction, resources: Resources, *, kind: str, names: Sequence[str]
) -> dict[str, Stored]:
    """Read those of a thousand names at most that exist, by name, in one query."""
    t = resources.tables.resources
    query = sa.select(*resources.tables.columns).where(
        t.c.kind == kind, t.c.name.in_(sorted(set(names)))
    )
    return {row.name: _stored(row) for row in (await tx.execute(query)).all()}


def _stored(row: Any) -> Stored:
    return Stored(
        name=row.name,
        kind=row.kind,
        uid=row.uid,
        revision=row.revision,
        create_time=row.create_time,
        update_time=row.update_time,
        payload=row.payload,
    )


def _below(t: sa.Table, parent: str) -> Sequence[sa.ColumnElement[bool]]:
    if not parent:
        return ()
    parts = parent.split("/")
    if ACROSS not in parts:
        return (t.c.parent == parent,)
    pattern = "/".join("%" if part == ACROSS else _literal(part) for part in parts)
    found = [t.c.parent.like(pattern, escape="\\")]
    fixed = "/".join(parts[: parts.index(ACROSS)])
    # "0" follows "/": a range, so that the index serves it.
    return (t.c.name > f"{fixed}/", t.c.name < f"{fixed}0", *found)


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _can_be_null(column: sa.ColumnElement[Any]) -> bool:
    return not isinstance(column, sa.Column)


def _ordered(column: sa.ColumnElement[Any], *, descends: bool) -> sa.ColumnElement[Any]:
    if not _can_be_null(column):
        # Said of a column, it would keep its index from being used.
        return column.desc() if descends else column.asc()
    return column.desc().nulls_last() if descends else column.asc().nulls_first()


def _behind(columns: Sort, after: Sequence[Any]) -> sa.ColumnElement[bool]:
    """Rows whose key comes later: by the first column, or alike in it and by the next."""
    alternatives: list[sa.ColumnElement[bool]] = []
    alike: list[sa.ColumnElement[bool]] = []
    for (column, descends), value in zip(columns, after, strict=True):
        later: sa.ColumnElement[bool]
        if value is None:
            # Nothing is behind null where it comes last.
            later = sa.false() if descends else column.is_not(None)
        elif descends:
            later = column < value
            later = sa.or_(later, column.is_(None)) if _can_be_null(column) else later
        else:
            later = column > value
        alternatives.append(sa.and_(*alike, later))
        alike.append(column.is_(None) if value is None else column == value)
    return sa.or_(*alternatives)
