"""Documents asked in SQL, in the words of each database.

Everything is true or false, never unknown, so that ``NOT`` means the same as of messages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from cellplane.resource.filter import document, values
from cellplane.resource.filter.bind import Path, leaf
from cellplane.resource.filter.document import key_of, text_of
from cellplane.resource.filter.syntax import Comparator
from cellplane.resource.filter.values import Normal

Clause: TypeAlias = "sa.ColumnElement[bool]"
Pieces: TypeAlias = Sequence[str]

_NUMBERS: Final = frozenset(
    {values.Type.WHOLE, values.Type.NUMBER, values.Type.TRUTH, values.Type.ENUM}
)


def compared(left: Any, comparator: Comparator, right: Any) -> Clause:
    """A comparison of two expressions; unknown where one is null."""
    found: dict[Comparator, Callable[[], Clause]] = {
        Comparator.EQUAL: lambda: left == right,
        Comparator.NOT_EQUAL: lambda: left != right,
        Comparator.LESS: lambda: left < right,
        Comparator.AT_MOST: lambda: left <= right,
        Comparator.GREATER: lambda: left > right,
        Comparator.AT_LEAST: lambda: left >= right,
    }
    return found[comparator]()


def certain(clause: Clause) -> Clause:
    """False where it is unknown."""
    return sa.func.coalesce(clause, sa.false())


def like(column: Any, pieces: Pieces, dialect: str) -> Clause:
    """A text with these pieces, and anything between them."""
    if dialect == "sqlite":
        # LIKE knows no case there.
        glob = "*".join("".join(f"[{c}]" if c in "*?[" else c for c in p) for p in pieces)
        found: Clause = column.op("GLOB", is_comparison=True)(glob)
        return found
    pattern = "%".join("".join(f"\\{c}" if c in "\\%_" else c for c in p) for p in pieces)
    fits: Clause = column.like(pattern, escape="\\")
    return fits


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The columns of a table that hold documents."""

    name: sa.ColumnElement[Any]
    fields: sa.ColumnElement[Any]
    lists: sa.ColumnElement[Any]
    dialect: str

    def compare(self, path: Path, comparator: Comparator, value: Normal) -> Clause:
        """Whether a value of the path compares so."""
        if any(step.branches for step in path):
            return self._any(path, value)
        return certain(compared(self.value(path), comparator, self.literal(value)))

    def fits(self, path: Path, pieces: Pieces) -> Clause:
        """Whether a text of the path has these pieces."""
        own = [text_of(piece) for piece in pieces]
        if not any(step.branches for step in path):
            return certain(like(self.value(path), own, self.dialect))
        one = self._each(key_of(path))
        found = sa.select(sa.literal(1)).where(like(one, own, self.dialect))
        clause = sa.exists(found.correlate(self._table()))
        return sa.or_(clause, self._nothing_else(path)) if not any(pieces) else clause

    def present(self, path: Path) -> Clause:
        """Whether the path leads to something that is not empty."""
        once = not any(step.branches for step in path[:-1])
        last = path[-1]
        listed = last.field.is_repeated and last.key is None and not values.is_map(last.field)
        return self._has(self.fields if once and not listed else self.lists, key_of(path))

    def folded(self) -> sa.ColumnElement[str]:
        """The display name without its case."""
        shown = self._text("display_name")
        return sa.func.coalesce(self._text(document.FOLDED), shown, "")

    def value(self, path: Path) -> sa.ColumnElement[Any]:
        """What a path leads to; null where that is nothing."""
        is_number = values.type_of(leaf(path[-1])) in _NUMBERS
        key = key_of(path)
        found = self._number(key) if is_number else self._text(key)
        default = document.default_of(path[-1])
        if default is None:
            return found
        found = sa.func.coalesce(found, self.literal(default))
        if len(path) == 1:
            return found
        return sa.case((self._has(self.fields, key_of(path[:-1])), found))

    def literal(self, value: Normal) -> sa.ColumnElement[Any]:
        """A value as those of documents are compared."""
        if isinstance(value, str):
            return sa.literal(text_of(value), sa.Text)
        if self.dialect == "sqlite":
            return sa.literal(value, sa.Float if isinstance(value, float) else sa.Integer)
        return sa.literal(Decimal(repr(value)), sa.Numeric)

    def _any(self, path: Path, value: Normal) -> Clause:
        """Whether one of the values is this one."""
        key = key_of(path)
        plain = text_of(value) if isinstance(value, str) else value
        written = json.dumps(plain)
        if self.dialect == "sqlite":
            one = self._each(key)
            found = sa.select(sa.literal(1)).where(one == self.literal(value))
            # Most rows do not have it anywhere: they need not be read.
            clause = sa.and_(
                sa.func.instr(sa.type_coerce(self.lists, sa.Text), written) > 0,
                sa.exists(found.correlate(self._table())),
            )
        else:
            had = self.lists.op("->")(sa.literal(key, sa.Text))
            clause = certain(sa.func.jsonb_contains(had, _jsonb(written)))
        if value == document.default_of(path[-1]):
            return sa.or_(clause, self._nothing_else(path))
        return clause

    def _nothing_else(self, path: Path) -> Clause:
        """Whether there are messages that all have the default there."""
        if document.default_of(path[-1]) is None:
            return sa.false()
        return sa.and_(
            self._has(self.lists, key_of(path[:-1])), ~self._has(self.lists, key_of(path))
        )

    def _table(self) -> Any:
        column: Any = self.lists
        return column.table

    def _each(self, key: str) -> sa.ColumnElement[Any]:
        if self.dialect == "sqlite":
            rows = sa.func.json_each(self.lists, f'$."{key}"').table_valued("value")
            return rows.c.value
        had = self.lists.op("->")(sa.literal(key, sa.Text))
        return sa.func.jsonb_array_elements_text(had).column_valued("one")

    def _has(self, column: sa.ColumnElement[Any], key: str) -> Clause:
        if self.dialect == "sqlite":
            return sa.func.json_type(column, f'$."{key}"').is_not(None)
        return sa.func.jsonb_exists(column, sa.literal(key, sa.Text))

    def _text(self, key: str) -> sa.ColumnElement[Any]:
        if self.dialect == "sqlite":
            return sa.func.json_extract(self.fields, f'$."{key}"')
        found = self.fields.op("->>", return_type=sa.Text())(sa.literal(key, sa.Text))
        return sa.collate(found, "C")

    def _number(self, key: str) -> sa.ColumnElement[Any]:
        if self.dialect == "sqlite":
            return sa.func.json_extract(self.fields, f'$."{key}"')
        return sa.cast(self.fields.op("->")(sa.literal(key, sa.Text)), sa.Numeric)


def _jsonb(written: str) -> sa.ColumnElement[Any]:
    return sa.cast(sa.literal(written, sa.Text), JSONB)
