"""Templates: values with holes. ``${…}`` in a text is an expression.

A text that is one hole becomes what the expression gives, with its type; in a longer text the value
is written into it. ``$${`` stands for ``${``. A field whose hole gives ``omit`` is left out.
Compiled once; rendering shares what has no hole, so results are never changed in place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from cellplane.model.template.check import Scope as Types
from cellplane.model.template.check import check
from cellplane.model.template.evaluate import Run, Scope, compile_node
from cellplane.model.template.findings import Fault, Faults, end_of
from cellplane.model.template.functions import to_text
from cellplane.model.template.kinds import ANY, STRING, K, Omitted, Type, kind_of, show
from cellplane.model.template.limits import MAX_TEXT, Budget, Exhausted
from cellplane.model.template.parse import parse
from cellplane.model.template.syntax import Node, Wrong, size_of

Fill = Callable[[Scope, Budget], Any]
_SCALARS: Final = (K.STRING, K.INT, K.DOUBLE, K.BOOL)


class Failed(Exception):
    """A template cannot be rendered with what it was given."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


@dataclass(frozen=True, slots=True)
class _Hole:
    run: Run
    cost: int
    start: int
    """Where the expression begins in its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A compiled value."""

    fill: Fill
    type: Type = ANY
    constant: bool = False
    """Whether it is the same whatever it is given."""


@lru_cache(maxsize=8192)
def _parsed(text: str) -> Node:
    """An expression as a tree: one for each text, however many definitions have it."""
    return parse(text)


@lru_cache(maxsize=8192)
def _compiled(text: str) -> tuple[Run, int]:
    """An expression that was checked, compiled, and what it costs."""
    node = _parsed(text)
    return compile_node(node), size_of(node)


def compile_expression(
    text: str, types: Types, faults: Faults, *, wanted: Type = ANY
) -> Template | None:
    """Compile a field that is an expression as a whole, with or without ``${…}`` around it."""
    stripped = text.strip()
    if stripped.startswith("${") and end_of(stripped, 2) == len(stripped) - 1:
        start = text.index("${") + 2
        inner = text[start : start + len(stripped) - 3]
    else:
        start, inner = 0, text
    hole = _hole(inner, start, text, types, faults)
    if hole is None:
        return None
    own, found = hole
    if found.kind not in (K.ANY, wanted.kind) and wanted.kind is not K.ANY:
        faults.add("TYPE_MISMATCH", f"found {found}, expected {wanted}", text=text, offset=start)
        return None
    return Template(fill=_guarded(own, text, faults, wanted), type=found)


def bare(text: str) -> str:
    """An expression as it is read elsewhere: without ``${…}`` around it."""
    stripped = text.strip()
    whole = stripped.startswith("${") and end_of(stripped, 2) == len(stripped) - 1
    return stripped[2:-1].strip() if whole else stripped


def compile_template(tree: Any, types: Types, faults: Faults) -> Template:
    """Compile a value of JSON with holes; what is wrong is noted, and its hole stays empty."""
    match tree:
        case str():
            return _text(tree, types, faults)
        case dict():
            return _map(tree, types, faults)
        case list() | tuple():
            parts = [compile_template(t, types, faults.at(i)) for i, t in enumerate(tree)]
            if all(part.constant for part in parts):
                return _constant(list(tree))
            fills = [part.fill for part in parts]

            def fill(scope: Scope, budget: Budget) -> Any:
                values = (one(scope, budget) for one in fills)
                return [value for value in values if not isinstance(value, Omitted)]

            return Template(fill=fill, type=Type(K.LIST))
        case _:
            return _constant(tree)


def _constant(value: Any) -> Template:
    return Template(fill=lambda _scope, _budget: value, type=Type(kind_of(value)), constant=True)


def _map(tree: dict[str, Any], types: Types, faults: Faults) -> Template:
    entries: list[tuple[Template, Template, Faults]] = []
    for key, value in tree.items():
        at = faults.at(key)
        entries.append((_text(key, types, at, whole=False), compile_template(value, types, at), at))
    if all(key.constant and value.constant for key, value, _ in entries):
        return _constant({k.fill({}, Budget()): v.fill({}, Budget()) for k, v, _ in entries})
    if all(key.constant for key, _, _ in entries):
        plain = [(key.fill({}, Budget()), value.fill) for key, value, _ in entries]

        def fill(scope: Scope, budget: Budget) -> Any:
            found = {}
            for name, one in plain:
                value = one(scope, budget)
                if not isinstance(value, Omitted):
                    found[name] = value
            return found

        return Template(fill=fill, type=Type(K.MAP))

    def fill_keys(scope: Scope, budget: Budget) -> Any:
        found: dict[str, Any] = {}
        for key, value, at in entries:
            name, item = key.fill(scope, budget), value.fill(scope, budget)
            if name in found:
                raise Failed(_fault("KEY_DUPLICATE", f"key {show(name)} is there twice", at))
            if not isinstance(item, Omitted):
                found[name] = item
        return found

    return Template(fill=fill_keys, type=Type(K.MAP))


def _text(text: str, types: Types, faults: Faults, *, whole: bool = True) -> Template:
    if "${" not in text:
        return _constant(text)
    parts = _parts(text, types, faults)
    if parts is None:
        return Template(fill=lambda _scope, _budget: None)
    match parts:
        case [(_Hole() as hole, Type() as found)] if whole:
            return Template(fill=_guarded(hole, text, faults, ANY), type=found)
        case [str() as plain]:
            return _constant(plain)
    pieces: list[str | tuple[Fill, int]] = []
    for part in parts:
        if isinstance(part, str):
            pieces.append(part)
            continue
        hole, found = part
        if found.kind not in (K.ANY, *_SCALARS):
            faults.add(
                "TYPE_MISMATCH",
                f"found {found}, expected string, int, double or bool inside of a text",
                text=text,
                offset=hole.start,
            )
        pieces.append((_guarded(hole, text, faults, ANY), hole.start))

    def fill(scope: Scope, budget: Budget) -> str:
        words: list[str] = []
        for piece in pieces:
            if isinstance(piece, str):
                words.append(piece)
                continue
            value = piece[0](scope, budget)
            if kind_of(value) not in _SCALARS:
                raise Failed(
                    _fault(
                        "TYPE_MISMATCH",
                        f"found {kind_of(value).value} {show(value)}, expected string, int, "
                        "double or bool inside of a text",
                        faults,
                        text,
                        piece[1],
                    )
                )
            words.append(to_text(value))
        return _paid("".join(words), budget, text, faults)

    return Template(fill=fill, type=STRING)


def _paid(made: str, budget: Budget, text: str, faults: Faults) -> str:
    try:
        return budget.text(made)
    except Exhausted as error:
        raise Failed(_fault("BUDGET_EXHAUSTED", str(error), faults, text)) from error


def _parts(text: str, types: Types, faults: Faults) -> list[str | tuple[_Hole, Type]] | None:
    """Text and holes in turn; ``None`` if a hole is wrong."""
    if len(text) > MAX_TEXT:
        faults.add("TEXT_TOO_LONG", f"has more than {MAX_TEXT:,} characters")
        return None
    parts: list[str | tuple[_Hole, Type]] = []
    position, plain, fine = 0, "", True
    while (begin := text.find("${", position)) >= 0:
        if begin > 0 and text[begin - 1] == "$":
            plain += text[position : begin - 1] + "${"
            position = begin + 2
            continue
        plain += text[position:begin]
        end = end_of(text, begin + 2)
        if end == len(text):
            faults.add("EXPRESSION_INVALID", "has no }: close it", text=text, offset=begin)
            return None
        if plain:
            parts.append(plain)
            plain = ""
        hole = _hole(text[begin + 2 : end], begin + 2, text, types, faults)
        fine = fine and hole is not None
        if hole is not None:
            parts.append(hole)
        position = end + 1
    plain += text[position:]
    if plain:
        parts.append(plain)
    return parts if fine else None


def _hole(
    inner: str, start: int, text: str, types: Types, faults: Faults
) -> tuple[_Hole, Type] | None:
    try:
        node = _parsed(inner)
    except Wrong as wrong:
        faults.add("EXPRESSION_INVALID", wrong.message, text=text, offset=start + wrong.start)
        return None
    try:
        found = check(node, types)
    except Wrong as wrong:
        faults.add("TYPE_MISMATCH", wrong.message, text=text, offset=start + wrong.start)
        return None
    return _Hole(*_compiled(inner), start), found


def _guarded(hole: _Hole, text: str, faults: Faults, wanted: Type) -> Fill:
    """Evaluate, with the place of whatever fails."""
    run, cost, start = hole.run, hole.cost, hole.start

    def fill(scope: Scope, budget: Budget) -> Any:
        try:
            budget.spend(cost)
            value = run(scope, budget)
        except Wrong as wrong:
            raise Failed(
                _fault("EXPRESSION_FAILED", wrong.message, faults, text, start + wrong.start)
            ) from wrong
        except (Exhausted, RecursionError) as error:
            message = str(error) if isinstance(error, Exhausted) else "is nested too deeply"
            raise Failed(_fault("BUDGET_EXHAUSTED", message, faults, text, start)) from error
        if wanted.kind is not K.ANY and kind_of(value) is not wanted.kind:
            message = f"found {kind_of(value).value} {show(value)}, expected {wanted}"
            raise Failed(_fault("TYPE_MISMATCH", message, faults, text, start))
        return value

    return fill


def _fault(reason: str, message: str, faults: Faults, text: str = "", offset: int = 0) -> Fault:
    return Fault(
        reason=reason,
        path=faults.path,
        message=message,
        text=text,
        offset=offset,
        source=faults.source,
    )
