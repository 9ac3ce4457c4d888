"""Resource names by their patterns (AIP-122)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from cellplane.cell.names import is_id
from cellplane.cell.problem import Findings, Invalid, Problem

ACROSS = "-"
"""Reads across a collection, in a parent (AIP-159)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """One kind of resource, and how it is named."""

    kind: str
    """Such as ``Component``."""
    message: type[Message]
    pattern: str
    """Such as ``organizations/{organization}/projects/{project}``."""
    field: str
    """Of the resource in requests, such as ``component``."""
    parent_is_here: bool = True
    """Whether the parent is kept by this service, and so must exist."""

    @property
    def parent_pattern(self) -> str:
        """Pattern of the parent; empty at the top."""
        return "/".join(self.pattern.split("/")[:-2])

    @property
    def segment(self) -> str:
        """The collection's own segment, such as ``components``."""
        return self.pattern.split("/")[-2]

    def name(self, parent: str, id: str) -> str:
        """Make a name."""
        return f"{parent}/{self.segment}/{id}" if parent else f"{self.segment}/{id}"

    def parse(self, name: str, *, field: str = "name") -> Mapping[str, str]:
        """Read the ids out of a name; raises ``Invalid`` that names *field*."""
        return _match(self.pattern, name, field, across=False)

    def parse_parent(
        self, parent: str, *, across: bool, field: str = "parent"
    ) -> Mapping[str, str]:
        """Read the ids out of a parent, ``-`` among them where *across* is allowed."""
        return _match(self.parent_pattern, parent, field, across=across)


def require_parent_of(parent: str, names: Sequence[str]) -> None:
    """Raise ``Invalid`` where a name is not below the parent that a batch names (AIP-231)."""
    wanted = parent.split("/")
    findings = Findings()
    for index, name in enumerate(names):
        given = name.split("/")[: len(wanted)]
        if any(one not in (ACROSS, other) for one, other in zip(wanted, given, strict=True)):
            findings.at("names").at(index).add(
                "PARENT_DIFFERS", f"{name} is not below {parent}", value=name
            )
    if findings.problems:
        raise Invalid(
            findings.problems[0].message,
            problems=findings.problems,
            metadata={"parent": parent, "name": findings.problems[0].value},
        )


def _match(pattern: str, name: str, field: str, *, across: bool) -> Mapping[str, str]:
    wanted = pattern.split("/") if pattern else []
    given = name.split("/") if name else []
    ids: dict[str, str] = {}
    fits = len(wanted) == len(given)
    for expected, actual in zip(wanted, given, strict=False):
        if not expected.startswith("{"):
            fits = fits and expected == actual
        elif is_id(actual) or (across and actual == ACROSS):
            ids[expected[1:-1]] = actual
        else:
            fits = False
    if fits:
        return ids
    shown = re.sub(r"\{[^}]*\}", "*", pattern) or "empty"
    problem = Problem(
        reason="RESOURCE_NAME_INVALID",
        message=f'{field} "{name}" is not a name like {shown}; ids are lower case, 1 to 63 long, '
        "and start with a letter",
        field=field,
        value=name,
    )
    raise Invalid(problem.message, problems=[problem], metadata={"name": name})
