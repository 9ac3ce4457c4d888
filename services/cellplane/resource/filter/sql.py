"""Filters asked of SQL, as far as the store has columns for what they ask.

What comes out is true of every row that the filter is true of, and maybe of more: messages have the
last word. Each comparison is true or false, never unknown, so that ``NOT`` means the same as there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from cellplane.resource.filter import bind, values
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


def condition(filter: Filter, columns: Columns, dialect: str) -> Condition | None:
    """What can be asked of SQL; ``None`` if nothing can."""
    match filter:
        case bind.All(operands):
            parts = [condition(operand, columns, dialect) for operand in operands]
            known = [part for part in parts if part is not None]
            if not known:
                return None
            exact = len(known) == len(parts) and all(part.exact for part in known)
            return Condition(sa.and_(*(part.clause for part in known)), exact)
        case bind.Any(operands):
            parts = [condition(operand, columns, dialect) for operand in operands]
            known = [part for part in parts if part is not None]
            if len(known) < len(parts):
                return None
            exact = all(part.exact for part in known)
            return Condition(sa.or_(*(part.clause for part in known)), exact)
        case bind.Not(operand):
            part = condition(operand, columns, dialect)
            if part is None or not part.exact:
                return None
            return Condition(sa.not_(part.clause), exact=True)
        case bind.Compare(path, comparator, value):
            return _compare(path, comparator, value, columns)
        case bind.Like(path, pieces):
            column = columns(path)
            if column is None:
                return None
            return _certain(_like(column, pieces, dialect))
        case bind.Present() | bind.Search():
            return None


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
