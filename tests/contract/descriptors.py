"""The contracts of the API that people call, walked by their descriptors."""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from google.api import field_behavior_pb2, resource_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import (
    Descriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
)

from cellplane.rpc import contracts

ROOT = Path(__file__).parents[2]
RULES = (ROOT / "docs" / "decisions" / "0013-api-rules.md").read_text()
ID = "^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"
STANDARD = {
    "name", "uid", "display_name", "annotations", "create_time", "update_time", "etag",
    "reconciling",
}  # fmt: skip


def deviates(number: int, symbol: str) -> bool:
    """Whether the document excuses a symbol from a rule, with a reason."""
    return bool(
        re.search(rf"^\| A{number} \|[^|\n]*`{re.escape(symbol)}`[^|\n]*\| \S", RULES, re.MULTILINE)
    )


@functools.cache
def files() -> tuple[FileDescriptor, ...]:
    """Every file of the API that people call; that of agents is a protocol of another kind."""
    found: list[FileDescriptor] = []
    for file in contracts.load().file:
        people = file.package.startswith("cellplane.api.") and ".agent." not in file.package
        # Options of methods are no messages of anybody's.
        if people and not file.name.endswith("/access.proto"):
            importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
            found.append(descriptor_pool.Default().FindFileByName(file.name))
    return tuple(found)


def messages() -> Iterator[Descriptor]:
    """Every message, nested ones too."""

    def inside(message: Descriptor) -> Iterator[Descriptor]:
        yield message
        for inner in message.nested_types:
            if not inner.GetOptions().map_entry:
                yield from inside(inner)

    for file in files():
        for message in file.message_types_by_name.values():
            yield from inside(message)


def methods() -> Iterator[MethodDescriptor]:
    """Every method of every service."""
    for file in files():
        for service in file.services_by_name.values():
            yield from service.methods


def resource(message: Descriptor) -> resource_pb2.ResourceDescriptor | None:
    """What a message says of itself as a resource."""
    found = message.GetOptions().Extensions[resource_pb2.resource]
    return found if found.type else None


def resources() -> dict[str, Descriptor]:
    """Messages of resources by name."""
    return {message.name: message for message in messages() if resource(message)}


def by_name(file: FileDescriptor, name: str) -> MethodDescriptor | None:
    """A method of a package."""
    return next(
        (
            m
            for m in methods()
            if m.name == name and m.containing_service.file.package == file.package
        ),
        None,
    )


def standard(verb: str) -> Iterator[tuple[Descriptor, MethodDescriptor]]:
    """Resources with their method of that name."""
    for name, message in resources().items():
        option = resource(message)
        assert option is not None
        plural = option.plural[:1].upper() + option.plural[1:]
        word = plural if verb in ("List", "BatchGet") else name
        method = by_name(message.file, f"{verb}{word}")
        if method is not None:
            yield message, method


def behaviors(field: FieldDescriptor) -> set[int]:
    """How a field behaves."""
    return set(field.GetOptions().Extensions[field_behavior_pb2.field_behavior])


def names(message: Descriptor) -> list[str]:
    """Fields in their order."""
    return [field.name for field in sorted(message.fields, key=lambda f: f.number)]


def collections(message: Descriptor) -> list[str]:
    """Literal segments of a resource's pattern."""
    option = resource(message)
    assert option is not None
    return option.pattern[0].split("/")


def failing(number: int, symbols: list[str]) -> list[str]:
    """Symbols that break a rule and that nothing excuses."""
    return [symbol for symbol in symbols if not deviates(number, symbol)]
