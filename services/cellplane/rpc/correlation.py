"""What ties the calls of one request together: its id, and its W3C trace parent.

Set once per incoming call, and sent on with every call that the handler makes.
"""

from __future__ import annotations

import os
import re
from contextvars import ContextVar
from dataclasses import dataclass

REQUEST_ID_KEY = "x-request-id"
TRACEPARENT_KEY = "traceparent"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.{0,256})?")
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16


@dataclass(frozen=True, slots=True)
class Correlation:
    """Ids of one request."""

    request_id: str = ""
    traceparent: str = ""

    @property
    def trace_id(self) -> str:
        """Trace id in hex; empty without a trace."""
        return self.traceparent[3:35]


_NONE = Correlation()

_current: ContextVar[Correlation] = ContextVar("cellplane_correlation", default=_NONE)


def current() -> Correlation:
    """Ids of the request at hand; empty outside of one."""
    return _current.get()


def enter(correlation: Correlation) -> None:
    """Set the ids for the rest of this task."""
    _current.set(correlation)


def new_request_id() -> str:
    """Sixteen hex digits that nobody has used."""
    return os.urandom(8).hex()


def read_request_id(text: str) -> str:
    """The caller's id if it is one (64 characters of ``A-Za-z0-9._:-``), else a new one."""
    return text if text and _REQUEST_ID.fullmatch(text) else new_request_id()


def read_traceparent(text: str) -> str:
    """The header if it is well formed (W3C Trace Context, section 3.2), else nothing."""
    match = _TRACEPARENT.fullmatch(text)
    if match is None or text.startswith("ff") or match[1] == _NO_TRACE or match[2] == _NO_SPAN:
        return ""
    return text
