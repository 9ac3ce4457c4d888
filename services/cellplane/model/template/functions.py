"""What expressions can call: text, lists, maps, numbers, and names for Kubernetes. Nothing outside.

One row for each function. Names are those of CEL's standard library and of its extensions for
strings and lists, where they have one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import re2

from cellplane.cell.names import kube_name, short_hash
from cellplane.model.template.kinds import (
    ANY,
    BOOL,
    DOUBLE,
    INT,
    LIST,
    MAP,
    STRING,
    K,
    Type,
    kind_of,
    list_of,
    record,
    show,
)
from cellplane.model.template.limits import Budget

Run = Callable[[Budget, Sequence[Any]], Any]
_PATTERN_MEMORY: Final = 1 << 20
_PATTERN_LIMIT: Final = 256
_INT: Final = 2**63


class Unfit(Exception):
    """A function cannot do it with these values; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function: what it takes, what it gives, and what it does."""

    takes: tuple[tuple[K, ...], ...]
    gives: Type | Callable[[Sequence[Type]], Type]
    run: Run
    method: bool = False
    more: bool = False
    """Whether the last parameter may be there again."""
    optional: int = 0
    """How many parameters from the end may be missing."""

    def result(self, args: Sequence[Type]) -> Type:
        """The type of what it gives."""
        return self.gives if isinstance(self.gives, Type) else self.gives(args)


_TEXT: Final = (K.STRING,)
_WHOLE: Final = (K.INT,)
_NUMBER: Final = (K.INT, K.DOUBLE)
_LIST: Final = (K.LIST,)
_MAP: Final = (K.MAP,)
_SCALAR: Final = (K.INT, K.DOUBLE, K.BOOL, K.STRING)
_EVERY: Final = tuple(K)


def _first(args: Sequence[Type]) -> Type:
    return args[0] if args else ANY


def compile_pattern(pattern: str) -> Any:
    """Compile a regular expression of RE2: matching is linear in the text (cel-spec, "matches")."""
    if len(pattern) > _PATTERN_LIMIT:
        raise Unfit(f"the pattern has more than {_PATTERN_LIMIT} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        words = error.args[0]
        text = words.decode() if isinstance(words, bytes) else str(words)
        raise Unfit(f"{show(pattern)} is no regular expression of RE2: {text}") from error


def _matches(budget: Budget, args: Sequence[Any]) -> bool:
    budget.spend(len(args[0]) // 8 + len(args[1]))
    return compile_pattern(args[1]).search(args[0]) is not None


def _to_int(_: Budget, args: Sequence[Any]) -> int:
    value = args[0]
    try:
        found = int(value)
    except (ValueError, OverflowError) as error:
        raise Unfit(f"{show(value)} is no whole number") from error
    if not -_INT <= found < _INT:
        raise Unfit(f"{show(value)} does not fit into 64 bits")
    return found


def _to_double(_: Budget, args: Sequence[Any]) -> float:
    try:
        return float(args[0])
    except ValueError as error:
        raise Unfit(f"{show(args[0])} is no number") from error


def to_text(value: Any) -> str:
    """A value as text stands for it."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case _:
            return str(value)


def _to_bool(_: Budget, args: Sequence[Any]) -> bool:
    if args[0] in (True, "true", "True", "TRUE", "t", "1"):
        return True
    if args[0] in (False, "false", "False", "FALSE", "f", "0"):
        return False
    raise Unfit(f'{show(args[0])} is neither "true" nor "false"')


def _replace(budget: Budget, args: Sequence[Any]) -> str:
    text, old, new = args
    budget.spend(1 + len(text) // 64)
    budget.length(len(text) + text.count(old) * (len(new) - len(old)))
    return str(text.replace(old, new))


def _split(budget: Budget, args: Sequence[Any]) -> list[str]:
    budget.spend(1 + len(args[0]) // 64)
    if not args[1]:
        raise Unfit("a text is not split at nothing: give a separator")
    parts: list[str] = args[0].split(args[1])
    budget.items(len(parts))
    return parts


def _join(budget: Budget, args: Sequence[Any]) -> str:
    items, separator = args[0], args[1] if len(args) > 1 else ""
    for item in items:
        if not isinstance(item, str):
            raise Unfit(f"join() takes texts: found {kind_of(item).value} {show(item)}")
        budget.spend(1 + len(item) // 64)
    budget.length(sum(map(len, items)) + len(separator) * len(items))
    return str(separator.join(items))


def _substring(_: Budget, args: Sequence[Any]) -> str:
    text, start = args[0], args[1]
    end = args[2] if len(args) > 2 else len(text)
    if not 0 <= start <= end <= len(text):
        raise Unfit(f"{show(text)} has no characters {start} to {end}")
    return str(text[start:end])


def _sort(budget: Budget, args: Sequence[Any]) -> list[Any]:
    items = args[0]
    kinds = {kind_of(item) for item in items}
    if len(kinds) > 1 or kinds - set(_SCALAR):
        raise Unfit("sort() takes items of one kind: int, double, bool or string")
    budget.items(len(items))
    budget.spend(sum(len(i) // 64 for i in items if isinstance(i, str)))
    return sorted(items)


def _sort_by(budget: Budget, args: Sequence[Any]) -> list[Any]:
    items, key = args
    if not all(isinstance(item, dict) and key in item for item in items):
        raise Unfit(f"sortByField() takes maps that all have {show(key)}")
    kinds = {kind_of(item[key]) for item in items}
    if len(kinds) > 1 or kinds - set(_SCALAR):
        raise Unfit(f"field {show(key)} has values of several kinds, or none that has an order")
    budget.items(len(items))
    return sorted(items, key=lambda item: item[key])


def _distinct(budget: Budget, args: Sequence[Any]) -> list[Any]:
    found: dict[str, Any] = {}
    for item in args[0]:
        budget.walk(item)
        found.setdefault(canonical(item), item)
    return list(found.values())


def _flatten(budget: Budget, args: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for item in args[0]:
        found += item if isinstance(item, list | tuple) else [item]
        budget.items(len(found))
    return found


def _merge(budget: Budget, args: Sequence[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in args:
        found |= one
        budget.items(len(found))
    return found


def _entries(budget: Budget, args: Sequence[Any]) -> list[dict[str, Any]]:
    budget.items(len(args[0]))
    return [{"key": key, "value": args[0][key]} for key in sorted(args[0])]


def _to_map(budget: Budget, args: Sequence[Any]) -> dict[str, Any]:
    budget.items(len(args[0]))
    found: dict[str, Any] = {}
    for item in args[0]:
        if (
            not isinstance(item, dict)
            or not isinstance(item.get("key"), str)
            or "value" not in item
        ):
            raise Unfit('toMap() takes maps with "key", a text, and "value"')
        if item["key"] in found:
            raise Unfit(f"key {show(item['key'])} is there twice")
        found[item["key"]] = item["value"]
    return found


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same text for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _json(budget: Budget, args: Sequence[Any]) -> str:
    budget.walk(args[0])
    return budget.text(canonical(args[0]))


def _hash(budget: Budget, args: Sequence[Any]) -> str:
    for part in args:
        budget.spend(1 + len(part) // 64)
    return short_hash(*args)


def _size(budget: Budget, args: Sequence[Any]) -> int:
    budget.spend(1)
    return len(args[0])


def _number(run: Callable[[Any], Any]) -> Run:
    def apply(_: Budget, args: Sequence[Any]) -> Any:
        if not math.isfinite(args[0]):
            raise Unfit("the number is not finite")
        return run(args[0])

    return apply


def _text(run: Callable[..., Any]) -> Run:
    def apply(budget: Budget, args: Sequence[Any]) -> Any:
        budget.spend(1 + sum(len(a) for a in args if isinstance(a, str)) // 64)
        return run(*args)

    return apply


def _method(
    takes: tuple[tuple[K, ...], ...],
    gives: Type | Callable[[Sequence[Type]], Type],
    run: Run,
    optional: int = 0,
) -> Function:
    return Function(takes=takes, gives=gives, run=run, method=True, optional=optional)


def _plain(
    takes: tuple[tuple[K, ...], ...],
    gives: Type | Callable[[Sequence[Type]], Type],
    run: Run,
    *,
    more: bool = False,
) -> Function:
    return Function(takes=takes, gives=gives, run=run, more=more)


_ENTRY: Final = record({"key": STRING, "value": ANY})

METHODS: Final[Mapping[str, Function]] = MappingProxyType(
    {
        "size": _method(((K.STRING, K.LIST, K.MAP),), INT, _size),
        "contains": _method((_TEXT, _TEXT), BOOL, _text(lambda a, b: b in a)),
        "startsWith": _method((_TEXT, _TEXT), BOOL, _text(lambda a, b: a.startswith(b))),
        "endsWith": _method((_TEXT, _TEXT), BOOL, _text(lambda a, b: a.endswith(b))),
        "matches": _method((_TEXT, _TEXT), BOOL, _matches),
        "lowerAscii": _method((_TEXT,), STRING, _text(lambda a: _ascii(a, up=False))),
        "upperAscii": _method((_TEXT,), STRING, _text(lambda a: _ascii(a, up=True))),
        "trim": _method((_TEXT,), STRING, _text(lambda a: a.strip())),
        "replace": _method((_TEXT, _TEXT, _TEXT), STRING, _replace),
        "split": _method((_TEXT, _TEXT), list_of(STRING), _split),
        "substring": _method((_TEXT, _WHOLE, _WHOLE), STRING, _substring, 1),
        "indexOf": _method((_TEXT, _TEXT), INT, _text(lambda a, b: a.find(b))),
        "join": _method((_LIST, _TEXT), STRING, _join, 1),
        "sort": _method((_LIST,), _first, _sort),
        "sortByField": _method((_LIST, _TEXT), _first, _sort_by),
        "distinct": _method((_LIST,), _first, _distinct),
        "flatten": _method((_LIST,), LIST, _flatten),
        "merge": _method((_MAP, _MAP), MAP, _merge),
        "entries": _method((_MAP,), list_of(_ENTRY), _entries),
        "toMap": _method((_LIST,), MAP, _to_map),
    }
)
FUNCTIONS: Final[Mapping[str, Function]] = MappingProxyType(
    {
        "size": _plain(((K.STRING, K.LIST, K.MAP),), INT, _size),
        "int": _plain(((K.INT, K.DOUBLE, K.STRING),), INT, _to_int),
        "double": _plain(((K.INT, K.DOUBLE, K.STRING),), DOUBLE, _to_double),
        "string": _plain((_SCALAR,), STRING, lambda _, args: to_text(args[0])),
        "bool": _plain(((K.BOOL, K.STRING),), BOOL, _to_bool),
        "dyn": _plain((_EVERY,), ANY, lambda _, args: args[0]),
        "type": _plain((_EVERY,), STRING, lambda _, args: kind_of(args[0]).value),
        "max": _plain((_NUMBER, _NUMBER), _first, lambda _, args: max(args), more=True),
        "min": _plain((_NUMBER, _NUMBER), _first, lambda _, args: min(args), more=True),
        "ceil": _plain((_NUMBER,), INT, _number(math.ceil)),
        "floor": _plain((_NUMBER,), INT, _number(math.floor)),
        "json": _plain((_EVERY,), STRING, _json),
        "hash": _plain((_TEXT,), STRING, _hash, more=True),
        "kubeName": _plain((_TEXT,), STRING, _text(kube_name), more=True),
    }
)


def _ascii(text: str, *, up: bool) -> str:
    return "".join((c.upper() if up else c.lower()) if c.isascii() else c for c in text)
