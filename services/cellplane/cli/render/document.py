"""Messages as YAML that ``apply`` reads again: the same meaning, the same text.

Of kinds that documents can have, what only the server sets is left out, and the ``etag`` with it;
JSON has everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from cellplane.cli.documents.scalars import NULL, enum_prefix
from cellplane.cli.kinds import Kind

_PLAIN: Final = re.compile(r"[A-Za-z/_][A-Za-z0-9_./@+-]*(?:[ :][A-Za-z0-9_./@+-]+)*")
_WORDS: Final = NULL | frozenset(
    {"true", "True", "TRUE", "false", "False", "FALSE", "yes", "no", "on", "off", "y", "n"}
)
_ESCAPES: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def document(kind: Kind, resource: Message) -> str:
    """Write one resource as a document."""
    return dump(headed(kind, plain(resource, written_only=kind.applicable)))


def headed(kind: Kind, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a resource behind its kind; a field that is called so, too, has both words."""
    return {
        "kind": kind.name,
        **{f"{kind.singular}Kind" if name == "kind" else name: v for name, v in fields.items()},
    }


def plain(message: Any, *, written_only: bool = False) -> dict[str, Any]:
    """The fields that are set, by their names in JSON; enum values without their prefix."""
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        if written_only and (field.name == "etag" or _is_output(field)):
            continue
        found[field.json_name] = _field(field, value, written_only)
    return found


def _field(field: FieldDescriptor, value: Any, written_only: bool) -> Any:
    entry = field.message_type
    if field.is_repeated and entry is not None and entry.GetOptions().map_entry:
        inner = entry.fields_by_name["value"]
        return {str(key): _value(inner, value[key], written_only) for key in sorted(value)}
    if field.is_repeated:
        return [_value(field, item, written_only) for item in value]
    return _value(field, value, written_only)


def _value(field: FieldDescriptor, value: Any, written_only: bool) -> Any:
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name.removeprefix(enum_prefix(field.enum_type)) if known else str(value)
    if field.message_type is None:
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if field.message_type.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        return value.ToJsonString()
    if field.message_type.full_name in ("google.protobuf.Struct", "google.protobuf.Value"):
        return _whole(MessageToDict(value))
    return plain(value, written_only=written_only)


def _whole(value: Any) -> Any:
    """Free values by key, with numbers as they were written."""
    match value:
        case dict():
            return {key: _whole(value[key]) for key in sorted(value)}
        case list():
            return [_whole(item) for item in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def _is_output(field: FieldDescriptor) -> bool:
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.OUTPUT_ONLY in behaviors


def dump(value: Any) -> str:
    """Write plain values as YAML, in their own order."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Any) -> Iterator[str]:
    match value:
        case dict() if value:
            for key, item in value.items():
                yield from _entry(f"{scalar(str(key))}:", item)
        case list() | tuple() if value:
            for item in value:
                first, *rest = list(_lines(item))
                yield f"- {first}"
                yield from (f"  {line}" for line in rest)
        case _:
            yield scalar(value)


def _entry(head: str, item: Any) -> Iterator[str]:
    if isinstance(item, dict) and item:
        yield head
        yield from (f"  {line}" for line in _lines(item))
    elif isinstance(item, list | tuple) and item:
        yield head
        yield from _lines(item)
    else:
        yield f"{head} {scalar(item)}"


def scalar(value: Any) -> str:
    """Write one value; text is quoted where it could be read as anything else."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict():
            return "{}"
        case list() | tuple():
            return "[]"
        case int() | float():
            return str(value)
    text = str(value)
    if _PLAIN.fullmatch(text) and text not in _WORDS and len(text) < 200:
        return text
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
