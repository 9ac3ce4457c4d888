"""Writes ``docs/reference.md`` from the contracts: every service, method, message and field.

Usage: ``python tools/reference.py [FILE]``. The words are those of the protos' comments; a test
keeps the committed file equal to what this writes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path

from google.protobuf import descriptor_pb2 as d

from cellplane.api.type.v1 import access_pb2

OURS = "cellplane.api."
_SCALARS = {
    number: name.removeprefix("TYPE_").lower()
    for name, number in d.FieldDescriptorProto.Type.items()
}
_Comments = Mapping[tuple[int, ...], str]


def reference() -> str:
    """Write the whole page."""
    files = d.FileDescriptorSet.FromString(
        resources.files("cellplane.api").joinpath("descriptor.binpb").read_bytes()
    )
    ours = sorted(
        (file for file in files.file if file.package.startswith(OURS)),
        key=lambda file: (file.package, file.name),
    )
    lines = [
        "# API reference",
        "",
        "Generated from the contracts in `proto/` by `make gen`; do not edit.",
        "",
    ]
    package = ""
    for file in ours:
        if file.package != package:
            package = file.package
            lines += [f"## {package}", ""]
        lines += _file(file)
    return "\n".join(lines).rstrip() + "\n"


def _file(file: d.FileDescriptorProto) -> Iterator[str]:
    comments = {
        tuple(location.path): " ".join(location.leading_comments.split())
        for location in file.source_code_info.location
        if location.leading_comments
    }
    for index, service in enumerate(file.service):
        yield from (f"### {service.name}", "", comments.get((6, index), ""), "")
        yield from (
            "| Method | Request | Answer | Permission | What it does |",
            "|---|---|---|---|---|",
        )
        for at, method in enumerate(service.method):
            access = method.options.Extensions[access_pb2.access]
            yield (
                f"| `{method.name}` | {_kind(method.input_type, stream=method.client_streaming)}"
                f" | {_kind(method.output_type, stream=method.server_streaming)}"
                f" | `{access.permission or 'anyone'}` | {_cell(comments, (6, index, 2, at))} |"
            )
        yield ""
    for index, message in enumerate(file.message_type):
        yield from _message(message, comments, (4, index), "")
    for index, enum in enumerate(file.enum_type):
        yield from _enum(enum, comments, (5, index), "")


def _message(
    message: d.DescriptorProto, comments: _Comments, path: tuple[int, ...], outer: str
) -> Iterator[str]:
    if message.options.map_entry:
        return
    name = f"{outer}{message.name}"
    yield from (f"#### {name}", "", comments.get(path, ""), "")
    entries = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    if message.field:
        yield from ("| Field | Type | Meaning |", "|---|---|---|")
        for index, field in enumerate(message.field):
            meaning = _cell(comments, (*path, 2, index))
            yield f"| `{field.name}` | {_type(field, entries)} | {meaning} |"
        yield ""
    for index, nested in enumerate(message.nested_type):
        yield from _message(nested, comments, (*path, 3, index), f"{name}.")
    for index, enum in enumerate(message.enum_type):
        yield from _enum(enum, comments, (*path, 4, index), f"{name}.")


def _enum(
    enum: d.EnumDescriptorProto, comments: _Comments, path: tuple[int, ...], outer: str
) -> Iterator[str]:
    yield from (f"#### {outer}{enum.name}", "", comments.get(path, ""), "")
    yield from ("| Value | Meaning |", "|---|---|")
    for index, value in enumerate(enum.value):
        yield f"| `{value.name}` | {_cell(comments, (*path, 2, index))} |"
    yield ""


def _type(field: d.FieldDescriptorProto, entries: Mapping[str, d.DescriptorProto]) -> str:
    if field.type_name:
        entry = entries.get(field.type_name.rsplit(".", 1)[-1])
        if entry is not None:
            return f"map of {_type(entry.field[0], {})} to {_type(entry.field[1], {})}"
        text = _kind(field.type_name, stream=False)
    else:
        text = _SCALARS[field.type]
    return f"list of {text}" if field.label == field.LABEL_REPEATED else text


def _kind(name: str, *, stream: bool) -> str:
    short = name.removeprefix(f".{OURS}").removeprefix(".")
    return f"stream of `{short}`" if stream else f"`{short}`"


def _cell(comments: _Comments, path: tuple[int, ...]) -> str:
    return comments.get(path, "").replace("|", "\\|")


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs/reference.md")
    target.write_text(reference(), encoding="utf-8")
