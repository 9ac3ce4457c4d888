"""Protobuf schemas: sets of file descriptors, or the source of one file, which is compiled.

The compiler runs in a process of its own, with a folder that holds nothing but that file, and has
seconds. A source imports what comes with the compiler; for anything more, send a set of
descriptors (``buf build -o``, ``protoc --include_imports --descriptor_set_out``).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.message import DecodeError

from cellplane.model.catalog.schemas.finding import Changes, Finding, Reading, Wrong, ordered
from cellplane.model.catalog.schemas.protobuf import (
    ProtoField,
    ProtoMethod,
    Protos,
    compare,
    operations_of,
)

_SECONDS: Final = 20
_SOURCE: Final = re.compile(
    rb"^\s*(?://[^\n]*\n|/\*.*?\*/|\s)*(?:syntax|edition|package|import|"
    rb"message|enum|service|option)\b",
    re.DOTALL,
)
_ERROR: Final = re.compile(r"^[^:]*schema\.proto:(\d+):\d+: (.*)$")


def descriptors(content: bytes) -> tuple[FileDescriptorSet | None, tuple[Wrong, ...]]:
    """Descriptors that hang together, or what is wrong."""
    if _SOURCE.match(content):
        return _compiled(content)
    try:
        found = FileDescriptorSet.FromString(content)
    except DecodeError:
        found = FileDescriptorSet()
    if not found.file:
        text = "is neither the source of a .proto file nor a FileDescriptorSet"
        return None, (Wrong(message=text),)
    pool: Any = descriptor_pool.DescriptorPool()
    names = {file.name for file in found.file}
    for file in found.file:
        missing = [d for d in file.dependency if d not in names]
        if missing:
            text = f"{file.name} imports {missing[0]}, which is not in the set: include imports"
            return None, (Wrong(message=text),)
        try:
            pool.AddSerializedFile(file.SerializeToString())
        except TypeError as error:
            first = str(error).splitlines()[0]
            return None, (Wrong(message=f"{file.name} does not hang together: {first}"),)
    return found, ()


def _compiled(source: bytes) -> tuple[FileDescriptorSet | None, tuple[Wrong, ...]]:
    with tempfile.TemporaryDirectory(prefix="cellplane-schema-") as folder:
        place = Path(folder)
        (place / "schema.proto").write_bytes(source)
        command = [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", "--include_imports"),
            *(f"--descriptor_set_out={folder}/out", "schema.proto"),
        ]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return None, (Wrong(message=f"the compiler took more than {_SECONDS} seconds"),)
        if done.returncode:
            return None, tuple(_errors(done.stderr.decode("utf-8", "replace"))) or (
                Wrong(message="the compiler refused it"),
            )
        return FileDescriptorSet.FromString((place / "out").read_bytes()), ()


def _errors(said: str) -> Iterator[Wrong]:
    for line in said.splitlines()[:20]:
        found = _ERROR.match(line)
        if found:
            yield Wrong(message=found[2], line=int(found[1]))
        elif "schema.proto: " in line:
            yield Wrong(message=line.split("schema.proto: ", 1)[1])


def read(content: bytes) -> Reading:
    """Check a schema, and say what it offers."""
    found, wrong = descriptors(content)
    if found is None:
        return Reading(wrong=wrong)
    protos = protos_of(found)
    package = next((f.package for f in reversed(found.file) if f.package), "")
    version = package.rsplit(".", 1)[-1]
    return Reading(
        title=package,
        version=version if re.fullmatch(r"v\d+\w*", version) else "",
        operations=operations_of(protos),
    )


def differ(old: bytes, new: bytes) -> tuple[Finding, ...]:
    """What a change means; both were read and found good."""
    before, after = descriptors(old)[0], descriptors(new)[0]
    changes = Changes()
    if before is not None and after is not None:
        compare(protos_of(before), protos_of(after), changes)
    return ordered(changes.found)


def protos_of(found: FileDescriptorSet) -> Protos:
    """What descriptors declare; what comes with the compiler is nobody's to change."""
    messages: dict[str, dict[int, ProtoField]] = {}
    enums: dict[str, dict[int, str]] = {}
    services: dict[str, dict[str, ProtoMethod]] = {}
    for file in found.file:
        if file.name.startswith("google/protobuf/"):
            continue
        prefix = f"{file.package}." if file.package else ""
        for message in file.message_type:
            _message(message, prefix, messages, enums)
        for enum in file.enum_type:
            enums[prefix + enum.name] = _values(enum)
        for service in file.service:
            services[prefix + service.name] = {
                method.name: ProtoMethod(
                    request=method.input_type.lstrip("."),
                    response=method.output_type.lstrip("."),
                    client_streams=method.client_streaming,
                    server_streams=method.server_streaming,
                )
                for method in service.method
            }
    return Protos(messages=messages, enums=enums, services=services)


def _message(
    message: DescriptorProto,
    prefix: str,
    messages: dict[str, dict[int, ProtoField]],
    enums: dict[str, dict[int, str]],
) -> None:
    own = prefix + message.name
    messages[own] = {field.number: _field(message, field) for field in message.field}
    for inner in message.nested_type:
        _message(inner, f"{own}.", messages, enums)
    for enum in message.enum_type:
        enums[f"{own}.{enum.name}"] = _values(enum)


def _field(message: DescriptorProto, field: FieldDescriptorProto) -> ProtoField:
    oneof = field.HasField("oneof_index") and not field.proto3_optional
    word = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return ProtoField(
        name=field.name,
        type=field.type_name.lstrip(".") or word,
        repeated=field.label == FieldDescriptorProto.LABEL_REPEATED,
        required=field.label == FieldDescriptorProto.LABEL_REQUIRED,
        oneof=message.oneof_decl[field.oneof_index].name if oneof else "",
    )


def _values(enum: EnumDescriptorProto) -> dict[int, str]:
    return {value.number: value.name for value in enum.value}
