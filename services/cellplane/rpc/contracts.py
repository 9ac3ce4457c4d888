"""The contracts with their comments, as they were generated: read when asked, never at import."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

from google.protobuf import descriptor_pb2

_READS = ("Get", "List", "BatchGet")


def load() -> descriptor_pb2.FileDescriptorSet:
    """Every file of the API and what it imports, with source info (that is, comments)."""
    data = resources.files("cellplane.api").joinpath("descriptor.binpb").read_bytes()
    return descriptor_pb2.FileDescriptorSet.FromString(data)


def module_of(service: str) -> str | None:
    """The generated module that declares a service; ``None`` if no contract has it."""
    for file in load().file:
        if any(f"{file.package}.{declared.name}" == service for declared in file.service):
            return file.name.removesuffix(".proto").replace("/", ".") + "_pb2"
    return None


def repeatable(files: descriptor_pb2.FileDescriptorSet) -> Iterator[tuple[str, str]]:
    """Services and methods that may be called twice without harm.

    Those that say so (``idempotency_level``), and reads (AIP-131, AIP-132); never client streams.
    """
    unknown = descriptor_pb2.MethodOptions.IDEMPOTENCY_UNKNOWN
    for file in files.file:
        if not file.package.startswith("cellplane.api."):
            continue
        for service in file.service:
            for method in service.method:
                says = method.options.idempotency_level != unknown
                if (says or method.name.startswith(_READS)) and not method.client_streaming:
                    yield f"{file.package}.{service.name}", method.name
