"""Values in one form that compares alike in Python, in SQLite and in PostgreSQL, and is JSON.

Text is itself, enums are their numbers, truth is 0 or 1; times and durations are text of a fixed
width, so that they sort as they follow each other.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import Enum
from typing import Any, Final, TypeAlias

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

Normal: TypeAlias = str | int | float

TIMESTAMP: Final = "google.protobuf.Timestamp"
DURATION: Final = "google.protobuf.Duration"
_NANOS: Final = 10**9
_OFFSETS: Final = {TIMESTAMP: 62_135_596_800, DURATION: 315_576_000_000}
"""Seconds that make the least value 0."""
_DURATION_TEXT: Final = re.compile(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?s")
_TIME_TEXT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)"
)
_WHOLE: Final = re.compile(r"-?\d{1,20}")
_BOUNDS: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


class Type(Enum):
    """What a field holds; the value is how people call it."""

    TEXT = "text"
    WHOLE = "a whole number"
    NUMBER = "a number"
    TRUTH = "true or false"
    ENUM = "one of its values"
    TIME = "a time such as 2026-01-31T12:00:00Z"
    DURATION = "a duration such as 20s"


_TYPES: Final = {
    FieldDescriptor.CPPTYPE_STRING: Type.TEXT,
    FieldDescriptor.CPPTYPE_INT32: Type.WHOLE,
    FieldDescriptor.CPPTYPE_INT64: Type.WHOLE,
    FieldDescriptor.CPPTYPE_UINT32: Type.WHOLE,
    FieldDescriptor.CPPTYPE_UINT64: Type.WHOLE,
    FieldDescriptor.CPPTYPE_DOUBLE: Type.NUMBER,
    FieldDescriptor.CPPTYPE_FLOAT: Type.NUMBER,
    FieldDescriptor.CPPTYPE_BOOL: Type.TRUTH,
    FieldDescriptor.CPPTYPE_ENUM: Type.ENUM,
}


def type_of(field: FieldDescriptor) -> Type | None:
    """What one value of a field is; ``None`` of a message that is no value, and of bytes."""
    if field.message_type is not None:
        known = {TIMESTAMP: Type.TIME, DURATION: Type.DURATION}
        return known.get(field.message_type.full_name)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return None
    return _TYPES[field.cpp_type]


def is_map(field: FieldDescriptor) -> bool:
    """Whether a field is a map."""
    entry = field.message_type
    return bool(field.is_repeated and entry is not None and entry.GetOptions().map_entry)


def normal(field: FieldDescriptor, value: Any) -> Normal:
    """One value of a field in the form that is compared."""
    if field.message_type is not None:
        return _wide(field.message_type.full_name, value.seconds * _NANOS + value.nanos)
    if isinstance(value, bool):
        return int(value)
    found: Normal = value
    return found


def read(field: FieldDescriptor, text: str) -> Normal | None:
    """A value as people write it; ``None`` if it is none of this field."""
    match type_of(field):
        case Type.TEXT:
            return text
        case Type.WHOLE:
            low, high = _BOUNDS[field.cpp_type]
            if not _WHOLE.fullmatch(text) or not low <= int(text) <= high:
                return None
            return int(text)
        case Type.NUMBER:
            return _number(text)
        case Type.TRUTH:
            return {"true": 1, "false": 0}.get(text)
        case Type.ENUM:
            return None if field.enum_type is None else enum_values(field.enum_type).get(text)
        case Type.TIME:
            return _time(text)
        case Type.DURATION:
            return _duration(text)
        case None:
            return None


def enum_values(enum: EnumDescriptor) -> dict[str, int]:
    """Numbers by name; the prefix that all names share may be left out."""
    stem = enum.values[0].name.removesuffix("UNSPECIFIED")
    shared = all(value.name.startswith(stem) for value in enum.values)
    short = {v.name.removeprefix(stem): v.number for v in enum.values} if shared else {}
    return short | {value.name: value.number for value in enum.values}


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if found - found == 0 else None


def _duration(text: str) -> str | None:
    found = _DURATION_TEXT.fullmatch(text)
    if found is None:
        return None
    sign, seconds, fraction = found.groups()
    nanos = int(seconds) * _NANOS + int((fraction or "").ljust(9, "0"))
    if nanos > _OFFSETS[DURATION] * _NANOS:
        return None
    return _wide(DURATION, -nanos if sign else nanos)


def _time(text: str) -> str | None:
    found = _TIME_TEXT.fullmatch(text)
    if found is None:
        return None
    whole, fraction, zone = found.groups()
    try:
        at = datetime.fromisoformat(whole.upper() + zone.upper().replace("Z", "+00:00"))
        seconds = round(at.timestamp())
    except (ValueError, OverflowError):
        return None
    nanos = int((fraction or "").ljust(9, "0"))
    if not 0 <= seconds + _OFFSETS[TIMESTAMP] < 315_537_897_600:
        return None
    return _wide(TIMESTAMP, seconds * _NANOS + nanos)


def _wide(kind: str, nanos: int) -> str:
    return f"{nanos + _OFFSETS[kind] * _NANOS:021d}"


def to_nanos(kind: str, wide: str) -> int:
    """Nanoseconds since the epoch, or of the duration, of the wide form."""
    return int(wide) - _OFFSETS[kind] * _NANOS
