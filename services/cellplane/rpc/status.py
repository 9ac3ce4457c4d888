"""Errors on the wire: one mapping from ``CellplaneError`` to ``google.rpc.Status``, and back.

Details follow AIP-193: ErrorInfo always, then what the kind of error calls for. Trailers are small
(peers refuse 8 to 16 KiB of metadata), so long lists are cut, and say by how much.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2 as details_pb2
from google.rpc import status_pb2

from cellplane.cell.problem import (
    AlreadyExists,
    CellplaneError,
    Conflict,
    FailedPrecondition,
    Invalid,
    NotFound,
    OutOfRange,
    PermissionDenied,
    Precondition,
    Problem,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)

DOMAIN = "cellplane.dev"
HELP = "https://cellplane.dev/docs/errors#"
"""Where docs/errors.md is read: a heading for each status."""
DETAILS_KEY = "grpc-status-details-bin"
REQUEST_ID_KEY = "x-request-id"

MAX_MESSAGE = 1024
"""Bytes of a status message."""
MAX_DETAILS = 5 * 1024
"""Bytes of all details together."""
MAX_TEXT = 512
"""Bytes of one description or metadata value."""

RETRY_AFTER_KEY = "retry_after_seconds"
"""Metadata of an ``Unavailable`` or ``ResourceExhausted`` that sets its RetryInfo."""
_RETRY_AFTER = {"UNAVAILABLE": 1.0, "RESOURCE_EXHAUSTED": 5.0}

_LEAVES: tuple[type[CellplaneError], ...] = (
    Invalid,
    NotFound,
    AlreadyExists,
    Conflict,
    FailedPrecondition,
    PermissionDenied,
    Unauthenticated,
    ResourceExhausted,
    OutOfRange,
    Unavailable,
)


class Internal(CellplaneError):
    """Something of ours broke; the caller gets an id, the log gets the rest."""

    code = "INTERNAL"
    default_reason = "INTERNAL"


class DeadlineExceeded(CellplaneError):
    """The work took longer than the caller, or the server, allows."""

    code = "DEADLINE_EXCEEDED"
    default_reason = "DEADLINE_EXCEEDED"


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcFailure:
    """A failed call, read whole."""

    code: str
    """Name of the gRPC status."""
    reason: str
    """Stable reason; the code's name when the server gave none."""
    message: str
    metadata: dict[str, str] = field(default_factory=dict)
    violations: tuple[Problem, ...] = ()
    preconditions: tuple[Precondition, ...] = ()
    request_id: str = ""
    retry_after: float | None = None
    """Seconds."""

    def to_error(self) -> CellplaneError:
        """The error of ours that this failure was, or ``Unavailable`` for what is none of them."""
        text, reason, metadata = self.message, self.reason, self.metadata
        if self.code == Invalid.code:
            return Invalid(text, problems=self.violations, reason=reason, metadata=metadata)
        if self.code == FailedPrecondition.code:
            return FailedPrecondition(
                text, preconditions=self.preconditions, reason=reason, metadata=metadata
            )
        for leaf in _LEAVES:
            if leaf.code == self.code:
                return leaf(text, reason=reason, metadata=metadata)
        return Unavailable(text, reason=reason, metadata=metadata)


def code_of(error: CellplaneError) -> grpc.StatusCode:
    """The status that an error means."""
    return _CODES.get(error.code, grpc.StatusCode.INTERNAL)


_CODES = {code.name: code for code in grpc.StatusCode}


def to_trailers(error: CellplaneError, request_id: str) -> tuple[tuple[str, str | bytes], ...]:
    """Trailing metadata that carries an error's details."""
    status = status_pb2.Status(
        code=code_of(error).value[0], message=message_of(error), details=_details(error, request_id)
    )
    return ((DETAILS_KEY, status.SerializeToString()), (REQUEST_ID_KEY, request_id))


def message_of(error: CellplaneError) -> str:
    """The message as it is sent: one that fits."""
    return _cut(error.message, MAX_MESSAGE)


def _details(error: CellplaneError, request_id: str) -> list[any_pb2.Any]:
    info = details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key, value in error.metadata.items():
        if info.ByteSize() < MAX_DETAILS // 4:
            info.metadata[key[:64]] = _cut(value, MAX_TEXT)
    found: list[Message] = []
    room = MAX_DETAILS - info.ByteSize() - 400
    match error:
        case Invalid() if error.problems:
            bad, left = _bad_request(error.problems, room)
            if left:
                info.metadata["omitted_violations"] = str(left)
            found.append(bad)
        case FailedPrecondition() if error.preconditions:
            failure, left = _precondition_failure(error.preconditions, room)
            if left:
                info.metadata["omitted_violations"] = str(left)
            found.append(failure)
        case Unavailable() | ResourceExhausted():
            if "quota" in error.metadata:
                found.append(_quota_failure(error))
            found.append(_retry_info(error))
        case _:
            pass
    link = details_pb2.Help.Link(
        description=f"what {error.code} means, and what to do",
        url=f"{HELP}{error.code.lower().replace('_', '-')}",
    )
    found = [
        info,
        *found,
        details_pb2.Help(links=[link]),
        details_pb2.RequestInfo(request_id=request_id),
    ]
    packed: list[any_pb2.Any] = []
    for message in found:
        box = any_pb2.Any()
        box.Pack(message)
        packed.append(box)
    return packed


def _bad_request(problems: Sequence[Problem], room: int) -> tuple[details_pb2.BadRequest, int]:
    bad = details_pb2.BadRequest()
    for index, problem in enumerate(problems):
        path = f"{problem.resource}#{problem.field}" if problem.resource else problem.field
        violation = details_pb2.BadRequest.FieldViolation(
            field=_cut(path, MAX_TEXT), description=_cut(problem.message, MAX_TEXT)
        )
        # The published types are of a time before `reason`.
        setattr(violation, "reason", problem.reason)  # noqa: B010
        if bad.ByteSize() + violation.ByteSize() > room:
            return bad, len(problems) - index
        bad.field_violations.append(violation)
    return bad, 0


def _precondition_failure(
    preconditions: Sequence[Precondition], room: int
) -> tuple[details_pb2.PreconditionFailure, int]:
    failure = details_pb2.PreconditionFailure()
    for index, precondition in enumerate(preconditions):
        violation = details_pb2.PreconditionFailure.Violation(
            type=precondition.type,
            subject=_cut(precondition.subject, MAX_TEXT),
            description=_cut(precondition.description, MAX_TEXT),
        )
        if failure.ByteSize() + violation.ByteSize() > room:
            return failure, len(preconditions) - index
        failure.violations.append(violation)
    return failure, 0


def _quota_failure(error: CellplaneError) -> details_pb2.QuotaFailure:
    violation = details_pb2.QuotaFailure.Violation(
        subject=_cut(error.metadata.get("name", ""), MAX_TEXT),
        description=message_of(error),
    )
    return details_pb2.QuotaFailure(violations=[violation])


def _retry_info(error: CellplaneError) -> details_pb2.RetryInfo:
    info = details_pb2.RetryInfo()
    try:
        seconds = float(error.metadata[RETRY_AFTER_KEY])
    except (KeyError, ValueError):
        seconds = _RETRY_AFTER[error.code]
    info.retry_delay.FromMilliseconds(round(seconds * 1000))
    return info


def explain(error: grpc.RpcError) -> RpcFailure:
    """Read a failed call whole: code, reason, message, findings, and the id to quote."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return RpcFailure(code="UNKNOWN", reason="UNKNOWN", message=str(error))
    code, text = error.code().name, error.details() or ""
    trailers = [*(error.trailing_metadata() or ()), *(error.initial_metadata() or ())]
    request_id = _text(trailers, REQUEST_ID_KEY)
    raw = next((value for key, value in trailers if key == DETAILS_KEY), b"")
    status = status_pb2.Status()
    try:
        status.ParseFromString(raw if isinstance(raw, bytes) else raw.encode())
    except DecodeError:
        status.Clear()
    return _read(code, status.message or text, request_id, status.details)


def _read(code: str, message: str, request_id: str, details: Iterable[any_pb2.Any]) -> RpcFailure:
    info = details_pb2.ErrorInfo()
    bad = details_pb2.BadRequest()
    failure = details_pb2.PreconditionFailure()
    retry = details_pb2.RetryInfo()
    request = details_pb2.RequestInfo()
    wait: float | None = None
    for box in details:
        for kind in (info, bad, failure, request):
            box.Unpack(kind)
        if box.Unpack(retry):
            wait = retry.retry_delay.ToMilliseconds() / 1000
    return RpcFailure(
        code=code,
        reason=info.reason or code,
        message=message,
        metadata=dict(info.metadata),
        violations=tuple(_problem(violation) for violation in bad.field_violations),
        preconditions=tuple(
            Precondition(type=item.type, subject=item.subject, description=item.description)
            for item in failure.violations
        ),
        request_id=request.request_id or request_id,
        retry_after=wait,
    )


def _problem(violation: details_pb2.BadRequest.FieldViolation) -> Problem:
    resource, mark, path = violation.field.rpartition("#")
    return Problem(
        reason=getattr(violation, "reason", ""),
        message=violation.description,
        field=path if mark else violation.field,
        resource=resource,
    )


def _text(metadata: Iterable[tuple[str, str | bytes]], key: str) -> str:
    for name, value in metadata:
        if name == key:
            return value if isinstance(value, str) else value.decode("utf-8", "replace")
    return ""


def _cut(text: str, limit: int) -> str:
    """At most ``limit`` bytes of UTF-8, without half a character."""
    raw = text.encode("utf-8", "replace")
    if len(raw) <= limit:
        return text
    return raw[: limit - 3].decode("utf-8", "ignore") + "…"
