"""Types of values, as they are told to people: what an expression has, and what it should have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final


class K(Enum):
    """Kinds of values; the values are the words of CEL."""

    ANY = "any"
    BOOL = "bool"
    INT = "int"
    DOUBLE = "double"
    STRING = "string"
    NULL = "null"
    LIST = "list"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class Type:
    """What values there can be. ``ANY`` is what only evaluation can tell."""

    kind: K
    element: Type | None = None
    """Of a list's items, or of a map's values."""
    fields: Mapping[str, Type] | None = None
    """Of a map whose keys are known: it has no others."""
    optional: frozenset[str] = field(default_factory=frozenset)
    """Those of ``fields`` that may be missing."""

    def __str__(self) -> str:
        match self.kind:
            case K.LIST:
                return f"list({self.element or ANY})"
            case K.MAP if self.fields is None:
                return f"map({self.element or ANY})"
            case _:
                return str(self.kind.value)

    @property
    def item(self) -> Type:
        """The type of what is inside."""
        return self.element or ANY


ANY: Final = Type(K.ANY)
BOOL: Final = Type(K.BOOL)
INT: Final = Type(K.INT)
DOUBLE: Final = Type(K.DOUBLE)
STRING: Final = Type(K.STRING)
NULL: Final = Type(K.NULL)
LIST: Final = Type(K.LIST)
MAP: Final = Type(K.MAP)


def list_of(element: Type) -> Type:
    """A list of such items."""
    return Type(K.LIST, element)


def map_of(element: Type) -> Type:
    """A map with such values."""
    return Type(K.MAP, element)


def record(fields: Mapping[str, Type], optional: frozenset[str] = frozenset()) -> Type:
    """A map with exactly these keys, but for those that may be missing."""
    return Type(K.MAP, None, fields, optional)


class Omitted:
    """What a hole gives to leave its field out."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "omit"


OMIT: Final = Omitted()


def kind_of(value: Any) -> K:
    """The kind of a value that is there."""
    match value:
        case None:
            return K.NULL
        case bool():
            return K.BOOL
        case int():
            return K.INT
        case float():
            return K.DOUBLE
        case str():
            return K.STRING
        case list() | tuple():
            return K.LIST
        case dict():
            return K.MAP
        case _:
            return K.ANY


def fits(found: Type, wanted: Type) -> bool:
    """Whether a value of one type can be where another one is wanted."""
    if K.ANY in (found.kind, wanted.kind):
        return True
    if found.kind is not wanted.kind:
        return False
    if found.element is not None and wanted.element is not None:
        return fits(found.element, wanted.element)
    return True


def join(one: Type, other: Type) -> Type:
    """The narrowest type of a value that is one or the other."""
    if one == other:
        return one
    if one.kind is not other.kind:
        return ANY
    if one.kind is K.LIST:
        return list_of(join(one.item, other.item))
    return MAP if one.kind is K.MAP else Type(one.kind)


def show(value: Any, limit: int = 60) -> str:
    """A value as a message quotes it."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value[:limit]}{"…" if len(value) > limit else ""}"'
        case list() | tuple():
            return f"a list of {len(value)}"
        case dict():
            return f"a map of {len(value)}"
        case _:
            return str(value)[:limit]


def whole(value: Any) -> Any:
    """Numbers as JSON means them: a whole one is an int, whatever carried it."""
    match value:
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case dict():
            return {key: whole(item) for key, item in value.items()}
        case list() | tuple():
            return [whole(item) for item in value]
        case _:
            return value
