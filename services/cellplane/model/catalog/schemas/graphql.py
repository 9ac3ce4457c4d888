"""GraphQL: what is wrong with a schema, and what a change of it means to who queries it.

The rules are the reference implementation's own (``graphql-core``).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from graphql import (
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    build_schema,
    validate_schema,
)
from graphql.utilities import find_breaking_changes, find_dangerous_changes

from cellplane.model.catalog.schemas.finding import Changes, Reading, Wrong

MAX_TOKENS: Final = 100_000
_NAMED: Final = re.compile(r"[A-Za-z_]\w*(?:\.\w+)?")


def parse(content: bytes) -> tuple[GraphQLSchema | None, tuple[Wrong, ...]]:
    """A schema, or what is wrong with it."""
    try:
        schema = build_schema(content.decode("utf-8-sig"), max_tokens=MAX_TOKENS)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return None, (Wrong(message="is not UTF-8: save it as UTF-8", line=line),)
    except GraphQLError as error:
        return None, (_wrong(error),)
    except (TypeError, RecursionError) as error:
        lines = str(error).splitlines() or ["is nested too deep"]
        return None, tuple(Wrong(message=line) for line in lines if line)
    wrong = tuple(_wrong(error) for error in validate_schema(schema))
    return (None, wrong) if wrong else (schema, ())


def read(content: bytes) -> Reading:
    """Check a schema, and say what it offers."""
    schema, wrong = parse(content)
    return Reading(wrong=wrong, operations=tuple(_named(schema)) if schema else ())


def compare(old: bytes, new: bytes, changes: Changes) -> None:
    """Find what a change means."""
    before, after = parse(old)[0], parse(new)[0]
    if before is None or after is None:
        return
    types = before.type_map.keys() | after.type_map.keys()
    for breaking in find_breaking_changes(before, after):
        text = breaking.description
        changes.breaking(_place(text, types), breaking.type.name, text.rstrip("."))
    for dangerous in find_dangerous_changes(before, after):
        text = dangerous.description
        changes.dangerous(_place(text, types), dangerous.type.name, text.rstrip("."))


def _place(description: str, types: Collection[str]) -> str:
    """The first type, or field of one, that a description names."""
    found = (m[0] for m in _NAMED.finditer(description) if m[0].split(".")[0] in types)
    return next(found, "schema")


def _named(schema: GraphQLSchema) -> Iterator[str]:
    for root in (schema.query_type, schema.mutation_type, schema.subscription_type):
        if root is not None:
            yield from (f"{root.name} {name}" for name in root.fields)
    for name, kind in sorted(schema.type_map.items()):
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType) and name[:2] != "__":
            yield name


def _wrong(error: GraphQLError) -> Wrong:
    line = error.locations[0].line if error.locations else 0
    return Wrong(message=error.message, line=line)
