"""A service of the tests: one method of each shape, that does what its request's name says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from buf.validate import validate_pb2
from cellplane.api.type.v1 import access_pb2
from cellplane.cell.problem import (
    CellplaneError,
    FailedPrecondition,
    Invalid,
    NotFound,
    Precondition,
    Problem,
    Unavailable,
)
from cellplane.rpc import correlation
from cellplane.rpc.identity import current_principal

PACKAGE = "cellplane.test.v1"
ECHO = f"{PACKAGE}.EchoService"
BARE = f"{PACKAGE}.BareService"

_STRING, _MESSAGE = 9, 11
_SHAPES = {
    "Say": (False, False),
    "Watch": (False, True),
    "Add": (True, False),
    "Chat": (True, True),
}


def _describe() -> None:
    file = descriptor_pb2.FileDescriptorProto(
        name="cellplane/test/v1/echo.proto",
        package=PACKAGE,
        syntax="proto3",
        dependency=["buf/validate/validate.proto", access_pb2.DESCRIPTOR.name],
    )
    message = file.message_type.add(name="Note")
    name = message.field.add(name="name", number=1, type=_STRING, label=1)
    name.options.Extensions[validate_pb2.field].string.min_len = 2
    tags = message.field.add(name="tags", number=2, type=_STRING, label=3)
    tags.options.Extensions[validate_pb2.field].repeated.items.string.min_len = 2
    message.field.add(name="text", number=3, type=_STRING, label=1)
    service = file.service.add(name="EchoService")
    kinds = [access_pb2.CALLER_KIND_USER, access_pb2.CALLER_KIND_SERVICE]
    for method, (many_in, many_out) in _SHAPES.items():
        added = service.method.add(
            name=method,
            input_type=f".{PACKAGE}.Note",
            output_type=f".{PACKAGE}.Note",
            client_streaming=many_in,
            server_streaming=many_out,
        )
        added.options.Extensions[access_pb2.access].permission = f"notes.{method.lower()}"
        added.options.Extensions[access_pb2.access].callers.extend(kinds)
    opened = service.method.add(
        name="Greet", input_type=f".{PACKAGE}.Note", output_type=f".{PACKAGE}.Note"
    )
    opened.options.Extensions[access_pb2.access].callers.append(access_pb2.CALLER_KIND_ANYONE)
    bare = file.service.add(name="BareService")
    bare.method.add(name="Say", input_type=f".{PACKAGE}.Note", output_type=f".{PACKAGE}.Note")
    descriptor_pool.Default().Add(file)


_describe()
_NOTE: Any = message_factory.GetMessageClass(
    descriptor_pool.Default().FindMessageTypeByName(f"{PACKAGE}.Note")
)


def note(name: str, **fields: Any) -> Any:
    """A request or response."""
    return _NOTE(name=name, **fields)


ERRORS: dict[str, Callable[[], Exception]] = {
    "not-found": lambda: NotFound("note x does not exist", metadata={"name": "x"}),
    "problems": lambda: Invalid(
        "cell is invalid",
        problems=[
            Problem(reason="PORT_TAKEN", message="port 80 is taken", field="ports[0]"),
            Problem(reason="OTHER", message="elsewhere", field="a.b", resource="projects/p"),
        ],
    ),
    "many-problems": lambda: Invalid(
        "cell is invalid",
        problems=[
            Problem(reason="TOO_MANY", message="x" * 300, field=f"f[{i}]") for i in range(1000)
        ],
    ),
    "precondition": lambda: FailedPrecondition(
        "not now", preconditions=[Precondition(type="STATE", subject="x", description="stopped")]
    ),
    "unavailable": lambda: Unavailable("database is away", metadata={"retry_after_seconds": "2"}),
    "secret": lambda: RuntimeError("the secret password"),
    "unmapped": lambda: CellplaneError("an error of ours that is no leaf"),
}


def error_named(name: str) -> Exception:
    """A fresh error of a kind."""
    return ERRORS[name]()


class Echo:
    """Answers what it is asked; remembers how its handlers ended."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.cleaned = asyncio.Event()
        self.calls = 0
        self.onward: Callable[[], Awaitable[Any]] | None = None

    async def say(self, request: Any, context: Any) -> Any:
        self.calls += 1
        if request.name in ERRORS:
            raise error_named(request.name)
        match request.name:
            case "whoami":
                who = current_principal()
                text = f"{who.kind.value} {who.name} {who.organization} {who.data_plane_uid}"
                return note("answer", text=text.strip())
            case "ids":
                ids = correlation.current()
                return note("answer", text=f"{ids.request_id} {ids.traceparent}")
            case "onward":
                assert self.onward is not None
                return await self.onward()
            case "wait":
                self.entered.set()
                try:
                    await self.release.wait()
                finally:
                    self.cleaned.set()
            case "not-a-note":
                return "text"
            case "abort":
                await context.abort(grpc.StatusCode.DATA_LOSS, "as the handler says")
        return note("answer", text=request.text)

    async def watch(self, request: Any, _context: Any) -> AsyncIterator[Any]:
        if request.name in ERRORS:
            raise error_named(request.name)
        yield note("first")
        if request.name == "wait":
            self.entered.set()
            try:
                await self.release.wait()
            finally:
                self.cleaned.set()
        yield note("last")

    async def add(self, requests: AsyncIterator[Any], _context: Any) -> Any:
        texts = [request.text async for request in requests]
        return note("answer", text="+".join(texts))

    async def chat(self, _requests: AsyncIterator[Any], context: Any) -> None:
        while (request := await context.read()) is not vars(grpc.aio)["EOF"]:
            await context.write(note("answer", text=request.text))


def add_echo(servicer: Echo, server: Any) -> None:
    """What generated code calls ``add_EchoServiceServicer_to_server``."""
    read, write = _NOTE.FromString, _NOTE.SerializeToString
    handlers = {
        "Say": grpc.unary_unary_rpc_method_handler(servicer.say, read, write),
        "Greet": grpc.unary_unary_rpc_method_handler(servicer.say, read, write),
        "Watch": grpc.unary_stream_rpc_method_handler(servicer.watch, read, write),
        "Add": grpc.stream_unary_rpc_method_handler(servicer.add, read, write),
        "Chat": grpc.stream_stream_rpc_method_handler(servicer.chat, read, write),
    }
    server.add_registered_method_handlers(ECHO, handlers)


def add_bare(servicer: Echo, server: Any) -> None:
    """Adds a service whose contract declares no access."""
    handler = grpc.unary_unary_rpc_method_handler(
        servicer.say, _NOTE.FromString, _NOTE.SerializeToString
    )
    server.add_registered_method_handlers(BARE, {"Say": handler})


class Stub:
    """What generated code calls ``EchoServiceStub``."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        def method(kind: str, name: str) -> Any:
            return getattr(channel, kind)(
                f"/{ECHO}/{name}",
                request_serializer=_NOTE.SerializeToString,
                response_deserializer=_NOTE.FromString,
            )

        self.say = method("unary_unary", "Say")
        self.greet = method("unary_unary", "Greet")
        self.watch = method("unary_stream", "Watch")
        self.add = method("stream_unary", "Add")
        self.chat = method("stream_stream", "Chat")
