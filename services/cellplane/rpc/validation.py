"""Requests against the rules written in their contracts (protovalidate), all findings at once.

The engine is young, so that it is known to this module alone. Reasons are the rule ids in
UPPER_SNAKE_CASE: they are part of the API as the contracts are.
"""

from __future__ import annotations

import re

import protovalidate
from google.protobuf.message import Message

from cellplane.cell.problem import Invalid, Problem

_NOT_WORD = re.compile(r"[^A-Za-z0-9]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


class Requests:
    """Checks request messages; keeps the compiled rules of each type that it has seen."""

    __slots__ = ("_validator",)

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()

    def check(self, message: Message) -> None:
        """Return when the message keeps its rules; raise ``Invalid`` with every violation."""
        violations = self._validator.collect_violations(message)
        if not violations:
            return
        problems = [_problem(violation) for violation in violations]
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        where = f"{first.field}: " if first.field else ""
        raise Invalid(
            f"request is invalid: {where}{first.message}{more}",
            problems=problems,
            reason="REQUEST_INVALID",
        )


def _problem(violation: protovalidate.Violation) -> Problem:
    found = violation.proto
    rule = found.rule_id or "invalid"
    message = found.message or f"breaks rule {rule}"
    return Problem(reason=_reason(rule), message=message, field=_path(found.field))


def _reason(rule: str) -> str:
    return _NOT_WORD.sub("_", _CAMEL.sub("_", rule)).strip("_").upper()


def _path(path: protovalidate.FieldPathPb | None) -> str:
    """``endpoints[0].labels["a"].port``: proto names, as AIP-193 asks."""
    text = ""
    for element in path.elements if path is not None else ():
        text += f".{element.field_name}" if text else element.field_name
        subscript = element.subscript
        if subscript is None:
            continue
        match subscript.field:
            case "index":
                text += f"[{subscript.value}]"
            case "string_key":
                text += f'["{subscript.value}"]'
            case _:
                text += f"[{str(subscript.value).lower()}]"
    return text
