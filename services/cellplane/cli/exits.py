"""How the command line ends: exit codes, and one error block at the end of standard error.

Nothing is printed about an error before its block. What an error says is what the server says:
code, reason, every finding with its place, and the request's id.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

OK: Final = 0
FAILURE: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
DENIED: Final = 4
CONFLICT: Final = 5
TIMEOUT: Final = 6
TERMINAL: Final = 7
CHANGES: Final = 8
INTERRUPTED: Final = 130

BY_CODE: Final = {
    "NOT_FOUND": NOT_FOUND,
    "PERMISSION_DENIED": DENIED,
    "UNAUTHENTICATED": DENIED,
    "ABORTED": CONFLICT,
    "ALREADY_EXISTS": CONFLICT,
    "DEADLINE_EXCEEDED": TIMEOUT,
}
"""Exit codes of gRPC statuses; every other one is a failure."""


@dataclass(slots=True, kw_only=True)
class Ended(Exception):
    """Ends the command with an error block."""

    message: str
    code: int = FAILURE
    status: str = ""
    reason: str = ""
    findings: Sequence[str] = field(default_factory=tuple)
    """One line each: place, field and what is wrong."""
    request_id: str = ""


def usage(message: str) -> Ended:
    """Make the end of a command that was called wrongly."""
    return Ended(message=message, code=USAGE)


def guard(command: Callable[[], Any]) -> int:
    """Run *command*; whatever it raises becomes an exit code and at most one block."""
    for stream in (sys.stdout, sys.stderr):
        # Names and signs are the same bytes whatever the locale says, as other tools write them.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        # What ends a command early without an error is its answer.
        code = command()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else FAILURE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has what it wanted; Python must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    except Exception as error:  # noqa: BLE001 - the outermost frame of the process
        return _end(error)
    return code if isinstance(code, int) else OK


def _end(error: BaseException) -> int:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    ended = error if isinstance(error, Ended) else _translate(error)
    if not ended.message:
        return ended.code
    sys.stdout.flush()
    sys.stderr.write(block(ended))
    return ended.code


def block(ended: Ended) -> str:
    """Write the error as people read it."""
    kind = " ".join(part for part in (ended.status, ended.reason) if part)
    lines = [f"error: {ended.message}" + (f" [{kind}]" if kind else "")]
    lines += [f"  {finding}" for finding in ended.findings]
    if ended.request_id:
        lines.append(f"  request id: {ended.request_id}")
    return "\n".join(lines) + "\n"


def _translate(error: BaseException) -> Ended:
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        return _of_command_line(error)
    from cellplane.cell.problem import CellplaneError

    if isinstance(error, CellplaneError):
        return of_error(error)
    rpc = sys.modules.get("grpc")
    if rpc is not None and isinstance(error, rpc.RpcError):
        return of_rpc(error)
    if isinstance(error, OSError) and error.filename:
        return Ended(message=f"{error.filename}: {(error.strerror or str(error)).lower()}")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Ended(message="what is written to has no space left")
    if os.environ.get("CELLPLANE_DEBUG"):
        raise error
    return Ended(
        message=f"{type(error).__name__}: {error}: this is a fault of the command line; "
        "CELLPLANE_DEBUG=1 shows where"
    )


def _of_command_line(error: Any) -> Ended:
    """Translate what typer found wrong: it has no public class for all of that."""
    context: Any = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{context.get_help()}\n")
        return Ended(message="", code=USAGE)
    text = error.format_message().strip().removesuffix(".")
    findings = []
    if context is not None:
        path = context.command_path
        findings = [
            " ".join(context.command.get_usage(context).replace("Usage:", "usage:").split()),
            f"`{path} --help` tells more",
        ]
    return Ended(message=text[:1].lower() + text[1:], code=USAGE, findings=findings)


def of_error(error: Any) -> Ended:
    """Translate an error of ours."""
    return Ended(
        message=error.message,
        code=BY_CODE.get(error.code, FAILURE),
        status=error.code,
        reason="" if error.reason == error.code else error.reason,
        findings=[*map(finding, getattr(error, "problems", ())), *_preconditions(error)],
    )


def of_rpc(error: Any, *, places: Callable[[Any], str] | None = None, target: str = "") -> Ended:
    """Translate a failed call; *places* says where in the documents a finding belongs."""
    from cellplane.rpc.status import explain

    failure = explain(error)
    message = failure.message
    if failure.code == "UNAVAILABLE" and failure.reason == failure.code:
        where = f" at {target}" if target else ""
        message = (
            f"cannot reach the service{where}: is the control plane up? `cellplane up` starts one "
            f"({message})"
        )
    if any(violation.message in message for violation in failure.violations):
        # Every finding has a line of its own below.
        message = message.partition(": ")[0]
    findings = [(places or finding)(violation) for violation in failure.violations]
    if omitted := failure.metadata.get("omitted_violations"):
        findings.append(f"… and {omitted} more")
    return Ended(
        message=message,
        code=BY_CODE.get(failure.code, FAILURE),
        status=failure.code,
        reason="" if failure.reason == failure.code else failure.reason,
        findings=[*findings, *_preconditions(failure)],
        request_id=failure.request_id,
    )


def finding(problem: Any) -> str:
    """One finding in a line: whose field, and what is wrong with it."""
    place = " ".join(part for part in (problem.resource, problem.field) if part)
    return f"{place}: {problem.message}" if place else str(problem.message)


def _preconditions(error: Any) -> list[str]:
    return [
        f"{item.subject}: {item.description}" if item.subject else str(item.description)
        for item in getattr(error, "preconditions", ())
    ]
