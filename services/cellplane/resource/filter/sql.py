"""Filters asked of SQL: of columns where a field has one, of documents for all else that is stored.

What comes out is true of every row that the filter is true of. It is true of no others, unless a
part asks for what only a message has, which is filled in when it is read: messages have the last
word. Each comparison is true or false, never unknown, so that ``NOT`` means the same as there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from cellplane.resource.filter import asked, bind, values
from cellplane.resource.filter.asked import Asked
from cellplane.resource.filter.bind import Filter, Path, leaf
from cellplane.resource.filter.document import text_of
from cellplane.resource.filter.syntax import Comparator
from cellplane.resource.filter.values import Normal

Columns = Callable[[Path], "sa.ColumnElement[Any] | None"]
"""The column of a path, where there is one; it is never null."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO: Final = 1000
_FINER: Final = {
    # Columns hold microseconds, so that nothing lies between two of them.
    Comparator.LESS: Comparator.AT_MOST,
    Comparator.AT_LEAST: Comparator.GREATER,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """What rows must be like."""

    clause: sa.ColumnElement[bool]
    exact: bool
    """Whether it is true of no other rows than the filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What can be asked of a row."""

    columns: Columns
    document: Asked
    stored: Callable[[Path], bool] = lambda _: True
    """Whether what a path leads to is in the document, not filled in when it is read."""

    def value(self, path: Path) -> sa.ColumnElement[Any] | None:
        """The one value of a path that leads through no list."""
        column = self.columns(path)
        if column is not None:
            return column
        return self.document.value(path) if self.stored(path) else None


def condition(filter: Filter, row: Row) -> Condition | None:
    """What can be asked of SQL; ``None`` if nothing can."""
    match filter:
        case bind.All(operands):
            parts = [condition(operand, row) for operand in operands]
            known = [part for part in parts if part is not None]
            exact = len(known) == len(parts) and all(part.exact for part in known)
            if not known and not exact:
                return None
            return Condition(sa.and_(sa.true(), *(part.clause for part in known)), exact)
        case bind.Any(operands):
            parts = [condition(operand, row) for operand in operands]
            known = [part for part in parts if part is not None]
            if len(known) < len(parts):
                return None
            exact = all(part.exact for part in known)
            return Condition(sa.or_(sa.false(), *(part.clause for part in known)), exact)
        case bind.Not(operand):
            part = condition(operand, row)
            if part is None or not part.exact:
                return None
            return Condition(sa.not_(part.clause), exact=True)
        case _:
            clause = _clause(filter, row)
            return None if clause is None else Condition(clause, exact=True)


def where(filter: Filter, row: Row) -> Condition | None:
    """The same of rows that another version wrote, too: what is not described is looked at.

    What asks for columns alone stays as it is, so that their indices are of use.
    """
    parts = filter.operands if isinstance(filter, bind.All) else (filter,)
    clauses: list[sa.ColumnElement[bool]] = []
    exact = True
    for part in parts:
        found = condition(part, row)
        exact = exact and found is not None and found.exact
        if found is not None and _asks_documents(part, row):
            clauses.append(sa.or_(row.document.fields.is_(None), found.clause))
        elif found is not None:
            clauses.append(found.clause)
    return Condition(sa.and_(sa.true(), *clauses), exact) if clauses or exact else None


def _asks_documents(filter: Filter, row: Row) -> bool:
    match filter:
        case bind.All(operands) | bind.Any(operands):
            return any(_asks_documents(operand, row) for operand in operands)
        case bind.Not(operand):
            return _asks_documents(operand, row)
        case bind.Search():
            return True
        case bind.Compare(path) | bind.Like(path) | bind.Present(path):
            return row.columns(path) is None


def _clause(
    filter: bind.Compare | bind.Like | bind.Present | bind.Search, row: Row
) -> sa.ColumnElement[bool] | None:
    dialect = row.document.dialect
    match filter:
        case bind.Search(pieces):
            within = [text_of(piece) for piece in ("", *pieces, "")]
            name: Any = sa.func.lower(row.document.name)
            return sa.or_(
                asked.like(name, within, dialect),
                asked.like(row.document.folded(), within, dialect),
            )
        case bind.Compare(path, comparator, value):
            column = row.columns(path)
            if column is not None:
                return _of_column(path, column, comparator, value)
            return row.document.compare(path, comparator, value) if row.stored(path) else None
        case bind.Like(path, pieces):
            column = row.columns(path)
            if column is not None:
                return asked.like(column, pieces, dialect)
            return row.document.fits(path, pieces) if row.stored(path) else None
        case bind.Present(path):
            if row.columns(path) is not None:
                return sa.true()
            return row.document.present(path) if row.stored(path) else None


def _of_column(
    path: Path, column: sa.ColumnElement[Any], comparator: Comparator, value: Normal
) -> sa.ColumnElement[bool]:
    if not isinstance(column.type, sa.TypeDecorator):
        return asked.compared(column, comparator, value)
    at, is_finer = to_column(path, value)
    if is_finer and comparator is Comparator.EQUAL:
        return sa.false()
    if is_finer and comparator is Comparator.NOT_EQUAL:
        return sa.true()
    return asked.compared(
        column, _FINER.get(comparator, comparator) if is_finer else comparator, at
    )


def to_column(path: Path, value: Normal) -> tuple[datetime, bool]:
    """A time as columns have it, and whether it is finer: then it is a little later than that."""
    field = leaf(path[-1])
    if field.message_type is None or not isinstance(value, str):
        raise TypeError(f"{field.name} is not a time")
    nanos = values.to_nanos(field.message_type.full_name, value)
    return _EPOCH + timedelta(microseconds=nanos // _MICRO), nanos % _MICRO != 0
