"""Rows as text, the same from either database, and a digest of them that no order changes."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

_MODULUS: Final = 1 << 256


class Digest:
    """The sum of the digests of rows: databases sort texts each in their own way."""

    def __init__(self) -> None:
        self._sum = 0
        self.count = 0

    def add(self, line: bytes) -> None:
        """Take a row in."""
        self._sum += int.from_bytes(hashlib.sha256(line).digest())
        self.count += 1

    @property
    def text(self) -> str:
        """The digest, in hex."""
        return f"{self._sum % _MODULUS:064x}"


def write(row: Iterable[Any]) -> bytes:
    """A row as one line of JSON."""
    return json.dumps(
        [_plain(value) for value in row], ensure_ascii=False, separators=(",", ":")
    ).encode()


def read(line: bytes) -> list[Any]:
    """A row as it was."""
    return [_value(value) for value in json.loads(line)]


def _plain(value: Any) -> Any:
    match value:
        case bytes() | memoryview():
            return {"bytes": base64.b64encode(value).decode()}
        case datetime():
            # SQLite knows no zones: what it has is UTC.
            aware = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
            return {"time": aware.astimezone(UTC).isoformat()}
        case dict():
            return {"json": value}
        case _:
            return value


def _value(value: Any) -> Any:
    match value:
        case {"bytes": text}:
            return base64.b64decode(text)
        case {"time": text}:
            return datetime.fromisoformat(text)
        case {"json": content}:
            return content
        case _:
            return value
