"""What an API server can answer instead of a result, as few kinds as callers treat apart.

Callers match on ``Failure``, never on status codes: two codes that mean the same are one kind here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final


class Failure(Enum):
    """What to do about it."""

    CONFLICT = "CONFLICT"
    """Another manager owns a field, or the object is not the one that was meant."""
    FORBIDDEN = "FORBIDDEN"
    """These credentials may not, or an admission rule or a quota says no."""
    INVALID = "INVALID"
    """The object is wrong in itself; sending it again does not help."""
    NOT_FOUND = "NOT_FOUND"
    EXPIRED = "EXPIRED"
    """The resource version is too old: list again."""
    TOO_MANY = "TOO_MANY"
    """Slow down; ``retry_after`` says how long."""
    UNAVAILABLE = "UNAVAILABLE"
    """No answer, or none that means anything: try again."""


class ApiFailure(Exception):
    """A request that had no result."""

    def __init__(
        self, kind: Failure, message: str, *, status: int = 0, retry_after: float = 0.0
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.status = status
        self.retry_after = retry_after


_BY_STATUS: Final[Mapping[int, Failure]] = {
    400: Failure.INVALID,
    401: Failure.FORBIDDEN,
    403: Failure.FORBIDDEN,
    404: Failure.NOT_FOUND,
    405: Failure.INVALID,
    409: Failure.CONFLICT,
    410: Failure.EXPIRED,
    413: Failure.INVALID,
    415: Failure.INVALID,
    422: Failure.INVALID,
    429: Failure.TOO_MANY,
}


def failure_of(status: int, body: bytes, retry_after: str = "") -> ApiFailure:
    """Read the ``Status`` object of an answer that is not 2xx."""
    message = ""
    try:
        parsed: Any = json.loads(body)
        message = parsed.get("message", "") if isinstance(parsed, dict) else ""
    except ValueError:
        message = body[:300].decode(errors="replace").strip()
    kind = _BY_STATUS.get(status, Failure.UNAVAILABLE)
    return ApiFailure(
        kind,
        message or f"API server answered {status}",
        status=status,
        retry_after=_seconds(retry_after),
    )


def _seconds(text: str) -> float:
    try:
        return float(text) if text else 0.0
    except ValueError:
        return 0.0
