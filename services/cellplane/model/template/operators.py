"""What operators do with values that are there, by CEL's rules for types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from cellplane.model.template.functions import Unfit
from cellplane.model.template.kinds import K, kind_of
from cellplane.model.template.limits import Budget, Exhausted

_INT: Final = 2**63
UNDEFINED: Final = object()
"""What an operator gives for types that it is not for."""


def equal(a: Any, b: Any, budget: Budget) -> bool:
    """CEL's equality: numbers by value, whatever their type; nothing else across types."""
    budget.spend(1)
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b
    if isinstance(a, str) and isinstance(b, str):
        budget.spend(min(len(a), len(b)) // 64)
        return a == b
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(equal(x, y, budget) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key], budget) for key in a)
    return a is None and b is None


def _deep(a: Any, b: Any, budget: Budget) -> bool:
    try:
        return equal(a, b, budget)
    except RecursionError as error:
        raise Exhausted("compares values that are nested too deeply") from error


def _in(a: Any, b: Any, budget: Budget) -> Any:
    if isinstance(b, dict):
        return isinstance(a, str) and a in b
    if isinstance(b, list | tuple):
        return any(_deep(a, item, budget) for item in b)
    return UNDEFINED


def _add(a: Any, b: Any, budget: Budget) -> Any:
    match kind_of(a), kind_of(b):
        case K.INT, K.INT:
            return _bounded(a + b)
        case K.DOUBLE, K.DOUBLE:
            return a + b
        case K.STRING, K.STRING:
            budget.length(len(a) + len(b))
            return a + b
        case K.LIST, K.LIST:
            budget.items(len(a) + len(b))
            return [*a, *b]
    return UNDEFINED


def _arithmetic(run: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Budget], Any]:
    def apply(a: Any, b: Any, _: Budget) -> Any:
        kinds = (kind_of(a), kind_of(b))
        if kinds == (K.INT, K.INT):
            return _bounded(run(a, b))
        return run(a, b) if kinds == (K.DOUBLE, K.DOUBLE) else UNDEFINED

    return apply


def _bounded(value: Any) -> Any:
    if isinstance(value, int) and not -_INT <= value < _INT:
        return Unfit("the number does not fit into 64 bits")
    return value


def _divide(a: Any, b: Any) -> Any:
    if b == 0:
        return Unfit(f"{a} / {b}: a number is not divided by zero")
    if isinstance(a, int):
        return -(-a // b) if (a < 0) is not (b < 0) else a // b
    return a / b


def _modulo(a: Any, b: Any) -> Any:
    if isinstance(a, float):
        return UNDEFINED
    if b == 0:
        return Unfit(f"{a} % {b}: a number is not divided by zero")
    return abs(a) % abs(b) * (-1 if a < 0 else 1)


def _order(run: Callable[[Any, Any], bool]) -> Callable[[Any, Any, Budget], Any]:
    def apply(a: Any, b: Any, _: Budget) -> Any:
        one, other = kind_of(a), kind_of(b)
        numbers = {one, other} <= {K.INT, K.DOUBLE}
        return run(a, b) if numbers or (one is other and one in (K.STRING, K.BOOL)) else UNDEFINED

    return apply


BINARY: Final[dict[str, Callable[[Any, Any, Budget], Any]]] = {
    "==": _deep,
    "!=": lambda a, b, budget: not _deep(a, b, budget),
    "in": _in,
    "+": _add,
    "-": _arithmetic(lambda a, b: a - b),
    "*": _arithmetic(lambda a, b: a * b),
    "/": _arithmetic(_divide),
    "%": _arithmetic(_modulo),
    "<": _order(lambda a, b: a < b),
    "<=": _order(lambda a, b: a <= b),
    ">": _order(lambda a, b: a > b),
    ">=": _order(lambda a, b: a >= b),
}

FINISH: Final[dict[str, Callable[[list[tuple[Any, Any]]], Any]]] = {
    "all": lambda found: all(answer for _, answer in found),
    "exists": lambda found: any(answer for _, answer in found),
    "exists_one": lambda found: sum(answer for _, answer in found) == 1,
    "filter": lambda found: [item for item, answer in found if answer],
    "map": lambda found: [item for item, _ in found],
}
