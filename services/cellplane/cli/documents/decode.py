"""Nodes to messages, by the contracts' descriptors: every finding at once, each with its place.

Field names are taken in both spellings (``target_port``, ``targetPort``), enum values with or
without their prefix, references relative to the organization. What only the server sets is read
over, and noted.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any, Final

from google.api import field_behavior_pb2, resource_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from cellplane.cli import kinds
from cellplane.cli.documents import free, schema_file
from cellplane.cli.documents.nodes import Mapping, Node, Scalar, Sequence
from cellplane.cli.documents.places import Finding, Place, Places
from cellplane.cli.documents.scalars import (
    Unfit,
    is_null,
    read_duration,
    read_time,
    value_of,
)

HEADER: Final = frozenset({"kind", "apiVersion", "api_version"})
"""Keys of a document that are not fields of its message."""
_TIME: Final = "google.protobuf.Timestamp"
_DURATION: Final = "google.protobuf.Duration"


@dataclass(slots=True, kw_only=True)
class Reader:
    """Reads one document into one message."""

    organization: str
    places: Places
    findings: list[Finding] = field(default_factory=list)
    ignored: list[Finding] = field(default_factory=list)
    """Fields that only the server sets."""

    def read(self, node: Mapping, message: Message) -> None:
        """Fill *message* from a document's fields."""
        self._message(node, message, "", skip=HEADER)

    def add(self, place: Place, path: str, text: str) -> None:
        """Note one finding."""
        self.findings.append(Finding(place=place, field=path, message=text))

    def _message(
        self, node: Mapping, message: Any, path: str, *, skip: frozenset[str] = frozenset()
    ) -> None:
        descriptor: Descriptor = message.DESCRIPTOR
        seen: dict[str, Place] = {}
        chosen: dict[str, str] = {}
        for key, value in node.items:
            if key.text in skip:
                continue
            wanted = _field(descriptor, key.text)
            if wanted is None:
                self.add(key.place, _join(path, key.text), _unknown(descriptor, key.text))
                continue
            own = _join(path, wanted.name)
            if wanted.name in seen:
                self.add(
                    key.place,
                    own,
                    f'"{key.text}" is there twice, first in line {seen[wanted.name].line}: '
                    "remove one",
                )
                continue
            seen[wanted.name] = key.place
            self.places.fields[own] = key.place
            if _is_output(wanted):
                text = "only the server sets it"
                self.ignored.append(Finding(place=key.place, field=own, message=text))
                continue
            if is_null(value):
                continue
            oneof = wanted.containing_oneof
            if oneof is not None and oneof.name in chosen:
                other = chosen[oneof.name]
                self.add(key.place, own, f"excludes {other}: write one of both")
                continue
            if oneof is not None:
                chosen[oneof.name] = wanted.name
            self._value(value, message, wanted, own)

    def _value(self, node: Node, message: Any, wanted: FieldDescriptor, path: str) -> None:
        if wanted.is_repeated and _is_map(wanted):
            self._map(node, getattr(message, wanted.name), wanted, path)
        elif wanted.is_repeated:
            self._list(node, getattr(message, wanted.name), wanted, path)
        elif wanted.message_type is not None:
            child = getattr(message, wanted.name)
            child.SetInParent()
            self._submessage(node, child, path)
        else:
            value = self._scalar(node, wanted, path)
            if value is not None:
                setattr(message, wanted.name, value)

    def _list(self, node: Node, target: Any, wanted: FieldDescriptor, path: str) -> None:
        if not isinstance(node, Sequence):
            self.add(node.place, path, f"is {_what(node)}, and a list is wanted: begin with -")
            return
        for index, item in enumerate(node.items):
            own = f"{path}[{index}]"
            self.places.fields[own] = item.place
            if wanted.message_type is not None:
                self._submessage(item, target.add(), own)
                continue
            value = self._scalar(item, wanted, own)
            if value is not None:
                target.append(value)

    def _map(self, node: Node, target: Any, wanted: FieldDescriptor, path: str) -> None:
        if not isinstance(node, Mapping):
            self.add(node.place, path, f"is {_what(node)}, and keys with values are wanted")
            return
        entry: Any = wanted.message_type
        value_field: FieldDescriptor = entry.fields_by_name["value"]
        seen: set[str] = set()
        for key, item in node.items:
            own = f'{path}["{key.text}"]'
            self.places.fields[own] = key.place
            if key.text in seen:
                self.add(key.place, own, f'"{key.text}" is there twice: remove one')
            seen.add(key.text)
            value = self._scalar(item, value_field, own)
            if value is not None:
                target[key.text] = value

    def _submessage(self, node: Node, message: Any, path: str) -> None:
        name = message.DESCRIPTOR.full_name
        if name in (_TIME, _DURATION):
            if not isinstance(node, Scalar):
                self.add(node.place, path, f"is {_what(node)}, and a word is wanted")
                return
            try:
                (read_time if name == _TIME else read_duration)(node, message)
            except Unfit as unfit:
                self.add(node.place, path, str(unfit))
            return
        if name in free.KINDS:
            free.take(node, message, path, self.places, self.add)
            return
        if not isinstance(node, Mapping):
            fields = ", ".join(f.json_name for f in message.DESCRIPTOR.fields[:4])
            self.add(
                node.place, path, f"is {_what(node)}, and fields are wanted: {fields}, and so on"
            )
            return
        if name == schema_file.OFFER_SCHEMA:
            node, own = schema_file.split(node)
            if own:
                try:
                    schema_file.take(own, message)
                except schema_file.Unreadable as unreadable:
                    self.add(next(iter(own.values())).place, f"{path}.file", str(unreadable))
        self._message(node, message, path)

    def _scalar(self, node: Node, wanted: FieldDescriptor, path: str) -> Any:
        if not isinstance(node, Scalar) or is_null(node):
            self.add(node.place, path, f"is {_what(node)}, and one value is wanted")
            return None
        try:
            value = value_of(node, wanted)
        except Unfit as unfit:
            self.add(node.place, path, str(unfit))
            return None
        reference = wanted.GetOptions().Extensions[resource_pb2.resource_reference].type
        if not reference or not value:
            return value
        kind = kinds.by_type(reference)
        name = kind.absolute(value, self.organization)
        if kind.ids(name) is None:
            relative = kind.form.split("/", 2)[-1]
            self.add(
                node.place,
                path,
                f'"{value}" is not the name of a {kind.singular}: write {relative}',
            )
        return name


def _field(descriptor: Descriptor, key: str) -> FieldDescriptor | None:
    found = descriptor.fields_by_name.get(key)
    return found if found is not None else descriptor.fields_by_camelcase_name.get(key)


def _unknown(descriptor: Descriptor, key: str) -> str:
    own = [f for f in descriptor.fields if not _is_output(f)]
    known = [f.json_name for f in own]
    inner = next(
        (f for f in own if f.message_type and not f.is_repeated and _field(f.message_type, key)),
        None,
    )
    if inner is not None:
        return f'"{key}" is a field of {inner.json_name}: write it in there'
    close = difflib.get_close_matches(key, known, n=1)
    hint = f'did you mean "{close[0]}"?' if close else f"fields are {', '.join(known)}"
    return f'"{key}" is not a field of {descriptor.name}: {hint}'


def _is_output(wanted: FieldDescriptor) -> bool:
    behaviors = wanted.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.OUTPUT_ONLY in behaviors


def _is_map(wanted: FieldDescriptor) -> bool:
    entry = wanted.message_type
    return bool(entry is not None and entry.GetOptions().map_entry)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _what(node: Node) -> str:
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a group of fields"
    return "empty" if is_null(node) else f'"{node.text[:40]}"'
