"""One door to all text formats: what is wrong with a schema, and what a change of it means.

The tools of a format are heavy, so they are imported when the first schema of it comes.
"""

from __future__ import annotations

from typing import Final

from cellplane.model.catalog.schemas.document import Document, Unreadable, load
from cellplane.model.catalog.schemas.finding import Changes, Finding, Reading, Wrong, ordered
from cellplane.model.catalog.schemas.values import Comparison
from cellplane.model.domain.resources import SchemaFormat

MAX_BYTES: Final = 1024 * 1024


def read(format: SchemaFormat, content: bytes) -> Reading:
    """Check a schema of any format but protobuf, and say what it offers."""
    if format is SchemaFormat.GRAPHQL:
        from cellplane.model.catalog.schemas import graphql

        return graphql.read(content)
    try:
        document = load(content)
    except Unreadable as unreadable:
        return Reading(wrong=(unreadable.wrong,))
    try:
        return _read(format, document)
    except RecursionError:
        return Reading(wrong=(Wrong(message="is nested too deep"),))


def too_big(size: int) -> Reading:
    """Refuse a schema for its size."""
    return Reading(wrong=(Wrong(message=f"has {size:,} bytes, and {MAX_BYTES:,} is the most"),))


def compare(format: SchemaFormat, old: bytes, new: bytes) -> tuple[Finding, ...]:
    """What a change means; both were read and found good."""
    changes = Changes()
    if format is SchemaFormat.GRAPHQL:
        from cellplane.model.catalog.schemas import graphql

        graphql.compare(old, new, changes)
        return ordered(changes.found)
    before, after = load(old), load(new)
    match format:
        case SchemaFormat.OPENAPI:
            from cellplane.model.catalog.schemas import openapi

            openapi.compare(before, after, changes)
        case SchemaFormat.ASYNCAPI:
            from cellplane.model.catalog.schemas import asyncapi

            asyncapi.compare(before, after, changes)
        case _:
            values = Comparison(old_root=before.value, new_root=after.value, changes=changes)
            values.compare(before.value, after.value, "data", written=False)
    return ordered(changes.found)


def _read(format: SchemaFormat, document: Document) -> Reading:
    match format:
        case SchemaFormat.OPENAPI:
            from cellplane.model.catalog.schemas import openapi

            return openapi.read(document)
        case SchemaFormat.ASYNCAPI:
            from cellplane.model.catalog.schemas import asyncapi

            return asyncapi.read(document)
        case _:
            return _json_schema(document)


def _json_schema(document: Document) -> Reading:
    from jsonschema import validators
    from jsonschema.exceptions import SchemaError

    from cellplane.model.catalog.schemas import openapi

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
