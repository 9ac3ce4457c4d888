"""Which fields differ between two messages, by path, with their values; works by reflection.

An element of a list of messages is told by its first field, where that is a text that no two share,
so that what moved is not taken for what changed. A field that is marked ``debug_redact`` is named,
and its value never shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

_SERVERS = frozenset({"name", "uid", "create_time", "update_time", "etag"})
"""Fields of every resource that say nothing of what somebody wanted."""
_REDACTED = "(secret)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field; ``None`` is a value that is not set."""

    path: str
    old: Any
    new: Any


def differences(old: Message | None, new: Message | None) -> list[Difference]:
    """Compare two states of one resource; ``None`` where it does not exist."""
    some = new if new is not None else old
    if some is None:
        return []
    empty = type(some)()
    found: list[Difference] = []
    for field in some.DESCRIPTOR.fields:
        if field.name not in _SERVERS:
            found += _field(field, old or empty, new or empty, field.name)
    return found


def _message(old: Message, new: Message, path: str) -> Iterator[Difference]:
    for field in new.DESCRIPTOR.fields:
        yield from _field(field, old, new, f"{path}.{field.name}")


def _field(field: Any, old: Message, new: Message, path: str) -> Iterator[Difference]:
    before, after = getattr(old, field.name), getattr(new, field.name)
    if field.is_repeated:
        if before == after:
            return
        if _is_map(field):
            # The order of a map means nothing, and is not the same twice.
            yield from _keyed(
                field, dict(sorted(before.items())), dict(sorted(after.items())), path
            )
        elif (keys := _by_key(field, before)) is None or (kept := _by_key(field, after)) is None:
            yield _difference(field, path, list(before) or None, list(after) or None)
        else:
            yield from _keyed(field, keys, kept, path)
        return
    was, is_ = _is_set(field, old), _is_set(field, new)
    if not was and not is_:
        return
    if was and is_ and isinstance(before, Struct) and not field.GetOptions().debug_redact:
        yield from _free(_whole(MessageToDict(before)), _whole(MessageToDict(after)), path)
    elif was and is_ and field.message_type is not None and not _is_opaque(field):
        yield from _message(before, after, path)
    elif was != is_ or before != after:
        yield _difference(field, path, before if was else None, after if is_ else None)


def _free(old: Any, new: Any, path: str) -> Iterator[Difference]:
    """Free values: maps by key, all else as a whole."""
    if old == new and type(old) is type(new):
        return
    if not (isinstance(old, dict) and isinstance(new, dict)):
        yield Difference(path=path, old=old, new=new)
        return
    for key in sorted(old.keys() | new.keys()):
        own = f"{path}.{key}" if key.isidentifier() else f"{path}[{json.dumps(key)}]"
        yield from _free(old.get(key), new.get(key), own)


def _whole(value: Any) -> Any:
    """Whole numbers as they were written: the wire has but one kind of number."""
    match value:
        case dict():
            return {key: _whole(item) for key, item in value.items()}
        case list():
            return [_whole(item) for item in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def _keyed(
    field: FieldDescriptor, old: Mapping[Any, Any], new: Mapping[Any, Any], path: str
) -> Iterator[Difference]:
    order = [*old, *(key for key in new if key not in old)]
    both = [key for key in old if key in new]
    for key in order:
        before, after = old.get(key), new.get(key)
        at = f"{path}[{json.dumps(key, ensure_ascii=False)}]"
        if isinstance(before, Message) and isinstance(after, Message):
            yield from _message(before, after, at)
        elif before != after:
            yield _difference(field, at, before, after)
    if not _is_map(field) and both != [key for key in new if key in old]:
        yield Difference(path=path, old=list(old), new=list(new))


def _by_key(field: FieldDescriptor, items: Sequence[Any]) -> dict[str, Any] | None:
    """Elements by their ids; ``None`` where they have none."""
    entry = field.message_type
    if entry is None or _is_opaque(field):
        return None
    key = entry.fields_by_number.get(1)
    if key is None or key.type != FieldDescriptor.TYPE_STRING or key.is_repeated:
        return None
    found = {getattr(item, key.name): item for item in items}
    return found if len(found) == len(items) and "" not in found else None


def _is_set(field: FieldDescriptor, message: Message) -> bool:
    if field.has_presence:
        return message.HasField(field.name)
    return bool(getattr(message, field.name) != field.default_value)


def _is_opaque(field: FieldDescriptor) -> bool:
    """Whether a message is one value, such as a time."""
    entry = field.message_type
    return entry is not None and entry.full_name.startswith("google.protobuf.")


def _is_map(field: FieldDescriptor) -> bool:
    entry = field.message_type
    return bool(entry is not None and field.is_repeated and entry.GetOptions().map_entry)


def _difference(field: FieldDescriptor, path: str, old: Any, new: Any) -> Difference:
    return Difference(path=path, old=_plain(field, old), new=_plain(field, new))


def _plain(field: FieldDescriptor, value: Any) -> Any:
    """A value as JSON has it."""
    if value is None:
        return None
    if field.GetOptions().debug_redact:
        return _REDACTED
    if isinstance(value, list):
        return [_plain(field, item) for item in value]
    if isinstance(value, Struct):
        return _whole(MessageToDict(value))
    if isinstance(value, Message):
        return MessageToDict(redacted(value), preserving_proto_field_name=True)
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    return value


def redacted(message: Message) -> Message:
    """A copy that shows no secret."""
    shown = type(message)()
    shown.CopyFrom(message)
    _redact(shown)
    return shown


def _redact(message: Message) -> None:
    for field, value in list(message.ListFields()):
        if field.GetOptions().debug_redact:
            message.ClearField(field.name)
            if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
                setattr(message, field.name, _REDACTED)
        elif field.message_type is not None and not _is_map(field):
            for part in value if field.is_repeated else (value,):
                _redact(part)
