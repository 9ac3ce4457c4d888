"""What of a message can be asked for in SQL: its values, by the paths that lead to them.

``fields`` has what is there once, ``lists`` what is behind a list: each value once, for a filter
only asks whether there is one. Values are in the form that is compared (``values``). A message that
is set, and a map that has keys, stands there as 1, a list of messages as their number. A field that
has no presence stands there if it is not its default; behind a list the default stands beside what
others have, and follows from the message where no other value is.

What has a column of its own is left out, and so is whatever nobody can look into.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, TypeAlias

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from cellplane.resource.filter import values
from cellplane.resource.filter.bind import Path, Step, leaf
from cellplane.resource.filter.values import Normal, is_map, normal

Fields: TypeAlias = dict[str, Any]

COLUMNS: Final = frozenset({"name", "uid", "create_time", "update_time", "etag"})
"""Fields of every resource that are no part of a document."""
FOLDED: Final = "~display_name"
"""The display name without its case, where that is another text."""
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_./:-]")
_NUL: Final = str.maketrans({"\0": "\1\2", "\1": "\1\3"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a message has."""

    fields: Fields = field(default_factory=dict)
    lists: Fields = field(default_factory=dict)


class _Shape(Enum):
    VALUE = 1
    MESSAGE = 2
    MAP = 3
    VALUES = 4
    MESSAGES = 5
    OPAQUE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """How one field is described."""

    name: str
    shape: _Shape
    read: Callable[[Any], Normal]
    default: Normal | None = None
    """What it has where it is not set; ``None`` where it has nothing then."""


def document_of(message: Message) -> Document:
    """Describe a resource."""
    found = Document()
    _once(message, "", found)
    for own in COLUMNS:
        found.fields.pop(own, None)
    shown = found.fields.get("display_name")
    if isinstance(shown, str) and (folded := shown.casefold()) != shown:
        found.fields[FOLDED] = folded
    return found


def key_of(path: Path) -> str:
    """Under which key a document has what a path leads to."""
    return ".".join(
        step.field.name if step.key is None else f"{step.field.name}[{_safe(step.key)}]"
        for step in path
    )


def default_of(step: Step) -> Normal | None:
    """What a field has where it is not set; ``None`` where it has nothing then."""
    return None if step.key is not None else _default(step.field)


def text_of(value: str) -> str:
    """A text as both databases keep it, in the same order: neither JSON nor they have a NUL."""
    return value.translate(_NUL) if "\0" in value or "\1" in value else value


def _once(message: Message, above: str, found: Document) -> None:
    plans = _plans(message.DESCRIPTOR)
    for own, value in message.ListFields():
        plan = plans[own.number]
        at = above + plan.name
        match plan.shape:
            case _Shape.VALUE:
                found.fields[at] = plan.read(value)
            case _Shape.MESSAGE:
                found.fields[at] = 1
                _once(value, f"{at}.", found)
            case _Shape.MAP:
                found.fields[at] = 1
                for key, one in _entries(own, value):
                    found.fields[f"{at}[{key}]"] = plan.read(one)
                    if isinstance(one, Message):
                        _once(one, f"{at}[{key}].", found)
            case _Shape.VALUES:
                found.lists[at] = list(dict.fromkeys(map(plan.read, value)))
            case _Shape.MESSAGES:
                _many(value, at, found.lists)
            case _Shape.OPAQUE:
                pass


def _many(messages: Sequence[Message], at: str, lists: Fields) -> None:
    """Describe all messages of one path at once."""
    lists[at] = len(messages)
    plans = _plans(messages[0].DESCRIPTOR)
    set_: dict[FieldDescriptor, list[Any]] = {}
    for message in messages:
        for own, value in message.ListFields():
            set_.setdefault(own, []).append(value)
    for own, some in set_.items():
        plan = plans[own.number]
        below = f"{at}.{plan.name}"
        match plan.shape:
            case _Shape.VALUE:
                lists[below] = _distinct(plan, some)
                if plan.default is not None and len(some) < len(messages):
                    lists[below].append(plan.default)
            case _Shape.VALUES:
                lists[below] = _distinct(plan, itertools.chain.from_iterable(some))
            case _Shape.MESSAGE:
                _many(some, below, lists)
            case _Shape.MESSAGES:
                _many(list(itertools.chain.from_iterable(some)), below, lists)
            case _Shape.MAP:
                _maps(own, some, below, lists)
            case _Shape.OPAQUE:
                pass


def _maps(own: FieldDescriptor, maps: Iterable[Any], at: str, lists: Fields) -> None:
    lists[at] = 1
    plan = _plans(own.containing_type)[own.number]
    by_key: dict[str, list[Any]] = {}
    for entries in maps:
        for key, one in _entries(own, entries):
            by_key.setdefault(f"{at}[{key}]", []).append(one)
    for key, ones in by_key.items():
        if isinstance(ones[0], Message):
            _many(ones, key, lists)
        else:
            lists[key] = _distinct(plan, ones)


def _distinct(plan: _Plan, some: Iterable[Any]) -> list[Normal]:
    return list(dict.fromkeys(map(plan.read, some)))


def _entries(own: FieldDescriptor, entries: Any) -> Iterable[tuple[str, Any]]:
    key = own.message_type.fields_by_name["key"] if own.message_type is not None else own
    if key.type != FieldDescriptor.TYPE_STRING:
        return ()
    # The order of a map means nothing, and is not the same twice.
    return ((_safe(key), entries[key]) for key in sorted(entries))


@functools.cache
def _plans(descriptor: Descriptor) -> dict[int, _Plan]:
    return {own.number: _plan(own) for own in descriptor.fields}


def _plan(own: FieldDescriptor) -> _Plan:
    value = leaf(Step(own))
    kind = values.type_of(value)
    inner = value.message_type
    if kind is not None:
        shape = _Shape.VALUES if own.is_repeated else _Shape.VALUE
    elif inner is None:
        # Bytes: nobody compares them, and whether there are any is known.
        shape = _Shape.VALUES if own.is_repeated else _Shape.VALUE
    elif inner.full_name.startswith("google.protobuf."):
        shape = _Shape.OPAQUE
    else:
        shape = _Shape.MESSAGES if own.is_repeated else _Shape.MESSAGE
    if is_map(own):
        shape = _Shape.MAP
    return _Plan(name=own.name, shape=shape, read=_reader(value, kind), default=_default(own))


def _reader(own: FieldDescriptor, kind: values.Type | None) -> Callable[[Any], Normal]:
    match kind:
        case None:
            return _there
        case values.Type.TEXT:
            return text_of
        case values.Type.WHOLE | values.Type.ENUM:
            return int
        case _:
            return functools.partial(normal, own)


def _there(_: Any) -> int:
    return 1


def _default(own: FieldDescriptor) -> Normal | None:
    if own.is_repeated or own.has_presence or own.type == FieldDescriptor.TYPE_BYTES:
        return None
    return normal(own, own.default_value)


def _safe(key: str) -> str:
    """A key of a map as a part of a key: no character that JSON, or a path into it, escapes."""
    return _UNSAFE.sub(lambda found: f"~{ord(found[0]):x}~", key)
