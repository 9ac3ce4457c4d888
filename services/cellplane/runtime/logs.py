"""Logs: one event, one line, on standard error, with fields instead of sentences.

Text from outside may hold line breaks and terminal codes; they are escaped, so that nobody can
forge a line. Called once, from ``__main__``.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import Processor

_SOON = 0.02
"""Seconds until a line is written."""
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
    # line and paragraph separators, and the marks that turn the direction of text
    **{code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *range(0x202A, 0x202F))},
    **{code: f"\\u{code:04x}" for code in range(0x2066, 0x206A)},
}


def escape(text: str) -> str:
    """Write control characters, line separators and direction marks as escapes."""
    return text.translate(_CONTROL)


def configure(
    level: str, format: Literal["json", "console"], service: str, *, stream: TextIO | None = None
) -> None:
    """Set up structlog, and send the standard library's loggers the same way."""
    target = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]

    def add_service(
        _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    render: list[Processor] = (
        # JSON escapes by itself, and leaves nothing outside ASCII to be read as a line break.
        [structlog.processors.JSONRenderer(ensure_ascii=True, default=str)]
        if format == "json"
        else [_escape_values, structlog.dev.ConsoleRenderer(colors=target.isatty())]
    )
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=_Lines(target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries log what they do at INFO; only what they complain about matters to an operator.
    root.setLevel(max(number, logging.WARNING) if number > logging.DEBUG else logging.INFO)


class _Lines:
    """Writes lines: what went wrong at once, all else together with what comes a moment later.

    A write lets another thread take over, so one for each call would cost more than the call.
    """

    def __init__(self, target: TextIO) -> None:
        self._target = target
        self._waiting: list[str] = []
        self._is_due = False
        atexit.register(self._write)

    def __call__(self, *_: Any) -> _Lines:
        return self

    def info(self, line: str) -> None:
        """Write a line soon: now, where no loop runs."""
        self._waiting.append(line)
        if self._is_due:
            return
        try:
            asyncio.get_running_loop().call_later(_SOON, self._write)
        except RuntimeError:
            self._write()
        else:
            self._is_due = True

    debug = info

    def error(self, line: str) -> None:
        """Write a line now, and what was to be written."""
        self._waiting.append(line)
        self._write()

    warning = warn = critical = exception = fatal = msg = log = error

    def _write(self) -> None:
        self._is_due = False
        waiting, self._waiting = self._waiting, []
        if waiting and not self._target.closed:
            self._target.write("\n".join((*waiting, "")))
            self._target.flush()


def _escape_values(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = escape(value)
        elif not isinstance(value, (int, float, bool, type(None))):
            event[key] = escape(str(value))
    # Under their own names the renderer would give them lines of their own.
    for name in ("exception", "stack"):
        if name in event:
            event[f"{name}_text"] = event.pop(name)
    return event
