"""Filters asked of SQL, as far as the store has columns for what they ask.

What comes out is true of every row that the filter is true of, and maybe of more: messages have the
last word. Each comparison is true or false, never unknown, so that ``NOT`` means the same as there.
A value that has no column is at least somewhere in the message's bytes: rows without these bytes
are not even read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from cellplane.resource.filter import bind, payload, values
from cellplane.resource.filter.bind import Filter, Path, leaf
from cellplane.resource.filter.syntax import Comparator
from cellplane.resource.filter.values import Normal

Columns = Callable[[Path], "sa.ColumnElement[Any] | None"]
"""The column of a path, where there is one; null where the path leads nowhere."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO: Final = 1000


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
    payload: sa.ColumnElement[bytes] | None = None
    """The serialized message."""
    stored: Callable[[Path], bool] = lambda _: True
    """Whether what a path leads to is in the payload, not filled in when it is read."""
    dialect: str


def condition(filter: Filter, row: Row) -> Condition | None:
    """What can be asked of SQL; ``None`` if nothing can."""
    match filter:
        case bind.All(operands):
            parts = [condition(operand, row) for operand in operands]
            known = [part for part in parts if part is not None]
            if not known:
                return None
            exact = len(known) == len(parts) and all(part.exact for part in known)
            return Condition(sa.and_(*(part.clause for part in known)), exact)
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
        case bind.Compare(path, comparator, value):
            found = _compare(path, comparator, value, row.columns)
            if found is None and comparator is Comparator.EQUAL:
                return _contains(path, payload.of_value(path, value), row)
            return found
        case bind.Like(path, pieces):
            column = row.columns(path)
            if column is None:
                return _contains(path, payload.of_pieces(path, pieces), row)
            return _certain(_like(column, pieces, row.dialect))
        case bind.Present(path):
            return _contains(path, payload.of_keys(path), row)
        case bind.Search():
            return None


def _contains(path: Path, found: Sequence[bytes], row: Row) -> Condition | None:
    """The bytes that a row must have; others can have them, too."""
    if row.payload is None or not found or not row.stored(path):
        return None
    if row.dialect == "sqlite":
        clauses = [sa.func.instr(row.payload, piece) > 0 for piece in found]
    else:
        clauses = [sa.func.pg_catalog.position(row.payload, piece) > 0 for piece in found]
    return Condition(sa.and_(*clauses), exact=False)


def _compare(
    path: Path, comparator: Comparator, value: Normal, columns: Columns
) -> Condition | None:
    column = columns(path)
    if column is None:
        return None
    wanted = to_column(path, value) if isinstance(column.type, sa.TypeDecorator) else value
    if wanted is None:
        return None
    compared: dict[Comparator, Callable[[], sa.ColumnElement[bool]]] = {
        Comparator.EQUAL: lambda: column == wanted,
        Comparator.NOT_EQUAL: lambda: column != wanted,
        Comparator.LESS: lambda: column < wanted,
        Comparator.AT_MOST: lambda: column <= wanted,
        Comparator.GREATER: lambda: column > wanted,
        Comparator.AT_LEAST: lambda: column >= wanted,
    }
    return _certain(compared[comparator]())


def to_column(path: Path, value: Normal) -> datetime | None:
    """A time as columns have it; ``None`` if it is finer than they are."""
    field = leaf(path[-1])
    if field.message_type is None or not isinstance(value, str):
        raise TypeError(f"{field.name} is not a time")
    nanos = values.to_nanos(field.message_type.full_name, value)
    if nanos % _MICRO:
        return None
    return _EPOCH + timedelta(microseconds=nanos // _MICRO)


def _certain(clause: sa.ColumnElement[bool]) -> Condition:
    return Condition(sa.func.coalesce(clause, sa.false()), exact=True)


def _like(
    column: sa.ColumnElement[Any], pieces: tuple[str, ...], dialect: str
) -> sa.ColumnElement[bool]:
    if dialect == "sqlite":
        # LIKE knows no case there.
        glob = "*".join("".join(f"[{c}]" if c in "*?[" else c for c in p) for p in pieces)
        return column.op("GLOB", is_comparison=True)(glob)
    like = "%".join("".join(f"\\{c}" if c in "\\%_" else c for c in p) for p in pieces)
    return column.like(like, escape="\\")
