"""One door to all text formats: what is wrong with a schema, and what a change of it means."""

from __future__ import annotations

from typing import Final

from jsonschema import validators
from jsonschema.exceptions import SchemaError

from cellplane.model.catalog.schemas import asyncapi, graphql, openapi
from cellplane.model.catalog.schemas.document import Document, Unreadable, load
from cellplane.model.catalog.schemas.finding import Changes, Finding, Reading, Wrong, ordered
from cellplane.model.catalog.schemas.values import Comparison
from cellplane.model.domain.resources import SchemaFormat

MAX_BYTES: Final = 1024 * 1024


def read(format: SchemaFormat, content: bytes) -> Reading:
    """Check a schema of any format but protobuf, and say what it offers."""
    if format is SchemaFormat.GRAPHQL:
        return graphql.read(content)
    try:
        document = load(content)
    except Unreadable as unreadable:
        return Reading(wrong=(unreadable.wrong,))
    try:
        return _READERS[format](document)
    except RecursionError:
        return Reading(wrong=(Wrong(message="is nested too deep"),))


def too_big(size: int) -> Reading:
    """Refuse a schema for its size."""
    return Reading(wrong=(Wrong(message=f"has {size:,} bytes, and {MAX_BYTES:,} is the most"),))


def compare(format: SchemaFormat, old: bytes, new: bytes) -> tuple[Finding, ...]:
    """What a change means; both were read and found good."""
    changes = Changes()
    if format is SchemaFormat.GRAPHQL:
        graphql.compare(old, new, changes)
        return ordered(changes.found)
    before, after = load(old), load(new)
    match format:
        case SchemaFormat.OPENAPI:
            openapi.compare(before, after, changes)
        case SchemaFormat.ASYNCAPI:
            asyncapi.compare(before, after, changes)
        case _:
            values = Comparison(old_root=before.value, new_root=after.value, changes=changes)
            values.compare(before.value, after.value, "data", written=False)
    return ordered(changes.found)


def _json_schema(document: Document) -> Reading:
    root = document.value
    if wrong := openapi.remote(document):
        return Reading(wrong=wrong)
    try:
        validators.validator_for(root, validators.Draft202012Validator).check_schema(root)
    except SchemaError as error:
        text = error.message.splitlines()[0][:200]
        return Reading(wrong=(document.wrong(tuple(error.absolute_path), text),))
    properties = root.get("properties")
    return Reading(
        title=str(root.get("title", "")),
        version=str(root.get("version", "")),
        operations=tuple(properties) if isinstance(properties, dict) else (),
    )


_READERS: Final = {
    SchemaFormat.OPENAPI: openapi.read,
    SchemaFormat.ASYNCAPI: asyncapi.read,
    SchemaFormat.JSON_SCHEMA: _json_schema,
}
