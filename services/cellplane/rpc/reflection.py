"""gRPC reflection, v1 and v1alpha, that keeps the comments of the contracts.

Generated code drops source info, so that stock reflection answers without comments; here answers
come from the descriptor set that was generated beside the code. What isn't in it (health,
``google.rpc``) comes from the process's pool. Stock Python serves v1alpha alone (grpc#38576).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2

from cellplane.rpc import contracts

V1 = "grpc.reflection.v1.ServerReflection"
V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"

_FileProto = descriptor_pb2.FileDescriptorProto


class Reflection:
    """Answers questions about the services of one server."""

    def __init__(self, services: Iterable[str]) -> None:
        self._services = sorted({*services, V1, V1ALPHA})
        self._index: _Index | None = None

    async def answer(self, requests: AsyncIterator[Any], _context: object) -> AsyncIterator[Any]:
        """One answer per question, for both versions: their messages are the same on the wire."""
        async for request in requests:
            yield self._answer(request)

    def handlers(self) -> tuple[tuple[str, Any], ...]:
        """Paths and gRPC handlers of both versions."""
        handler = grpc.stream_stream_rpc_method_handler(
            self.answer,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        return tuple((f"/{name}/ServerReflectionInfo", handler) for name in (V1, V1ALPHA))

    def _answer(self, request: Any) -> Any:
        if self._index is None:
            self._index = _Index()
        index, kind = self._index, request.WhichOneof("message_request")
        response = reflection_pb2.ServerReflectionResponse(
            valid_host=request.host, original_request=request
        )
        match kind:
            case "list_services":
                for name in self._services:
                    response.list_services_response.service.add(name=name)
            case "file_by_filename":
                self._files(response, index.closure(request.file_by_filename))
            case "file_containing_symbol":
                name = request.file_containing_symbol.lstrip(".")
                self._files(response, index.closure(index.file_of(name)))
            case "file_containing_extension":
                asked = request.file_containing_extension
                self._files(
                    response,
                    index.closure(
                        index.file_of_extension(asked.containing_type, asked.extension_number)
                    ),
                )
            case "all_extension_numbers_of_type":
                name = request.all_extension_numbers_of_type
                numbers = index.extensions_of(name)
                if numbers is None:
                    self._error(response, grpc.StatusCode.NOT_FOUND, f"{name} is not known")
                else:
                    answer = response.all_extension_numbers_response
                    answer.base_type_name = name
                    answer.extension_number.extend(numbers)
            case _:
                self._error(response, grpc.StatusCode.INVALID_ARGUMENT, "question is empty")
        return response

    def _files(self, response: Any, files: list[bytes]) -> None:
        if files:
            response.file_descriptor_response.file_descriptor_proto.extend(files)
        else:
            self._error(response, grpc.StatusCode.NOT_FOUND, "it is not known here")

    @staticmethod
    def _error(response: Any, code: grpc.StatusCode, text: str) -> None:
        response.error_response.error_code = code.value[0]
        response.error_response.error_message = text


class _Index:
    """Files by name, and by the symbols and extensions in them; made on the first question."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()
        self._files: dict[str, _FileProto] = {}
        self._symbols: dict[str, str] = {}
        self._extensions: dict[str, dict[int, str]] = {}
        for file in contracts.load().file:
            self._add(file)
        alpha = _FileProto()
        reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
        self._add(alpha)
        self._add(_as_v1(alpha))
        # Importing it makes error details readable; naming it here makes that import count.
        self._add_from_pool(error_details_pb2.DESCRIPTOR.name)

    def file_of(self, symbol: str) -> str:
        """Name of the file that declares a symbol; empty if none does."""
        known = self._symbols.get(symbol)
        if known is None:
            try:
                known = self._pool.FindFileContainingSymbol(symbol).name
            except KeyError:
                return ""
            self._add_from_pool(known)
        return known

    def file_of_extension(self, type_name: str, number: int) -> str:
        """Name of the file that declares an extension; empty if none does."""
        known = self._extensions.get(type_name, {}).get(number)
        if known is None:
            try:
                message = self._pool.FindMessageTypeByName(type_name)
                extension: Any = self._pool.FindExtensionByNumber(message, number)
            except KeyError:
                return ""
            known = str(extension.file.name)
        return known

    def extensions_of(self, type_name: str) -> list[int] | None:
        """Numbers of the known extensions of a type; ``None`` for an unknown type."""
        if not self.file_of(type_name):
            return None
        numbers = set(self._extensions.get(type_name, {}))
        try:
            message = self._pool.FindMessageTypeByName(type_name)
        except KeyError:
            pass
        else:
            numbers.update(found.number for found in self._pool.FindAllExtensions(message))
        return sorted(numbers)

    def closure(self, name: str) -> list[bytes]:
        """A file and all that it imports, serialized; the file itself first."""
        found: dict[str, bytes] = {}
        queue = [name] if name else []
        while queue:
            current = queue.pop()
            if current in found:
                continue
            file = self._files.get(current) or self._add_from_pool(current)
            if file is None:
                continue
            found[current] = file.SerializeToString()
            queue.extend(file.dependency)
        return list(found.values())

    def _add_from_pool(self, name: str) -> _FileProto | None:
        if name not in self._files:
            try:
                file = self._pool.FindFileByName(name)
            except KeyError:
                return None
            proto = _FileProto()
            file.CopyToProto(proto)
            self._add(proto)
        return self._files[name]

    def _add(self, file: _FileProto) -> None:
        if file.name in self._files:
            return
        self._files[file.name] = file
        for symbol in _symbols(file):
            self._symbols.setdefault(symbol, file.name)
        for extension in _extensions(file):
            of_type = self._extensions.setdefault(extension.extendee.lstrip("."), {})
            of_type.setdefault(extension.number, file.name)


def _symbols(file: _FileProto) -> Iterator[str]:
    scope = f"{file.package}." if file.package else ""
    for message in file.message_type:
        yield from _of_message(scope, message)
    for enum in file.enum_type:
        yield from _of_enum(scope, enum)
    for service in file.service:
        yield scope + service.name
        yield from (f"{scope}{service.name}.{method.name}" for method in service.method)
    yield from (scope + extension.name for extension in file.extension)


def _of_message(scope: str, message: descriptor_pb2.DescriptorProto) -> Iterator[str]:
    own = scope + message.name
    yield own
    inner = f"{own}."
    yield from (inner + field.name for field in message.field)
    yield from (inner + oneof.name for oneof in message.oneof_decl)
    yield from (inner + extension.name for extension in message.extension)
    for enum in message.enum_type:
        yield from _of_enum(inner, enum)
    for nested in message.nested_type:
        yield from _of_message(inner, nested)


def _of_enum(scope: str, enum: descriptor_pb2.EnumDescriptorProto) -> Iterator[str]:
    yield scope + enum.name
    for value in enum.value:
        yield scope + value.name
        yield f"{scope}{enum.name}.{value.name}"


def _extensions(file: _FileProto) -> Iterator[descriptor_pb2.FieldDescriptorProto]:
    yield from file.extension
    messages = list(file.message_type)
    while messages:
        message = messages.pop()
        yield from message.extension
        messages.extend(message.nested_type)


def _as_v1(alpha: _FileProto) -> _FileProto:
    """The v1 contract, which is v1alpha's under another package."""
    old, new = b"grpc.reflection.v1alpha", b"grpc.reflection.v1"
    file = _FileProto.FromString(alpha.SerializeToString())
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = new.decode()
    for message in file.message_type:
        for field in message.field:
            field.type_name = field.type_name.replace(old.decode(), new.decode())
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(old.decode(), new.decode())
            method.output_type = method.output_type.replace(old.decode(), new.decode())
    file.options.Clear()
    return file
