"""Fields by reflection: masks (AIP-134, 161), and who may write what (AIP-203)."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from google.api import field_behavior_pb2 as behavior
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from cellplane.cell.problem import Findings, Invalid

_STEP = re.compile(r"`([^`]*)`|([^.`]+)")
_PATH = re.compile(r"(`[^`]*`|[^.`]+)(\.(`[^`]*`|[^.`]+))*")
_KEPT = frozenset({"name", "uid", "create_time", "update_time", "etag"})
"""The server's own fields of every resource: a mask may name them, and nothing comes of it."""


@functools.cache
def has_behavior(field: FieldDescriptor, which: int) -> bool:
    """Tell whether a field is annotated with a behavior."""
    return which in field.GetOptions().Extensions[behavior.field_behavior]


def is_output(field: FieldDescriptor) -> bool:
    """Tell whether only the server writes a field."""
    return has_behavior(field, behavior.OUTPUT_ONLY)


def clear_output(message: Message) -> None:
    """Forget what a client wrote into fields that only the server writes (AIP-203)."""
    for field, value in list(message.ListFields()):
        if is_output(field):
            message.ClearField(field.name)
        elif field.message_type is not None and not _is_map(field):
            for part in value if field.is_repeated else (value,):
                if _has_output(field.message_type):
                    clear_output(part)


def clear_input(message: Message) -> None:
    """Forget what is only asked with, and neither stored nor answered (AIP-203)."""
    for field, _ in message.ListFields():
        if has_behavior(field, behavior.INPUT_ONLY):
            message.ClearField(field.name)


@functools.cache
def _has_output(descriptor: Descriptor) -> bool:
    if descriptor.file.package == "google.protobuf":
        # Free values, which are inside of each other without end.
        return False
    return any(is_output(field) for field in descriptor.fields) or any(
        field.message_type is not None
        and field.message_type is not descriptor
        and _has_output(field.message_type)
        for field in descriptor.fields
    )


def merge(old: Message, new: Message, paths: Sequence[str]) -> Message:
    """Put the fields of *new* that *paths* name into a copy of *old* (AIP-134).

    No path is every field that *new* has set; ``*`` replaces the whole but what the server writes.

    Raises:
        Invalid: a path names no field; every such path is a finding.
    """
    result = type(old)()
    result.CopyFrom(old)
    if not paths:
        paths = [field.name for field, _ in new.ListFields()]
    elif "*" in paths:
        paths = [field.name for field in new.DESCRIPTOR.fields]
    findings = Findings()
    for index, path in enumerate(paths):
        steps = list(_steps(path)) if _PATH.fullmatch(path) else []
        if steps and steps[0] in _KEPT:
            continue
        problem = _merge_path(result, new, steps) if steps else "it is not a path"
        if problem:
            findings.at("update_mask").at("paths").at(index).add(
                "FIELD_PATH_INVALID", f'update_mask path "{path}": {problem}', value=path
            )
    if findings.problems:
        raise Invalid("the update mask names no such fields", problems=findings.problems)
    return result


def _steps(path: str) -> Iterator[str]:
    for quoted, plain in _STEP.findall(path):
        yield quoted or plain


def _merge_path(target: Message, source: Message, steps: list[str]) -> str:
    """Copy one path; answers what is wrong with it, or nothing."""
    name, rest = steps[0], steps[1:]
    field: Any = target.DESCRIPTOR.fields_by_name.get(name)
    if field is None:
        known = ", ".join(f.name for f in target.DESCRIPTOR.fields)
        return f'there is no field "{name}": the fields are {known}'
    if is_output(field):
        return ""
    if not rest:
        _copy(target, source, field)
        return ""
    if _is_map(field):
        if len(rest) > 1:
            return f'"{name}" is a map: name one key of it'
        _copy_key(target, source, field, rest[0])
        return ""
    if field.is_repeated:
        return f'"{name}" is a list: name the whole of it'
    if field.message_type is None:
        return f'"{name}" has no fields of its own'
    if not source.HasField(name) and not target.HasField(name):
        # Nothing to copy, and nothing to clear: only whether there is such a field.
        return _merge_path(field.message_type._concrete_class(), getattr(source, name), rest)
    return _merge_path(getattr(target, name), getattr(source, name), rest)


def _copy(target: Message, source: Message, field: FieldDescriptor) -> None:
    target.ClearField(field.name)
    if field.is_repeated:
        if _is_map(field) and field.message_type is not None:
            getattr(target, field.name).MergeFrom(getattr(source, field.name))
        else:
            getattr(target, field.name).extend(getattr(source, field.name))
    elif field.message_type is not None:
        if source.HasField(field.name):
            getattr(target, field.name).CopyFrom(getattr(source, field.name))
    elif not field.has_presence or source.HasField(field.name):
        setattr(target, field.name, getattr(source, field.name))


def _copy_key(target: Message, source: Message, field: FieldDescriptor, key: str) -> None:
    entries = getattr(target, field.name)
    given = getattr(source, field.name)
    if key in given:
        entries[key] = given[key]
    elif key in entries:
        del entries[key]


def immutable_changes(old: Message, new: Message, findings: Findings) -> None:
    """Find fields that may not change, and did (AIP-203)."""
    for field in new.DESCRIPTOR.fields:
        if not has_behavior(field, behavior.IMMUTABLE):
            continue
        before, after = getattr(old, field.name), getattr(new, field.name)
        if before != after:
            findings.at(field.name).add(
                "FIELD_IMMUTABLE",
                f"{field.name} cannot be changed: delete the resource and create it anew",
                value=str(after),
            )


def _is_map(field: FieldDescriptor) -> bool:
    entry = field.message_type
    return bool(entry is not None and field.is_repeated and entry.GetOptions().map_entry)
