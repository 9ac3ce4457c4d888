"""Trees to closures: each node is compiled once, and evaluated as often as there are components.

Semantics are CEL's: ``&&`` and ``||`` ignore an error that the other side makes irrelevant, numbers
of different types are equal but never added, integers have 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from cellplane.model.template.functions import FUNCTIONS, METHODS, Function, Unfit
from cellplane.model.template.kinds import K, Omitted, kind_of, show
from cellplane.model.template.limits import Budget
from cellplane.model.template.operators import BINARY, FINISH, UNDEFINED
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
    size_of,
)

Scope = dict[str, Any]
Run = Callable[[Scope, Budget], Any]
_INT: Final = 2**63
_MISSING: Final = object()


def compile_node(node: Node) -> Run:
    """Compile one expression. The result raises ``Wrong`` and ``Exhausted``."""
    match node:
        case Literal(value=value):
            return lambda _scope, _budget: value
        case Name():
            return _name(node)
        case Select():
            return _select(node)
        case Index():
            return _index(node)
        case Call():
            return _call(node)
        case Operation():
            return _operation(node)
        case Logic():
            return _logic(node)
        case Choice():
            return _choice(node)
        case ListOf():
            return _list(node)
        case MapOf():
            return _map(node)
        case Loop():
            return _loop(node)


def _name(node: Name) -> Run:
    name, start = node.name, node.start

    def run(scope: Scope, _: Budget) -> Any:
        value = scope.get(name, _MISSING)
        if value is _MISSING:
            raise Wrong(f'there is no "{name}"', start)
        return value

    return run


def _select(node: Select) -> Run:
    of, field, start, test = compile_node(node.of), node.field, node.start, node.test

    def run(scope: Scope, budget: Budget) -> Any:
        value = of(scope, budget)
        if not isinstance(value, dict):
            raise Wrong(
                f'field "{field}" of {kind_of(value).value} {show(value)}: only a map has fields',
                start,
            )
        if test:
            return field in value
        found = value.get(field, _MISSING)
        if found is _MISSING:
            there = ", ".join(sorted(value)[:12]) or "none"
            raise Wrong(f'field "{field}" is not set: ask with has() first; set are {there}', start)
        return found

    return run


def _index(node: Index) -> Run:
    of, at, start = compile_node(node.of), compile_node(node.key), node.start

    def run(scope: Scope, budget: Budget) -> Any:
        value, key = of(scope, budget), at(scope, budget)
        if isinstance(value, dict):
            if not isinstance(key, str):
                raise Wrong(
                    f"the key of a map: found {kind_of(key).value} {show(key)}, expected string",
                    start,
                )
            if key not in value:
                raise Wrong(f"key {show(key)} is not in the map: ask with in first", start)
            return value[key]
        if not isinstance(value, list | tuple):
            raise Wrong(f"[] of {kind_of(value).value} {show(value)}: expected list or map", start)
        if kind_of(key) is not K.INT:
            raise Wrong(
                f"the index of a list: found {kind_of(key).value} {show(key)}, expected int", start
            )
        if not 0 <= key < len(value):
            there = f"expected 0 to {len(value) - 1}" if value else "it is empty"
            raise Wrong(f"index {key} of a list with {len(value)} items: {there}", start)
        return value[key]

    return run


def _call(node: Call) -> Run:
    function = (METHODS if node.method else FUNCTIONS)[node.function]
    args = [compile_node(arg) for arg in node.args]
    starts = [arg.start for arg in node.args]
    start, name, most = node.start, node.function, len(function.takes) - 1

    def run(scope: Scope, budget: Budget) -> Any:
        values = [arg(scope, budget) for arg in args]
        for index, value in enumerate(values):
            if kind_of(value) not in function.takes[min(index, most)]:
                raise _unfit(name, function, index, value, starts[index])
        try:
            return function.run(budget, values)
        except Unfit as error:
            raise Wrong(f"{name}(): {error}", start) from error

    return run


def _unfit(name: str, function: Function, index: int, value: Any, start: int) -> Wrong:
    wanted = " or ".join(k.value for k in function.takes[min(index, len(function.takes) - 1)])
    return Wrong(f"{name}(): found {kind_of(value).value} {show(value)}, expected {wanted}", start)


def _operation(node: Operation) -> Run:
    start, operator = node.start, node.operator
    if len(node.args) == 1:
        one = compile_node(node.args[0])
        return _not(one, start) if operator == "!" else _negative(one, start)
    left, right = (compile_node(arg) for arg in node.args)
    apply = BINARY[operator]

    def run(scope: Scope, budget: Budget) -> Any:
        a, b = left(scope, budget), right(scope, budget)
        result = apply(a, b, budget)
        if result is UNDEFINED:
            raise Wrong(
                f"{kind_of(a).value} {show(a)} {operator} {kind_of(b).value} {show(b)}: expected "
                "two of one type that has this operator",
                start,
            )
        if isinstance(result, Unfit):
            raise Wrong(str(result), start)
        return result

    return run


def _not(of: Run, start: int) -> Run:
    def run(scope: Scope, budget: Budget) -> bool:
        return not _bool(of(scope, budget), "behind !", start)

    return run


def _negative(of: Run, start: int) -> Run:
    def run(scope: Scope, budget: Budget) -> Any:
        value = of(scope, budget)
        if kind_of(value) not in (K.INT, K.DOUBLE):
            raise Wrong(
                f"behind -: found {kind_of(value).value} {show(value)}, expected int or double",
                start,
            )
        if value == -_INT:
            raise Wrong("the number does not fit into 64 bits", start)
        return -value

    return run


def _bool(value: Any, what: str, start: int) -> bool:
    if isinstance(value, bool):
        return value
    raise Wrong(f"{what}: found {kind_of(value).value} {show(value)}, expected bool", start)


def _logic(node: Logic) -> Run:
    left, right, start = compile_node(node.left), compile_node(node.right), node.start
    decides = node.operator == "||"
    what = f"a side of {node.operator}"

    def run(scope: Scope, budget: Budget) -> bool:
        try:
            first = _bool(left(scope, budget), what, start)
        except Wrong:
            if _bool(right(scope, budget), what, start) is decides:
                return decides
            raise
        return decides if first is decides else _bool(right(scope, budget), what, start)

    return run


def _choice(node: Choice) -> Run:
    condition, yes, no = map(compile_node, (node.condition, node.yes, node.no))
    start = node.start

    def run(scope: Scope, budget: Budget) -> Any:
        chosen = yes if _bool(condition(scope, budget), "the condition before ?", start) else no
        return chosen(scope, budget)

    return run


def _list(node: ListOf) -> Run:
    items = [compile_node(item) for item in node.items]

    def run(scope: Scope, budget: Budget) -> list[Any]:
        budget.spend(len(items))
        values = (item(scope, budget) for item in items)
        return [value for value in values if not isinstance(value, Omitted)]

    return run


def _map(node: MapOf) -> Run:
    entries = [(compile_node(key), compile_node(value)) for key, value in node.entries]
    start = node.start

    def run(scope: Scope, budget: Budget) -> dict[str, Any]:
        budget.spend(len(entries))
        found: dict[str, Any] = {}
        for key, value in entries:
            name = key(scope, budget)
            if not isinstance(name, str):
                raise Wrong(
                    f"the key of a map: found {kind_of(name).value} {show(name)}, expected string",
                    start,
                )
            if name in found:
                raise Wrong(f"key {show(name)} is there twice", start)
            item = value(scope, budget)
            if not isinstance(item, Omitted):
                found[name] = item
        return found

    return run


def _loop(node: Loop) -> Run:
    over, variable, start = compile_node(node.over), node.variable, node.start
    where = compile_node(node.where) if node.where is not None else None
    each = compile_node(node.each) if node.each is not None else None
    cost = 1 + sum(size_of(part) for part in (node.where, node.each) if part is not None)
    what, finish = f"the condition of {node.macro}()", FINISH[node.macro]

    def items_of(value: Any) -> Sequence[Any]:
        if isinstance(value, dict):
            return sorted(value)
        if isinstance(value, list | tuple):
            return value
        raise Wrong(
            f"{node.macro}() of {kind_of(value).value} {show(value)}: expected list or map", start
        )

    def run(scope: Scope, budget: Budget) -> Any:
        items = items_of(over(scope, budget))
        before = scope.get(variable, _MISSING)
        try:
            if each is not None:
                return _mapped(items, scope, budget)
            return finish(_judged(items, scope, budget))
        finally:
            if before is _MISSING:
                scope.pop(variable, None)
            else:
                scope[variable] = before

    def _mapped(items: Sequence[Any], scope: Scope, budget: Budget) -> list[Any]:
        found: list[Any] = []
        for item in items:
            budget.spend(cost)
            scope[variable] = item
            if where is None or _bool(where(scope, budget), what, start):
                value = each(scope, budget) if each is not None else item
                if not isinstance(value, Omitted):
                    found.append(value)
        return found

    def _judged(items: Sequence[Any], scope: Scope, budget: Budget) -> list[tuple[Any, Any]]:
        """Each item with its answer; an answer that decides ends it, whatever failed before."""
        stop = {"all": False, "exists": True}.get(node.macro)
        found: list[tuple[Any, Any]] = []
        failed: Wrong | None = None
        for item in items:
            budget.spend(cost)
            scope[variable] = item
            try:
                answer = _bool(where(scope, budget), what, start) if where else True
            except Wrong as error:
                if stop is None:
                    raise
                failed = failed or error
                continue
            found.append((item, answer))
            if answer is stop:
                return found
        if failed is not None:
            raise failed
        return found

    return run
