"""Filters with the types of a message: fields exist, values fit, comparisons have a meaning.

Lists are only asked whether they have something (``:``), also on the way to a field: any element
counts. A key of a map is a step of a path. Everything that is wrong is found at once.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Final, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from cellplane.cell.problem import Invalid, Problem
from cellplane.resource.fields import has_behavior
from cellplane.resource.filter import syntax, values
from cellplane.resource.filter.syntax import Comparator
from cellplane.resource.filter.values import Normal, Type

_INPUT_ONLY: Final = 4
"""``google.api.FieldBehavior.INPUT_ONLY``: never stored, so never asked for."""
_UNORDERED: Final = frozenset({Type.ENUM, Type.TRUTH})
_ORDERING: Final = frozenset(
    {Comparator.LESS, Comparator.AT_MOST, Comparator.GREATER, Comparator.AT_LEAST}
)


@dataclass(frozen=True, slots=True)
class Step:
    """One field of a path, and of a map the key where one is named."""

    field: FieldDescriptor
    key: str | None = None

    @property
    def branches(self) -> bool:
        """Whether it leads to any number of values."""
        return self.field.is_repeated and self.key is None


Path: TypeAlias = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """A value of the path compares so."""

    path: Path
    comparator: Comparator
    value: Normal


@dataclass(frozen=True, slots=True)
class Like:
    """A text of the path has these pieces, with anything between them."""

    path: Path
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Present:
    """The path leads to something that is not empty."""

    path: Path


@dataclass(frozen=True, slots=True)
class Search:
    """Name or display name contain it, in whatever case."""

    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    operand: Filter


@dataclass(frozen=True, slots=True)
class All:
    """All of them."""

    operands: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """Any of them."""

    operands: tuple[Filter, ...]


Filter: TypeAlias = Compare | Like | Present | Search | Not | All | Any
EVERYTHING: Final = All(())


class _Wrong(Exception):
    def __init__(self, column: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.column, self.reason, self.message = column, reason, message


def bind(text: str, descriptor: Descriptor, *, field: str = "filter") -> Filter:
    """Read a filter over messages of a type.

    Raises:
        Invalid: with every finding at *field*, each with its column.
    """
    try:
        tree = syntax.parse(text)
    except syntax.Malformed as wrong:
        raise _invalid(
            [_Wrong(wrong.column, "FILTER_MALFORMED", wrong.message)], text, field
        ) from (None)
    found: list[_Wrong] = []
    bound = _bind(tree, descriptor, found)
    if found:
        raise _invalid(found, text, field)
    return bound


def _invalid(found: list[_Wrong], text: str, field: str) -> Invalid:
    problems = [
        Problem(
            reason=wrong.reason,
            message=f"column {wrong.column}: {wrong.message}",
            field=field,
            value=text,
        )
        for wrong in sorted(found, key=lambda w: w.column)
    ]
    more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
    return Invalid(
        f"{field} is invalid: {problems[0].message}{more}",
        problems=problems,
        reason="FILTER_INVALID",
        metadata={"column": str(min(wrong.column for wrong in found)), field: text},
    )


def _bind(tree: syntax.Tree, descriptor: Descriptor, found: list[_Wrong]) -> Filter:
    match tree:
        case syntax.And(operands):
            return All(tuple(_bind(operand, descriptor, found) for operand in operands))
        case syntax.Or(operands):
            return Any(tuple(_bind(operand, descriptor, found) for operand in operands))
        case syntax.Not(operand):
            return Not(_bind(operand, descriptor, found))
        case syntax.Literal(value):
            return Search(tuple(piece.casefold() for piece in value.pieces))
        case syntax.Restriction():
            try:
                return _restriction(tree, descriptor)
            except _Wrong as wrong:
                found.append(wrong)
                return EVERYTHING


def path_of(names: tuple[str, ...], descriptor: Descriptor, column: int = 1) -> Path:
    """The steps of a path; raises ``Invalid`` where there is no such field."""
    try:
        return _path(names, descriptor, column)
    except _Wrong as wrong:
        raise _invalid([wrong], ".".join(names), "order_by") from None


def _path(names: tuple[str, ...], descriptor: Descriptor, column: int) -> Path:
    steps: list[Step] = []
    at: Descriptor | None = descriptor
    left = list(names)
    while left:
        name = left.pop(0)
        if at is None:
            whole = ".".join(names[: len(names) - len(left) - 1])
            raise _Wrong(column, "FIELD_UNKNOWN", f'"{whole}" has no fields of its own: "{name}"')
        field = at.fields_by_name.get(name)
        if field is None or has_behavior(field, _INPUT_ONLY):
            raise _Wrong(column, "FIELD_UNKNOWN", _unknown(name, at))
        key: str | None = None
        at = field.message_type
        if values.is_map(field) and at is not None:
            if values.type_of(at.fields_by_name["key"]) is not Type.TEXT:
                raise _Wrong(column, "FIELD_OPAQUE", f'"{name}" cannot be looked into')
            at = at.fields_by_name["value"].message_type
            if left:
                key = left.pop(0)
        if at is not None and at.full_name in (values.TIMESTAMP, values.DURATION):
            at = None
        if at is not None and at.full_name.startswith("google.protobuf."):
            raise _Wrong(column, "FIELD_OPAQUE", f'"{name}" cannot be looked into')
        steps.append(Step(field, key))
    return tuple(steps)


def _unknown(name: str, descriptor: Descriptor) -> str:
    known = [f.name for f in descriptor.fields if not has_behavior(f, _INPUT_ONLY)]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f'did you mean "{close[0]}"?' if close else f"the fields are {', '.join(known)}"
    return f'there is no field "{name}": {hint}'


def leaf(step: Step) -> FieldDescriptor:
    """The field that says what one value behind a step is."""
    if values.is_map(step.field) and step.field.message_type is not None:
        return step.field.message_type.fields_by_name["value"]
    return step.field


def _restriction(tree: syntax.Restriction, descriptor: Descriptor) -> Filter:
    path = _path(tree.path, descriptor, tree.column)
    last, shown = path[-1], ".".join(tree.path)
    comparator, value = tree.comparator, tree.value
    if comparator is not Comparator.HAS and any(step.branches for step in path):
        what = "map" if values.is_map(last.field) else "list"
        raise _Wrong(
            tree.column,
            "COMPARATOR_UNFIT",
            f'"{shown}" leads through a {what}: ask whether it has something, {shown}:VALUE',
        )
    if value.is_star and comparator is Comparator.HAS:
        return Present(path)
    if comparator is Comparator.HAS and values.is_map(last.field) and last.key is None:
        return Present((*path[:-1], Step(last.field, _plain(value))))
    field = leaf(last)
    kind = values.type_of(field)
    if kind is None:
        if comparator is Comparator.HAS and field.message_type is not None:
            return Present((*path, *_path((_plain(value),), field.message_type, value.column)))
        raise _Wrong(
            tree.column, "COMPARATOR_UNFIT", f'"{shown}" is no single value: compare a field of it'
        )
    if comparator in _ORDERING and kind in _UNORDERED:
        raise _Wrong(
            tree.column, "COMPARATOR_UNFIT", f'"{shown}" has no order: compare it by = or !='
        )
    if kind is Type.TEXT and len(value.pieces) > 1:
        return _wildcard(path, comparator, value)
    return _compare(path, comparator, value, field, kind, shown)


def _wildcard(path: Path, comparator: Comparator, value: syntax.Text) -> Filter:
    if comparator in _ORDERING:
        raise _Wrong(
            value.column, "COMPARATOR_UNFIT", r"a wildcard has no order: use = or !=, or write \*"
        )
    like = Like(path, value.pieces)
    if comparator is not Comparator.NOT_EQUAL:
        return like
    # What a message that is not there has, differs from nothing.
    return All((Like(path, ("", "")), Not(like)))


def _compare(
    path: Path,
    comparator: Comparator,
    value: syntax.Text,
    field: FieldDescriptor,
    kind: Type,
    shown: str,
) -> Filter:
    read = values.read(field, value.value)
    if read is None:
        wanted = kind.value
        if kind is Type.ENUM and field.enum_type is not None:
            wanted = f"one of {', '.join(v.name for v in field.enum_type.values)}"
        raise _Wrong(value.column, "VALUE_UNFIT", f'"{value.value}" is not {wanted}, as {shown} is')
    if comparator is Comparator.HAS:
        comparator = Comparator.EQUAL
    return Compare(path, comparator, read)


def _plain(value: syntax.Text) -> str:
    if len(value.pieces) > 1:
        raise _Wrong(value.column, "VALUE_UNFIT", "a key or a field has no wildcards here")
    return value.value
