"""What is said of schemas: what is wrong with one, and what changed between two.

A change is judged by those who use the schema. Who *writes* a value (a request) is broken by a
schema that takes less than before; who *reads* one (a response, an event, data) by a schema that
gives other than before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum


class Weight(Enum):
    """How much a change matters to those who use the schema."""

    BREAKING = "BREAKING"
    """Who uses it as it was fails."""
    DANGEROUS = "DANGEROUS"
    """Who uses it as it was can fail."""
    COMPATIBLE = "COMPATIBLE"
    """Nobody fails."""


_ORDER = {weight: number for number, weight in enumerate(Weight)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that changed."""

    weight: Weight
    place: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """One thing that is wrong with a schema."""

    message: str
    path: str = ""
    """Where in the document: ``paths./orders.get``."""
    line: int = 0
    """From 1; 0 where it is not known."""

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        return f"{where}{self.path}: {self.message}" if self.path else f"{where}{self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a schema says of itself, or why it cannot be read."""

    wrong: tuple[Wrong, ...] = ()
    title: str = ""
    version: str = ""
    operations: tuple[str, ...] = ()


@dataclass(slots=True)
class Changes:
    """Findings as they are collected."""

    found: list[Finding] = field(default_factory=list)

    def breaking(self, place: str, reason: str, message: str) -> None:
        """Note what breaks users."""
        self._add(Weight.BREAKING, place, reason, message)

    def dangerous(self, place: str, reason: str, message: str) -> None:
        """Note what can break users."""
        self._add(Weight.DANGEROUS, place, reason, message)

    def compatible(self, place: str, reason: str, message: str) -> None:
        """Note what is worth knowing."""
        self._add(Weight.COMPATIBLE, place, reason, message)

    def _add(self, weight: Weight, place: str, reason: str, message: str) -> None:
        self.found.append(Finding(weight=weight, place=place, reason=reason, message=message))


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each once, what breaks users first, then by place."""
    return tuple(
        sorted(set(findings), key=lambda f: (_ORDER[f.weight], f.place, f.reason, f.message))
    )
