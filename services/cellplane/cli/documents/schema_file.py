"""``schema: {file: openapi.yaml}`` in a document: a schema that stands beside it comes along.

The file is found from the document's own folder. What it is written in follows from its name and
its first keys, unless ``format`` says so. Such a file is no document: a folder that is applied may
hold both.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from cellplane.cli.documents.nodes import Mapping, Node, Scalar

OFFER_SCHEMA: Final = "cellplane.api.model.v1.OfferSchema"
MAX_BYTES: Final = 1024 * 1024
_BY_SUFFIX: Final = {
    ".proto": "PROTOBUF",
    ".binpb": "PROTOBUF",
    ".pb": "PROTOBUF",
    ".graphql": "GRAPHQL",
    ".graphqls": "GRAPHQL",
    ".gql": "GRAPHQL",
}
_FIRST: Final = re.compile(rb"""^[{\s]*["']?(openapi|asyncapi|\$schema)["']?\s*:""", re.MULTILINE)
_KEY: Final = re.compile(rb"""^["']?(kind|apiVersion)["']?\s*:""", re.MULTILINE)


class Unreadable(Exception):
    """The file cannot be taken along."""


def split(node: Mapping) -> tuple[Mapping, dict[str, Scalar]]:
    """The fields of the contract, and the keys that only documents have: ``file``, ``format``."""
    own: dict[str, Scalar] = {}
    rest: list[tuple[Scalar, Node]] = []
    for key, value in node.items:
        if key.text in ("file", "format") and isinstance(value, Scalar):
            own[key.text] = value
        else:
            rest.append((key, value))
    return Mapping(tuple(rest), node.place, node.size), own


def take(own: dict[str, Scalar], message: Any) -> None:
    """Fill ``inline`` of *message*; raises ``Unreadable``."""
    file = own.get("file")
    if file is None:
        raise Unreadable("names a format, and no file: add file")
    path = Path(file.place.file).parent / file.text
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_BYTES else b""
    except OSError as error:
        text = (error.strerror or "").lower()
        raise Unreadable(f'"{file.text}" cannot be read at {path}: {text}') from error
    if size > MAX_BYTES:
        raise Unreadable(f'"{file.text}" has {size:,} bytes, and {MAX_BYTES:,} is the most')
    if not content:
        raise Unreadable(f'"{file.text}" is empty')
    word = own["format"].text if "format" in own else format_of(path.name, content)
    values = message.DESCRIPTOR.fields_by_name["inline"].message_type.fields_by_name["format"]
    numbers = {v.name.removeprefix("SCHEMA_FORMAT_"): v.number for v in values.enum_type.values}
    if not numbers.get(word.upper()):
        known = ", ".join(sorted(name for name, number in numbers.items() if number))
        raise Unreadable(f'"{file.text}": format {word or "is not known"}: write one of {known}')
    message.inline.format = numbers[word.upper()]
    message.inline.content = content


def format_of(name: str, content: bytes) -> str:
    """What a file is written in; empty if nothing tells."""
    if word := _BY_SUFFIX.get(Path(name).suffix.lower()):
        return word
    found = _FIRST.search(content)
    if found is None:
        return ""
    return {b"openapi": "OPENAPI", b"asyncapi": "ASYNCAPI"}.get(found[1], "JSON_SCHEMA")


def is_schema(path: Path) -> bool:
    """Whether a YAML or JSON file is a schema, and no document."""
    try:
        with path.open("rb") as file:
            start = file.read(64 * 1024)
    except OSError:
        return False
    return _FIRST.search(start) is not None and _KEY.search(start) is None
