"""What can be wrong, as values and as the few errors that cross a door.

``Problem`` is data: compilers and validators return all of them at once and never raise for user
input. The errors below are control flow across a door (gRPC, CLI): each leaf carries the gRPC
status that it means and a reason that is part of the API, so that ``rpc`` maps them in one place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar


class Severity(Enum):
    """How much a problem weighs."""

    ERROR = "ERROR"
    """Nothing is stored or compiled while it stands."""
    WARNING = "WARNING"
    """Accepted, but the author should know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One finding about one field.

    ``reason`` is stable, in UPPER_SNAKE_CASE, and part of the API. ``message`` is lower case and
    names the object, the value and the way out.
    """

    reason: str
    message: str
    field: str = ""
    """Path in the resource as it is written: ``endpoints[0].port``."""
    resource: str = ""
    """Resource name that the field belongs to; empty for the one at hand."""
    value: str = ""
    """The offending value as text, never a secret."""
    severity: Severity = Severity.ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Precondition:
    """Something that must be different before a call can succeed (AIP-193, PreconditionFailure)."""

    type: str
    subject: str
    description: str


class CellplaneError(Exception):
    """An answer that is not a result.

    Leaves set ``code`` (the name of a gRPC status) and ``reason`` (ErrorInfo.reason). ``metadata``
    holds every dynamic value of the message (AIP-193).
    """

    code: ClassVar[str] = ""
    default_reason: ClassVar[str] = ""

    def __init__(
        self, message: str, *, reason: str = "", metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata: Mapping[str, str] = dict(metadata or {})


class Invalid(CellplaneError):
    """The request is wrong in itself; carries every finding."""

    code = "INVALID_ARGUMENT"
    default_reason = "INVALID_ARGUMENT"

    def __init__(
        self,
        message: str,
        *,
        problems: Sequence[Problem] = (),
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.problems: tuple[Problem, ...] = tuple(problems)


class NotFound(CellplaneError):
    """The named resource does not exist, or the caller may not know that it does."""

    code = "NOT_FOUND"
    default_reason = "RESOURCE_NOT_FOUND"


class AlreadyExists(CellplaneError):
    """A resource of that name exists."""

    code = "ALREADY_EXISTS"
    default_reason = "RESOURCE_ALREADY_EXISTS"


class Conflict(CellplaneError):
    """The resource has changed since it was read: a stale etag or a lost race (AIP-154)."""

    code = "ABORTED"
    default_reason = "ETAG_MISMATCH"


class FailedPrecondition(CellplaneError):
    """The request is right, but not now; says what must be different first."""

    code = "FAILED_PRECONDITION"
    default_reason = "FAILED_PRECONDITION"

    def __init__(
        self,
        message: str,
        *,
        preconditions: Sequence[Precondition] = (),
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.preconditions: tuple[Precondition, ...] = tuple(preconditions)


class PermissionDenied(CellplaneError):
    """The caller is known, and may not do this (or the resource might not exist, AIP-211)."""

    code = "PERMISSION_DENIED"
    default_reason = "PERMISSION_DENIED"


class Unauthenticated(CellplaneError):
    """The caller has shown no valid credentials."""

    code = "UNAUTHENTICATED"
    default_reason = "UNAUTHENTICATED"


class ResourceExhausted(CellplaneError):
    """A limit was reached; the message names it."""

    code = "RESOURCE_EXHAUSTED"
    default_reason = "RESOURCE_EXHAUSTED"


class OutOfRange(CellplaneError):
    """A resume token is too old: list again."""

    code = "OUT_OF_RANGE"
    default_reason = "RESUME_TOKEN_TOO_OLD"


class Unavailable(CellplaneError):
    """Try again: something that this call needs does not answer now (AIP-194)."""

    code = "UNAVAILABLE"
    default_reason = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Findings:
    """Problems as they are collected, with the path of the place at hand."""

    problems: list[Problem] = field(default_factory=list)
    path: str = ""
    resource: str = ""

    def at(self, step: str | int) -> Findings:
        """Go one field (``str``) or one list index (``int``) deeper; findings stay shared."""
        if isinstance(step, int):
            path = f"{self.path}[{step}]"
        else:
            path = f"{self.path}.{step}" if self.path else step
        return Findings(self.problems, path, self.resource)

    def add(
        self, reason: str, message: str, *, value: str = "", severity: Severity = Severity.ERROR
    ) -> None:
        """Record one finding about the place at hand."""
        self.problems.append(
            Problem(
                reason=reason,
                message=message,
                field=self.path,
                resource=self.resource,
                value=value,
                severity=severity,
            )
        )
