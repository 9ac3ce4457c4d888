"""What type an expression has, before anything is evaluated.

What a schema does not say is ``any`` and left to evaluation; what can be known is refused here, so
that a type that was vetted does not fail for the first developer who uses it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Final

from cellplane.model.template.functions import FUNCTIONS, METHODS
from cellplane.model.template.kinds import (
    ANY,
    BOOL,
    LIST,
    STRING,
    K,
    Type,
    fits,
    join,
    kind_of,
    list_of,
    map_of,
    record,
)
from cellplane.model.template.syntax import (
    Call,
    Choice,
    Index,
    ListOf,
    Literal,
    Logic,
    Loop,
    MapOf,
    Name,
    Node,
    Operation,
    Select,
    Wrong,
)

Scope = Mapping[str, Type]
_NUMBERS: Final = (K.INT, K.DOUBLE)
_ORDERED: Final = (K.INT, K.DOUBLE, K.STRING, K.BOOL)
_PLACES: Final = {0: "first", 1: "second", 2: "third"}


def check(node: Node, scope: Scope) -> Type:  # noqa: PLR0912 - one branch for each kind of node
    """The type of an expression. Raises ``Wrong`` where it cannot be evaluated whatever comes."""
    match node:
        case Literal():
            return Type(kind_of(node.value))
        case Name():
            if node.name not in scope:
                known = _close(node.name, scope) or f"there are {_listed(scope)}"
                raise Wrong(f'there is no "{node.name}": {known}', node.start)
            return scope[node.name]
        case Select():
            return BOOL if node.test and _select(node, scope) else _select(node, scope)
        case Index():
            return _index(node, scope)
        case Call():
            return _call(node, scope)
        case Operation():
            return _operation(node, scope)
        case Logic():
            for side in (node.left, node.right):
                _want_bool(check(side, scope), f"a side of {node.operator}", _start(side))
            return BOOL
        case Choice():
            _want_bool(
                check(node.condition, scope), "the condition before ?", _start(node.condition)
            )
            return join(check(node.yes, scope), check(node.no, scope))
        case ListOf():
            return _list(node, scope)
        case MapOf():
            return _map(node, scope)
        case Loop():
            return _loop(node, scope)


def _select(node: Select, scope: Scope) -> Type:
    of = check(node.of, scope)
    if of.kind is K.ANY:
        return ANY
    if of.kind is not K.MAP:
        raise Wrong(f'field "{node.field}" of {of}: only a map has fields', node.start)
    if of.fields is None:
        return of.item
    if node.field not in of.fields:
        there = f"there are {_listed(of.fields)}" if of.fields else "it has none"
        known = _close(node.field, of.fields) or there
        raise Wrong(f'there is no field "{node.field}": {known}', node.start)
    return of.fields[node.field]


def _index(node: Index, scope: Scope) -> Type:
    of, key = check(node.of, scope), check(node.key, scope)
    match of.kind:
        case K.ANY:
            return ANY
        case K.LIST:
            if key.kind not in (K.INT, K.ANY):
                raise Wrong(f"the index of a list: found {key}, expected int", _start(node.key))
            return of.item
        case K.MAP:
            if key.kind not in (K.STRING, K.ANY):
                raise Wrong(f"the key of a map: found {key}, expected string", _start(node.key))
            if of.fields is None:
                return of.item
            if isinstance(node.key, Literal):
                return _select(Select(node.of, str(node.key.value), _start(node.key)), scope)
            return ANY
        case _:
            raise Wrong(f"[] of {of}: expected list or map", node.start)


def _call(node: Call, scope: Scope) -> Type:
    table = METHODS if node.method else FUNCTIONS
    function = table.get(node.function)
    if function is None:
        known = _close(node.function, table) or f"there are {_listed(table)}"
        raise Wrong(f'there is no function "{node.function}": {known}', node.start)
    args = [check(arg, scope) for arg in node.args]
    most, least = len(function.takes), len(function.takes) - function.optional
    if len(args) < least or (len(args) > most and not function.more):
        own = 1 if node.method else 0
        count = f"{least - own}" if least == most else f"{least - own} to {most - own}"
        raise Wrong(
            f"{node.function}() takes {count} arguments: found {len(args) - own}", node.start
        )
    for index, (arg, found) in enumerate(zip(node.args, args, strict=True)):
        wanted = function.takes[min(index, most - 1)]
        if found.kind is not K.ANY and found.kind not in wanted:
            which = (
                f"what {node.function}() is called of"
                if node.method and index == 0
                else f"the {_PLACES.get(index - node.method, 'last')} argument of {node.function}()"
            )
            expected = " or ".join(k.value for k in wanted)
            raise Wrong(f"{which}: found {found}, expected {expected}", _start(arg))
    return function.result(args)


def _operation(node: Operation, scope: Scope) -> Type:
    types = [check(arg, scope) for arg in node.args]
    match node.operator:
        case "!":
            _want_bool(types[0], "behind !", _start(node.args[0]))
            return BOOL
        case "neg":
            if types[0].kind not in (*_NUMBERS, K.ANY):
                raise Wrong(f"behind -: found {types[0]}, expected int or double", node.start)
            return types[0]
        case "==" | "!=":
            one, other = types
            if not fits(one, other) and not {one.kind, other.kind} <= {*_NUMBERS}:
                if K.NULL in (one.kind, other.kind):
                    return BOOL
                raise Wrong(
                    f"{one} {node.operator} {other} is never so: compare one type", node.start
                )
            return BOOL
        case "in":
            if types[1].kind not in (K.LIST, K.MAP, K.ANY):
                raise Wrong(
                    f"behind in: found {types[1]}, expected list or map", _start(node.args[1])
                )
            return BOOL
        case "<" | "<=" | ">" | ">=":
            _same(node, types, _ORDERED)
            return BOOL
        case "+":
            return _same(node, types, (*_NUMBERS, K.STRING, K.LIST))
        case "%":
            return _same(node, types, (K.INT,))
        case _:
            return _same(node, types, _NUMBERS)


def _same(node: Operation, types: list[Type], wanted: tuple[K, ...]) -> Type:
    one, other = types
    expected = f"expected two of one type: {', '.join(k.value for k in wanted)}"
    for found in types:
        if found.kind is not K.ANY and found.kind not in wanted:
            raise Wrong(f"{one} {node.operator} {other}: {expected}", node.start)
    if K.ANY in (one.kind, other.kind):
        return one if other.kind is K.ANY else other
    mixed = {one.kind, other.kind} == {*_NUMBERS} and node.operator in ("<", "<=", ">", ">=")
    if one.kind is not other.kind and not mixed:
        raise Wrong(
            f"{one} {node.operator} {other}: {expected}; convert with {one.kind.value}(…) or "
            f"{other.kind.value}(…)",
            node.start,
        )
    return join(one, other)


def _list(node: ListOf, scope: Scope) -> Type:
    items = [check(item, scope) for item in node.items]
    if not items:
        return LIST
    element = items[0]
    for item in items[1:]:
        element = join(element, item)
    return list_of(element)


def _map(node: MapOf, scope: Scope) -> Type:
    fields: dict[str, Type] = {}
    known = True
    for key, value in node.entries:
        found = check(key, scope)
        if found.kind not in (K.STRING, K.ANY):
            raise Wrong(f"the key of a map: found {found}, expected string", _start(key))
        own = check(value, scope)
        if isinstance(key, Literal):
            fields[str(key.value)] = own
        else:
            known = False
    return record(fields) if known else map_of(ANY)


def _loop(node: Loop, scope: Scope) -> Type:
    over = check(node.over, scope)
    if over.kind not in (K.LIST, K.MAP, K.ANY):
        raise Wrong(f"{node.macro}() of {over}: expected list or map", node.start)
    item = STRING if over.kind is K.MAP else over.item if over.kind is K.LIST else ANY
    inner = {**scope, node.variable: item}
    if node.where is not None:
        found = check(node.where, inner)
        _want_bool(found, f"the condition of {node.macro}()", _start(node.where))
    if node.each is not None:
        return list_of(check(node.each, inner))
    return list_of(item) if node.macro == "filter" else BOOL


def _want_bool(found: Type, what: str, start: int) -> None:
    if found.kind not in (K.BOOL, K.ANY):
        raise Wrong(f"{what}: found {found}, expected bool", start)


def _start(node: Node) -> int:
    """Where an expression begins: its leftmost part."""
    match node:
        case Select():
            return _start(node.of)
        case Index():
            return _start(node.of)
        case Operation() if len(node.args) == 2:
            return _start(node.args[0])
        case Call() if node.method:
            return _start(node.args[0])
        case Loop():
            return _start(node.over)
        case Choice():
            return _start(node.condition)
        case Logic():
            return _start(node.left)
        case _:
            return node.start


def _close(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f'did you mean "{close[0]}"?' if close else ""


def _listed(known: Iterable[str]) -> str:
    names = sorted(known)
    return ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
