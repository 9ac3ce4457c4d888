"""Expressions as trees. Each node knows where it begins in its text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class Wrong(Exception):
    """Something in an expression is wrong, at an offset of its text."""

    def __init__(self, message: str, start: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.start = start


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that is written out."""

    value: Any
    start: int


@dataclass(frozen=True, slots=True)
class Name:
    """A variable."""

    name: str
    start: int


@dataclass(frozen=True, slots=True)
class Select:
    """A field; ``test`` asks whether it is there."""

    of: Node
    field: str
    start: int
    test: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """An item by its number, or by its key."""

    of: Node
    key: Node
    start: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function of arguments; a method's object is the first."""

    function: str
    args: tuple[Node, ...]
    start: int
    method: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """An operator of one or two values."""

    operator: str
    args: tuple[Node, ...]
    start: int


@dataclass(frozen=True, slots=True)
class Logic:
    """``&&`` and ``||``: an error counts only where the other side does not decide."""

    operator: str
    left: Node
    right: Node
    start: int


@dataclass(frozen=True, slots=True)
class Choice:
    """``condition ? yes : no``."""

    condition: Node
    yes: Node
    no: Node
    start: int


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list that is written out."""

    items: tuple[Node, ...]
    start: int


@dataclass(frozen=True, slots=True)
class MapOf:
    """A map that is written out."""

    entries: tuple[tuple[Node, Node], ...]
    start: int


@dataclass(frozen=True, slots=True)
class Loop:
    """A comprehension: ``all``, ``exists``, ``exists_one``, ``filter`` or ``map``."""

    macro: str
    over: Node
    variable: str
    where: Node | None
    """What an item has to meet: the body of all but ``map``."""
    each: Node | None
    """What an item becomes."""
    start: int


Node = Literal | Name | Select | Index | Call | Operation | Logic | Choice | ListOf | MapOf | Loop


def size_of(node: Node) -> int:
    """How many nodes a tree has."""
    return 1 + sum(size_of(child) for child in children(node))


def children(node: Node) -> tuple[Node, ...]:
    """The nodes right below one."""
    match node:
        case Literal() | Name():
            return ()
        case Select():
            return (node.of,)
        case Index():
            return (node.of, node.key)
        case Call() | Operation():
            return node.args
        case Logic():
            return (node.left, node.right)
        case Choice():
            return (node.condition, node.yes, node.no)
        case ListOf():
            return node.items
        case MapOf():
            return tuple(part for entry in node.entries for part in entry)
        case Loop():
            return (node.over, *(n for n in (node.where, node.each) if n is not None))
