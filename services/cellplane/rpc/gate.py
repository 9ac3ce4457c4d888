"""The one way in: gate, identity, access, validation, then the handler; and the one way out.

Handlers are wrapped once, when a server is built, so that a call crosses one coroutine and not a
chain of interceptors. No text of an exception that isn't ours leaves the process: the caller gets
``INTERNAL`` and an id, the log gets the traceback. Cancellation passes through untouched, except
for streams that the server itself ends on a stop: they end ``UNAVAILABLE``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from opentelemetry import context as otel_context
from opentelemetry import trace

from cellplane.cell.problem import CellplaneError, Invalid, Unavailable
from cellplane.rpc import access, correlation, identity, onbehalf, status
from cellplane.rpc.access import EXEMPT, AccessRule, Roles
from cellplane.rpc.correlation import Correlation
from cellplane.rpc.identity import ANONYMOUS, CallerKind, Identities, Principal
from cellplane.rpc.sight import Subjects, View, hidden, subjects_of
from cellplane.rpc.telemetry import Observer, RpcMetrics, Spans
from cellplane.rpc.validation import Requests

_EOF: Any = vars(grpc.aio)["EOF"]  # absent from the published types
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class _Malformed:
    """A body that is not the message that it should be; refused after access is checked."""

    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Method:
    """What a call needs to know of its method."""

    rule: AccessRule
    observer: Observer
    handle: Callable[..., Any]
    serialize: Callable[[Any], bytes]
    subjects: Subjects


class _Call:
    """One call in progress."""

    __slots__ = (
        "correlation",
        "ended",
        "method",
        "principal",
        "request",
        "span",
        "started",
        "task",
        "token",
        "view",
    )

    def __init__(self, method: _Method, ids: Correlation, span: trace.Span | None) -> None:
        self.method = method
        self.correlation = ids
        self.span = span
        self.started = time.perf_counter()
        self.principal: Principal = ANONYMOUS
        self.request: object = None
        self.task: asyncio.Task[Any] | None = None
        self.view: View | None = None
        self.ended = False


class Gate:
    """Wraps the handlers of one server."""

    def __init__(
        self,
        *,
        trust_domain: str,
        roles: Roles,
        metrics: RpcMetrics,
        default_deadline: float,
        replicas_of: str = "",
        tracer_provider: trace.TracerProvider | None = None,
    ) -> None:
        """``replicas_of`` names a service whose replicas may pass calls on; see ``onbehalf``."""
        self._trust_domain = trust_domain
        self._replicas_of = replicas_of
        self._identities = Identities(trust_domain)
        self._roles = roles
        self._metrics = metrics
        self._deadline = default_deadline
        self._requests = Requests()
        self._spans = Spans(tracer_provider)
        self._streams: dict[asyncio.Task[Any], _Call] = {}
        self._draining = False
        self._log = structlog.get_logger()

    def wrap(
        self, path: str, handler: Any, rule: AccessRule, contract: MethodDescriptor
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """The handler that a server gets for ``path``, which does all that this module promises."""
        handle = (
            handler.unary_unary
            or handler.unary_stream
            or handler.stream_unary
            or handler.stream_stream
        )
        service = contract.containing_service.full_name
        method = _Method(
            rule=rule,
            observer=Observer(path, contract.input_type, self._metrics, loud=service not in EXEMPT),
            handle=handle,
            serialize=handler.response_serializer,
            subjects=subjects_of(contract, rule),
        )
        read = _reader(handler.request_deserializer, contract.input_type.full_name)
        if not handler.request_streaming and not handler.response_streaming:
            return grpc.unary_unary_rpc_method_handler(self._unary(method), read, None)
        wrapped = self._streaming(
            method, many_in=handler.request_streaming, many_out=handler.response_streaming
        )
        if not handler.response_streaming:
            return grpc.stream_unary_rpc_method_handler(wrapped, read, None)
        if not handler.request_streaming:
            return grpc.unary_stream_rpc_method_handler(wrapped, read, None)
        return grpc.stream_stream_rpc_method_handler(wrapped, read, None)

    def end_streams(self) -> int:
        """End every stream with ``UNAVAILABLE``, and those that still come; returns how many."""
        self._draining = True
        running = list(self._streams)
        for task in running:
            task.cancel()
        return len(running)

    def _unary(self, method: _Method) -> Callable[[Any, Any], Any]:
        async def unary(request: Any, context: Any) -> bytes:
            call = self._open(method, context)
            try:
                self._admit(call, context)
                self._check(call, request)
                if context.time_remaining() is None:
                    response = await self._in_time(method, request, context)
                else:
                    response = await method.handle(request, context)
                if call.view is not None:
                    response = call.view.narrow(response)
                # A handler that has the bytes already hands those over.
                answer = response if type(response) is bytes else method.serialize(response)
            except BaseException as error:
                await self._fail(call, context, error)
                raise
            self._succeed(call, context)
            return answer

        return unary

    def _streaming(
        self, method: _Method, *, many_in: bool, many_out: bool
    ) -> Callable[[Any, Any], Any]:
        async def streaming(request: Any, context: Any) -> bytes | None:
            call = self._open(method, context)
            call.task = asyncio.current_task()
            if call.task is not None:
                self._streams[call.task] = call
            answer: bytes | None = None
            try:
                self._admit(call, context)
                self._refuse_when_draining()
                if many_in:
                    request = self._checked(call, request)
                else:
                    self._check(call, request)
                send = _sender(call)
                checked = _CheckedContext(context, request if many_in else None, send)
                result = method.handle(request, checked)
                if many_out:
                    await _send(result, checked)
                else:
                    answer = method.serialize(await result)
            except BaseException as error:
                self._leave(call)
                await self._fail(call, context, self._meaning(call, error))
                raise
            self._leave(call)
            self._succeed(call, context)
            return answer

        return streaming

    def _open(self, method: _Method, context: Any) -> _Call:
        request_id = traceparent = ""
        for key, value in context.invocation_metadata() or ():
            if key == correlation.REQUEST_ID_KEY:
                request_id = str(value)
            elif key == correlation.TRACEPARENT_KEY:
                traceparent = correlation.read_traceparent(str(value))
        ids = Correlation(correlation.read_request_id(request_id), traceparent)
        method.observer.start()
        span = self._spans.start(method.observer, ids)
        if span is not None:
            otel_context.attach(trace.set_span_in_context(span))
            ids = Correlation(ids.request_id, self._spans.traceparent(span))
        correlation.enter(ids)
        structlog.contextvars.bind_contextvars(request_id=ids.request_id)
        return _Call(method, ids, span)

    def _admit(self, call: _Call, context: Any) -> None:
        principal = self._identities.of(context.auth_context())
        if self._replicas_of:
            principal = onbehalf.caller(
                principal,
                context.invocation_metadata() or (),
                service=self._replicas_of,
                trust_domain=self._trust_domain,
            )
        identity.become(principal)
        call.principal = principal
        access.check(call.method.rule, principal, self._roles)

    def _check(self, call: _Call, request: Any) -> None:
        if isinstance(request, _Malformed):
            raise Invalid(
                f"request is not a valid {request.expected}: encode it as its contract says",
                reason="REQUEST_MALFORMED",
                metadata={"expected": request.expected},
            )
        call.request = request
        if isinstance(request, Message):
            if call.principal.kind is CallerKind.USER:
                subjects = call.method.subjects
                call.view = subjects.admit(request, call.principal, self._roles)
            self._requests.check(request)

    async def _checked(self, call: _Call, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            self._check(call, request)
            yield request

    async def _in_time(self, method: _Method, request: Any, context: Any) -> Any:
        deadline = asyncio.timeout(self._deadline)
        try:
            async with deadline:
                return await method.handle(request, context)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise status.DeadlineExceeded(
                f"{method.rule.method or 'the call'} took longer than {self._deadline:g}s, "
                "the limit for calls without a deadline: set one that is longer",
                metadata={"limit_seconds": f"{self._deadline:g}"},
            ) from None

    def _refuse_when_draining(self) -> None:
        if self._draining:
            raise _stopping()

    def _leave(self, call: _Call) -> None:
        if call.task is not None:
            self._streams.pop(call.task, None)

    def _meaning(self, call: _Call, error: BaseException) -> BaseException:
        """A cancellation of ours, on a stop, is an answer; any other is the caller's."""
        task = call.task
        if isinstance(error, asyncio.CancelledError) and self._draining and task is not None:
            task.uncancel()
            return _stopping()
        return error

    def _succeed(self, call: _Call, context: Any) -> None:
        code = context.code()
        self._end(call, "OK" if not code else _code_name(code))
        context.set_trailing_metadata(
            (
                *(context.trailing_metadata() or ()),
                (correlation.REQUEST_ID_KEY, call.correlation.request_id),
            )
        )

    async def _fail(self, call: _Call, context: Any, error: BaseException) -> None:
        """Answer an error; returns only if nothing is to be answered, and the caller re-raises."""
        request_id = call.correlation.request_id
        if call.principal.kind is CallerKind.USER:
            error = hidden(error, call.principal, self._roles, call.view)
        match error:
            case CellplaneError() if error.code:
                answer = error
            case grpc.aio.AbortError():
                self._end(call, _code_name(context.code()))
                return
            case Exception():
                self._log.error(
                    "rpc.internal_error",
                    method=call.method.rule.method,
                    request_id=request_id,
                    exc_info=error,
                )
                answer = status.Internal(
                    f"internal error; quote this id: {request_id}",
                    metadata={"request_id": request_id},
                )
            case _:
                left = context.time_remaining()
                late = left is not None and left <= 0
                self._end(call, "DEADLINE_EXCEEDED" if late else "CANCELLED")
                return
        code = status.code_of(answer)
        self._end(call, code.name, answer.reason)
        await context.abort(code, status.message_of(answer), status.to_trailers(answer, request_id))

    def _end(self, call: _Call, code: str, reason: str = "") -> None:
        if call.ended:
            return
        call.ended = True
        call.method.observer.end(
            code,
            time.perf_counter() - call.started,
            principal=call.principal,
            correlation=call.correlation,
            request=call.request,
            reason=reason,
        )
        if call.span is not None:
            self._spans.end(call.span, code)


class _CheckedContext:
    """The context of a stream: what handlers read and write by it is checked and encoded too."""

    __slots__ = ("_context", "_requests", "_serialize")

    def __init__(
        self,
        context: Any,
        requests: AsyncIterator[Any] | None,
        serialize: Callable[[Any], bytes | None],
    ) -> None:
        self._context = context
        self._requests = requests
        self._serialize = serialize

    async def read(self) -> Any:
        """The next request, or ``grpc.aio.EOF``."""
        if self._requests is None:
            return await self._context.read()
        return await anext(self._requests, _EOF)

    async def write(self, message: Any) -> None:
        """Send one response, if its caller may see it."""
        data = self._serialize(message)
        if data is not None:
            await self._context.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


async def _send(result: Any, context: _CheckedContext) -> None:
    """Send what a handler yields; one that writes by its context is only awaited."""
    if not hasattr(result, "__aiter__"):
        await result
        return
    async with aclosing(result) as responses:
        async for response in responses:
            await context.write(response)


def _sender(call: _Call) -> Callable[[Any], bytes | None]:
    def send(message: Any) -> bytes | None:
        # Read when it is needed: the view is known once the request is.
        shown = message if call.view is None else call.view.narrow(message)
        return None if shown is None else call.method.serialize(shown)

    return send


def _reader(deserialize: Callable[[bytes], Any] | None, expected: str) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        try:
            return data if deserialize is None else deserialize(data)
        except Exception:  # noqa: BLE001 - whatever it was, gRPC would send its text to the caller
            return _Malformed(expected)

    return read


def _stopping() -> Unavailable:
    return Unavailable(
        "server is stopping: call again, another instance will answer",
        reason="SERVER_STOPPING",
        metadata={status.RETRY_AFTER_KEY: "0.5"},
    )


def _code_name(code: Any) -> str:
    if isinstance(code, grpc.StatusCode):
        return code.name
    return _CODES.get(code, "UNKNOWN")
