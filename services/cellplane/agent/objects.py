"""What the agent works with: objects that are wanted, what was applied, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from cellplane.cell.manifest import ObjectKey, Phase
from cellplane.runtime.linkdigest import DigestedObject, objects_digest


class Outcome(Enum):
    """What became of one object; the values are those of the contract."""

    CREATED = "CREATED"
    CHANGED = "CHANGED"
    SAME = "SAME"
    REMOVED = "REMOVED"
    CONFLICT = "CONFLICT"
    FORBIDDEN = "FORBIDDEN"
    INVALID = "INVALID"
    FAILED = "FAILED"
    BLOCKED = "BLOCKED"
    KEPT = "KEPT"


DONE = frozenset({Outcome.CREATED, Outcome.CHANGED, Outcome.SAME, Outcome.REMOVED, Outcome.KEPT})
LASTING = frozenset({Outcome.CONFLICT, Outcome.FORBIDDEN, Outcome.INVALID})
"""Failures that only a change by a person or a tool can help; they are tried again all the same."""


class Verdict(Enum):
    """What the agent did with a Want; the values are those of the contract."""

    ACCEPTED = "ACCEPTED"
    BASE_MISMATCH = "BASE_MISMATCH"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An object as it is wanted."""

    key: ObjectKey
    phase: Phase
    part: str
    digest: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """An object that is to go. ``phase`` and ``part`` are those that it was applied with."""

    key: ObjectKey
    phase: Phase
    part: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """That an object was applied.

    ``residual`` holds, by JSON pointer, the fields that the server made other than they were
    written (normal forms, webhooks): they are no drift while they stay so. A value of ``None``
    says that the field was absent; any other one is in a list of one.
    """

    digest: str
    uid: str
    residual: Mapping[str, list[Any] | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one object of a revision."""

    key: ObjectKey
    outcome: Outcome
    message: str = ""
    part: str = ""


@dataclass(slots=True, kw_only=True)
class CellState:
    """One Cell, as it is stored: what is wanted, what is to go, and what was applied."""

    cell: str
    namespace: str
    revision: int = 0
    digest: str = ""
    """Digest over the wanted objects; empty for a Cell that is being removed."""
    removed: bool = False
    applied_revision: int = 0
    objects: dict[ObjectKey, Wanted] = field(default_factory=dict)
    removals: dict[ObjectKey, Removal] = field(default_factory=dict)
    marks: dict[ObjectKey, Mark] = field(default_factory=dict)

    def is_applied(self, wanted: Wanted) -> bool:
        """Whether an object was applied last as it is wanted."""
        mark = self.marks.get(wanted.key)
        return mark is not None and mark.digest == wanted.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedObject:
    """An object that a Want names."""

    key: ObjectKey
    phase: Phase
    part: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """What is wanted of one Cell; see the contract."""

    cell: str
    revision: int
    base_revision: int
    nonce: str
    objects: tuple[WantedObject, ...]
    removals: tuple[ObjectKey, ...]
    digest: str
    namespace: str
    removed: bool


def digest_of(objects: Mapping[ObjectKey, Wanted]) -> str:
    """Digest the objects of a revision, as the control plane does."""
    return objects_digest(
        DigestedObject(
            api_version=wanted.key.api_version,
            kind=wanted.key.kind,
            namespace=wanted.key.namespace,
            object=wanted.key.object,
            phase=wanted.phase.value,
            part=wanted.part,
            digest=wanted.digest,
        )
        for wanted in objects.values()
    )


def kinds_of(states: Iterable[CellState]) -> set[tuple[str, str]]:
    """The kinds that these Cells have objects of: pairs of ``apiVersion`` and ``kind``."""
    return {
        (key.api_version, key.kind) for state in states for key in (*state.objects, *state.removals)
    }
