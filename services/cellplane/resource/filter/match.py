"""Filters asked of messages.

A path that leads through a message that is not set, or to a key that is not there, leads nowhere:
nothing compares with it, not even ``!=``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor

from cellplane.resource.filter import bind
from cellplane.resource.filter.bind import Filter, Path, Step, leaf
from cellplane.resource.filter.syntax import Comparator
from cellplane.resource.filter.values import Normal, is_map, normal

_OPERATORS: Final[dict[Comparator, Callable[[Any, Any], bool]]] = {
    Comparator.EQUAL: operator.eq,
    Comparator.NOT_EQUAL: operator.ne,
    Comparator.LESS: operator.lt,
    Comparator.AT_MOST: operator.le,
    Comparator.GREATER: operator.gt,
    Comparator.AT_LEAST: operator.ge,
}


def matches(filter: Filter, message: Any) -> bool:
    """Tell whether a message is one of those that a filter asks for."""
    match filter:
        case bind.All(operands):
            return all(matches(operand, message) for operand in operands)
        case bind.Any(operands):
            return any(matches(operand, message) for operand in operands)
        case bind.Not(operand):
            return not matches(operand, message)
        case bind.Compare(path, comparator, value):
            compare = _OPERATORS[comparator]
            return any(compare(found, value) for found in found_at(message, path))
        case bind.Like(path, pieces):
            fits = pattern_of(pieces).fullmatch
            return any(fits(str(found)) is not None for found in found_at(message, path))
        case bind.Present(path):
            return any(_holds(last, step) for last, step in _ends(message, path))
        case bind.Search(pieces):
            fits = pattern_of(("", *pieces, "")).fullmatch
            texts = (message.name, getattr(message, "display_name", ""))
            return any(fits(text.casefold()) is not None for text in texts)


@lru_cache(maxsize=512)
def pattern_of(pieces: tuple[str, ...]) -> re.Pattern[str]:
    """The pattern of text with these pieces."""
    return re.compile(".*".join(re.escape(piece) for piece in pieces), re.DOTALL)


def found_at(message: Any, path: Path) -> Iterator[Normal]:
    """The values that a path leads to, in the form that is compared."""
    for last, step in _ends(message, path):
        value = getattr(last, step.field.name)
        if step.key is not None:
            if step.key in value:
                yield normal(leaf(step), value[step.key])
        elif step.field.is_repeated:
            yield from (normal(step.field, one) for one in value)
        elif not step.field.has_presence or last.HasField(step.field.name):
            yield normal(step.field, value)


def _ends(message: Any, path: Path) -> Iterator[tuple[Any, Step]]:
    """The messages that hold the last step of a path."""
    step = path[0]
    if len(path) == 1:
        yield message, step
        return
    value = getattr(message, step.field.name)
    if step.key is not None:
        inner = [value[step.key]] if step.key in value else []
    elif is_map(step.field):
        inner = list(value.values())
    elif step.field.is_repeated:
        inner = value
    else:
        inner = [value] if message.HasField(step.field.name) else []
    for one in inner:
        yield from _ends(one, path[1:])


def _holds(message: Any, step: Step) -> bool:
    field: FieldDescriptor = step.field
    value = getattr(message, field.name)
    if step.key is not None:
        return step.key in value
    if field.is_repeated:
        return len(value) > 0
    if field.has_presence:
        return bool(message.HasField(field.name))
    return bool(value)
