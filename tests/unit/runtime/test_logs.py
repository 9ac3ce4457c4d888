"""Logs: one event is one line, whatever is in it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from cellplane.runtime import logs


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Leaves logging as it was."""
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    yield
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


@given(st.text())
def test_escaped_text_is_one_line(text: str) -> None:
    """Escaped text holds no character that starts a line or moves a cursor."""
    escaped = logs.escape(text)
    assert len(escaped.splitlines()) <= 1
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in escaped)


@pytest.mark.parametrize("format", ["json", "console"])
def test_an_event_is_one_line(format: Literal["json", "console"]) -> None:
    """A forged line in a field, and a traceback, stay within the event's own line."""
    stream = io.StringIO()
    logs.configure("info", format, "model", stream=stream)
    log = structlog.get_logger()
    log.info("event", name="x\n2030-01-01 [info] forged\x1b[2J", other={"a": "b\nc"})
    log.error("failed", exc_info=RuntimeError("a\nb"))
    logging.getLogger("library").warning("careful\nnow")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert "\x1b" not in stream.getvalue()
    assert "forged" in lines[0]
    assert "RuntimeError" in lines[1]
    assert "careful" in lines[2]


def test_json_carries_level_service_and_context() -> None:
    """A JSON line has its level, time, service, fields, and what is bound to the context."""
    stream = io.StringIO()
    logs.configure("info", "json", "model", stream=stream)
    with structlog.contextvars.bound_contextvars(request_id="abc"):
        structlog.get_logger().info("rpc", code="OK")
    structlog.get_logger().debug("unseen")
    (line,) = stream.getvalue().splitlines()
    event = json.loads(line)
    timestamp = event.pop("timestamp")
    assert timestamp.endswith("Z")
    assert event == {
        "event": "rpc",
        "code": "OK",
        "level": "info",
        "service": "model",
        "request_id": "abc",
    }
