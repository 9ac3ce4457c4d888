"""Text to values of a field's type; ``Unfit`` says what the field wants instead.

Nothing is guessed: what another type could have meant is a finding, with the way to write it.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import re
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

if TYPE_CHECKING:
    # Only what reads documents needs the library that reads YAML.
    from cellplane.cli.documents.nodes import Scalar

NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN: Final = {"true": True, "True": True, "TRUE": True} | dict.fromkeys(
    ("false", "False", "FALSE"), False
)
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DURATION_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]{1,9})?)(ms|s|m|h|d)")
_NANOS: Final = {
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
_RANGES: Final = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_LONG: Final = frozenset({FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64})


class Unfit(Exception):
    """The text is no value of the field; says what is."""


def is_null(node: object) -> bool:
    """Tell whether something is there, but says nothing."""
    from cellplane.cli.documents.nodes import Scalar

    return isinstance(node, Scalar) and node.plain and node.text in NULL


def value_of(scalar: Scalar, field: FieldDescriptor) -> Any:
    """Read a scalar as what *field* holds. Raises ``Unfit``."""
    if field.enum_type is not None:
        return enum_number(scalar.text, field.enum_type)
    kind = field.cpp_type
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes(scalar)
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return _string(scalar)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        if scalar.plain and scalar.text in _BOOLEAN:
            return _BOOLEAN[scalar.text]
        raise Unfit(f"{shown(scalar)} is neither true nor false: write one of them")
    if kind in _RANGES:
        return _integer(scalar, field)
    if scalar.plain and _FLOAT.fullmatch(scalar.text):
        return float(scalar.text)
    raise Unfit(f"{shown(scalar)} is not a number: write one")


def _string(scalar: Scalar) -> str:
    if not scalar.plain:
        return scalar.text
    if scalar.text in _BOOLEAN:
        raise Unfit(f'{scalar.text} is not text: write "{scalar.text}"')
    if _INTEGER.fullmatch(scalar.text) or _FLOAT.fullmatch(scalar.text):
        raise Unfit(f'{scalar.text} is a number, and text is wanted: write "{scalar.text}"')
    return scalar.text


def _integer(scalar: Scalar, field: FieldDescriptor) -> int:
    text = scalar.text
    # JSON writes 64-bit numbers as strings, as the wire's own JSON does.
    if not _INTEGER.fullmatch(text) or not (scalar.plain or field.cpp_type in _LONG):
        raise Unfit(f"{shown(scalar)} is not a whole number: write one without quotes")
    number = int(text) if len(text) < 32 else 2**100
    low, high = _RANGES[field.cpp_type]
    if not low <= number <= high:
        raise Unfit(f"{text} is out of range: write a number from {low} to {high}")
    return number


def _bytes(scalar: Scalar) -> bytes:
    try:
        return base64.b64decode(scalar.text, validate=True)
    except (binascii.Error, ValueError):
        raise Unfit("is not base64: encode it") from None


def enum_number(text: str, enum: EnumDescriptor) -> int:
    """The number of a value by its name, with or without the enum's own prefix."""
    prefix = enum_prefix(enum)
    for name in (text, prefix + text):
        value = enum.values_by_name.get(name)
        if value is not None:
            return int(value.number)
    words = enum_words(enum)
    close = difflib.get_close_matches(text.upper(), words, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise Unfit(f'"{text}" is no value: {hint}write one of {", ".join(words)}')


def enum_words(enum: EnumDescriptor) -> list[str]:
    """What can be written: every value but the one that stands for nothing."""
    prefix = enum_prefix(enum)
    return [value.name.removeprefix(prefix) for value in enum.values if value.number]


def enum_prefix(enum: EnumDescriptor) -> str:
    """``PROTOCOL_`` of ``PROTOCOL_UNSPECIFIED``; nothing where values carry none."""
    zero = str(enum.values_by_number[0].name)
    stem = zero.removesuffix("UNSPECIFIED")
    return stem if all(value.name.startswith(stem) for value in enum.values) else ""


def read_duration(scalar: Scalar, into: Duration) -> None:
    """Read ``20s``, ``1h30m`` or ``250ms``. Raises ``Unfit``."""
    parts = _DURATION_PART.findall(scalar.text)
    if not parts or "".join(number + unit for number, unit in parts) != scalar.text:
        raise Unfit(f"{shown(scalar)} is not a duration: write one such as 20s or 1m30s")
    nanos = 0
    for number, unit in parts:
        whole, _, fraction = number.partition(".")
        nanos += int(whole) * _NANOS[unit]
        nanos += int(fraction or 0) * _NANOS[unit] // 10 ** len(fraction)
    into.seconds, into.nanos = divmod(nanos, 10**9)


def read_time(scalar: Scalar, into: Timestamp) -> None:
    """Read RFC 3339. Raises ``Unfit``."""
    try:
        into.FromJsonString(scalar.text)
    except ValueError:
        raise Unfit(
            f"{shown(scalar)} is not a time: write one such as 2026-01-31T08:00:00Z"
        ) from None


def shown(scalar: Scalar) -> str:
    """A scalar as it was written, cut short."""
    text = scalar.text if len(scalar.text) <= 40 else scalar.text[:39] + "…"
    return text if scalar.plain and text else f'"{text}"'
