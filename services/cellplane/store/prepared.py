"""Statements that run often: compiled once for each kind of database, and handed to its driver.

SQLAlchemy says what a statement is and how values are written and read; beyond that, what it does
for each single execution takes several times as long as the execution itself.
"""

from __future__ import annotations

import json
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.ext.compiler import compiles

Process: TypeAlias = Callable[[Any], Any]


class Texts(sa.TypeDecorator[Sequence[str]]):
    """Any number of texts as one value, so that the statement is the same for any number."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """An array where there are arrays."""
        plain: sa.types.TypeEngine[Any] = sa.Text()
        array: sa.types.TypeEngine[Any] = ARRAY(sa.Text)
        return dialect.type_descriptor(array if dialect.name == "postgresql" else plain)

    def process_bind_param(self, value: Sequence[str] | None, dialect: sa.Dialect) -> Any:
        """Write them."""
        some = list(value or ())
        return some if dialect.name == "postgresql" else json.dumps(some)


class OneOf(sa.ColumnElement[bool]):
    """A column has one of the texts of a parameter, ``Texts``."""

    inherit_cache = True
    type = sa.Boolean()

    def __init__(self, column: sa.ColumnElement[Any], parameter: str) -> None:
        self.column = column
        self.texts = sa.bindparam(parameter, type_=Texts)


@compiles(OneOf)
def _any(element: OneOf, compiler: Any, **more: Any) -> str:
    column, texts = (
        compiler.process(element.column, **more),
        compiler.process(element.texts, **more),
    )
    return f"{column} = ANY ({texts})"


@compiles(OneOf, "sqlite")
def _in(element: OneOf, compiler: Any, **more: Any) -> str:
    column, texts = (
        compiler.process(element.column, **more),
        compiler.process(element.texts, **more),
    )
    return f"{column} IN (SELECT value FROM json_each({texts}))"  # noqa: S608 - both compiled


class Prepared:
    """One statement."""

    __slots__ = ("_compiled", "statement")

    def __init__(self, statement: sa.Executable) -> None:
        self.statement = statement
        self._compiled: dict[str, Compiled] = {}

    def on(self, dialect: sa.Dialect) -> Compiled:
        """The statement in the words of a database."""
        found = self._compiled.get(dialect.name)
        if found is None:
            found = self._compiled[dialect.name] = Compiled(self.statement, dialect)
        return found


class Compiled:
    """A statement in the words of a database."""

    __slots__ = ("_defaults", "_make", "_read", "_write", "text")

    def __init__(self, statement: Any, dialect: sa.Dialect) -> None:
        named = SQLiteDialect_pysqlite(paramstyle="named") if dialect.name == "sqlite" else dialect
        compiled = statement.compile(dialect=named)
        self.text: str = compiled.string
        self._defaults: dict[str, Any] = {
            name: bind.effective_value for name, bind in compiled.binds.items() if not bind.required
        }
        self._write = _known(
            (name, bind.type.dialect_impl(named).bind_processor(named))
            for name, bind in compiled.binds.items()
        )
        columns = list(getattr(statement, "exported_columns", ()))
        self._read = _known(
            (at, column.type.dialect_impl(named).result_processor(named, None))
            for at, column in enumerate(columns)
            # The driver reads bytes as bytes.
            if not isinstance(column.type, sa.LargeBinary)
        )
        a_tuple: Any = namedtuple
        names = [column.key for column in columns]
        self._make: Process = a_tuple("Row", names, rename=True)._make

    def parameters(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values as the driver takes them."""
        given = {**self._defaults, **values}
        for name, write in self._write:
            given[name] = write(given[name])
        return given

    def rows(self, found: Sequence[Sequence[Any]]) -> list[Any]:
        """Rows with their columns' names."""
        if not self._read:
            return list(map(self._make, found))
        read: list[Any] = []
        for row in found:
            values = list(row)
            for at, process in self._read:
                values[at] = process(values[at])
            read.append(self._make(values))
        return read


def _known(pairs: Any) -> list[tuple[Any, Process]]:
    return [(key, process) for key, process in pairs if process is not None]
