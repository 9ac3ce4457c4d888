"""The contract's own rules (lengths, ranges, patterns) on one resource, with the places of fields.

The same rules hold at the server's door. Here they cost no call, and have a line.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterator
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from cellplane.cell.problem import Invalid, Problem
from cellplane.cli.documents.places import Finding, Places
from cellplane.cli.documents.scalars import enum_words
from cellplane.rpc.validation import Requests

_STEP: Final = re.compile(r"\[[^\]]*\]")
_MISSING: Final = frozenset({"REQUIRED", "STRING_MIN_LEN", "REPEATED_MIN_ITEMS", "ENUM_NOT_IN"})


@functools.cache
def _rules() -> Requests:
    return Requests()


def violations(resource: Message, places: Places, known: Collection[str]) -> Iterator[Finding]:
    """Yield what breaks a rule, but for fields about which something is *known* already."""
    try:
        _rules().check(resource)
    except Invalid as invalid:
        for problem in invalid.problems:
            if problem.field in known or any(
                wrong == "" or problem.field.startswith((f"{wrong}.", f"{wrong}["))
                for wrong in known
            ):
                continue
            yield Finding(
                place=places.of(problem.field),
                field=problem.field,
                message=_words(problem, resource, places),
            )


def _words(problem: Problem, resource: Any, places: Places) -> str:
    field = _field(resource.DESCRIPTOR, problem.field)
    enum = field.enum_type if field is not None else None
    if problem.reason in _MISSING and problem.field not in places.fields:
        if enum is not None:
            return f"is missing: write one of {', '.join(enum_words(enum))}"
        return "is missing"
    if enum is not None:
        return f"write one of {', '.join(enum_words(enum))}"
    value = _value(resource, problem.field)
    return f"{value}: {problem.message}" if value else problem.message


def _field(descriptor: Descriptor, path: str) -> FieldDescriptor | None:
    found: FieldDescriptor | None = None
    current: Descriptor | None = descriptor
    for step in _STEP.sub("", path).split("."):
        found = current.fields_by_name.get(step) if current is not None else None
        if found is None:
            return None
        current = found.message_type
    return found


def _value(resource: Message, path: str) -> str:
    """The offending value, where it is one word."""
    current: Any = resource
    for step in re.findall(r"[a-z0-9_]+|\[[0-9]+\]", path):
        try:
            index = step.startswith("[")
            current = current[int(step[1:-1])] if index else getattr(current, step)
        except (AttributeError, IndexError, KeyError, TypeError):
            return ""
    if isinstance(current, str):
        return f'"{current[:64]}"'
    return str(current) if isinstance(current, int | float) else ""
