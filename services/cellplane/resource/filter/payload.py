"""What the bytes of a message hold wherever a value is in it (protobuf's wire format).

A field is written as its tag and its value, at every depth: whoever does not find these bytes in a
message need not read it. Values that are the default are not written, so nothing follows of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.descriptor import FieldDescriptor

from cellplane.resource import wire
from cellplane.resource.filter.bind import Path, leaf
from cellplane.resource.filter.values import Normal, Type, type_of

_PLAIN: Final = frozenset(
    {
        FieldDescriptor.TYPE_INT32,
        FieldDescriptor.TYPE_INT64,
        FieldDescriptor.TYPE_UINT32,
        FieldDescriptor.TYPE_UINT64,
        FieldDescriptor.TYPE_BOOL,
        FieldDescriptor.TYPE_ENUM,
    }
)


def of_value(path: Path, value: Normal) -> Sequence[bytes]:
    """Bytes that are there if the path has this value; none if nothing follows of it."""
    field = leaf(path[-1])
    found = list(of_keys(path))
    if isinstance(value, str) and type_of(field) is Type.TEXT and value:
        found.append(_text(field, value))
    elif isinstance(value, int) and field.type in _PLAIN and value > 0:
        # A list of numbers is packed: its tag stands once, before them all.
        number = wire.varint(value)
        found.append(number if field.is_repeated else wire.tag(field.number, wire.VARINT) + number)
    return found


def of_pieces(path: Path, pieces: Sequence[str]) -> Sequence[bytes]:
    """Bytes that are there if the path has a text of these pieces."""
    return [*of_keys(path), *(piece.encode() for piece in pieces if piece)]


def of_keys(path: Path) -> Sequence[bytes]:
    """Bytes of the keys that the path leads through."""
    return [
        _text(step.field.message_type.fields_by_name["key"], step.key)
        for step in path
        if step.key and step.field.message_type is not None
    ]


def _text(field: FieldDescriptor, text: str) -> bytes:
    return wire.tag(field.number, wire.LENGTH) + wire.text(text)
