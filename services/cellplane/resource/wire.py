"""What a message is as bytes, as far as that is of use before it is one (protobuf, encoding)."""

from __future__ import annotations

from typing import Final

VARINT: Final = 0
LENGTH: Final = 2


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def tag(number: int, wire: int) -> bytes:
    """What stands before the value of a field."""
    return varint(number << 3 | wire)


def text(value: str) -> bytes:
    """A text as protobuf writes it behind its field's tag."""
    data = value.encode()
    return varint(len(data)) + data
