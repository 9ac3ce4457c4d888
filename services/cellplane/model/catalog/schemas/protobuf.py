"""Protocol Buffers: what a change of descriptors means to who has the old ones.

The same on the wire is not the same in JSON and in code: a field that is renamed is dangerous, one
whose number is gone or means another type is breaking. Types that share an encoding
(https://protobuf.dev/programming-guides/proto3/#updating) are taken for each other with care.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cellplane.model.catalog.schemas.finding import Changes

_ALIKE: Final = (
    frozenset({"int32", "uint32", "int64", "uint64", "bool"}),
    frozenset({"sint32", "sint64"}),
    frozenset({"fixed32", "sfixed32"}),
    frozenset({"fixed64", "sfixed64"}),
    frozenset({"string", "bytes"}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtoField:
    """A field of a message, by its number."""

    name: str
    type: str
    """A scalar's word, or the full name of a message or an enum."""
    repeated: bool = False
    required: bool = False
    oneof: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtoMethod:
    """A method of a service."""

    request: str
    response: str
    client_streams: bool = False
    server_streams: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Protos:
    """All that a set of descriptors declares, by full name."""

    messages: Mapping[str, Mapping[int, ProtoField]] = field(default_factory=dict)
    enums: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    services: Mapping[str, Mapping[str, ProtoMethod]] = field(default_factory=dict)


def operations_of(protos: Protos) -> tuple[str, ...]:
    """Methods and messages, in words."""
    methods = (f"{s}/{m}" for s, methods in sorted(protos.services.items()) for m in methods)
    return (*methods, *sorted(protos.messages))


def compare(old: Protos, new: Protos, changes: Changes) -> None:
    """Find what a change means."""
    for name in sorted(old.services):
        if name not in new.services:
            changes.breaking(name, "SERVICE_REMOVED", "is not there any more")
        else:
            _service(old.services[name], new.services[name], name, changes)
    for name in sorted(old.messages):
        if name not in new.messages:
            changes.breaking(name, "MESSAGE_REMOVED", "is not there any more")
        else:
            _message(old.messages[name], new.messages[name], name, changes)
    for name in sorted(old.enums):
        if name not in new.enums:
            changes.breaking(name, "ENUM_REMOVED", "is not there any more")
        else:
            _enum(old.enums[name], new.enums[name], name, changes)
    for before, after in (
        (old.services, new.services),
        (old.messages, new.messages),
        (old.enums, new.enums),
    ):
        for name in sorted(after.keys() - before.keys()):
            changes.compatible(name, "TYPE_ADDED", "is new")


def _service(
    old: Mapping[str, ProtoMethod], new: Mapping[str, ProtoMethod], name: str, changes: Changes
) -> None:
    for word in sorted(old.keys() | new.keys()):
        place = f"{name}/{word}"
        before, after = old.get(word), new.get(word)
        if after is None:
            changes.breaking(place, "METHOD_REMOVED", "is not there any more")
        elif before is None:
            changes.compatible(place, "METHOD_ADDED", "is new")
        else:
            if before.request != after.request:
                text = f"takes {after.request} now, and took {before.request}"
                changes.breaking(place, "REQUEST_TYPE_CHANGED", text)
            if before.response != after.response:
                text = f"answers {after.response} now, and answered {before.response}"
                changes.breaking(place, "RESPONSE_TYPE_CHANGED", text)
            if (before.client_streams, before.server_streams) != (
                after.client_streams,
                after.server_streams,
            ):
                changes.breaking(place, "STREAMING_CHANGED", "streams otherwise than before")


def _message(
    old: Mapping[int, ProtoField], new: Mapping[int, ProtoField], name: str, changes: Changes
) -> None:
    for number in sorted(old.keys() | new.keys()):
        before, after = old.get(number), new.get(number)
        if before is None and after is not None:
            place = f"{name}.{after.name}"
            if after.required:
                changes.breaking(place, "REQUIRED_ADDED", "is new, and required")
            else:
                changes.compatible(place, "FIELD_ADDED", f"is new, with number {number}")
        elif before is not None and after is None:
            place = f"{name}.{before.name}"
            changes.breaking(place, "FIELD_REMOVED", f"number {number} is not there any more")
        elif before is not None and after is not None:
            _field(before, after, f"{name}.{before.name}", changes)


def _field(old: ProtoField, new: ProtoField, place: str, changes: Changes) -> None:
    if old.name != new.name:
        text = f'is called "{new.name}" now: JSON and code differ, the wire does not'
        changes.dangerous(place, "FIELD_RENAMED", text)
    if old.repeated != new.repeated:
        changes.breaking(
            place, "LABEL_CHANGED", f"is {'a list' if new.repeated else 'one value'} now"
        )
    if new.required and not old.required:
        changes.breaking(place, "REQUIRED_ADDED", "is required now, and was not")
    if old.oneof != new.oneof:
        changes.breaking(
            place,
            "ONEOF_CHANGED",
            f"is in oneof {new.oneof or 'none'}, and was in {old.oneof or 'none'}",
        )
    if old.type != new.type:
        text = f"is {new.type} now, and was {old.type}"
        if any(old.type in alike and new.type in alike for alike in _ALIKE):
            changes.dangerous(place, "TYPE_CHANGED", f"{text}: alike on the wire, if values fit")
        else:
            changes.breaking(place, "TYPE_CHANGED", text)


def _enum(old: Mapping[int, str], new: Mapping[int, str], name: str, changes: Changes) -> None:
    for number in sorted(old.keys() | new.keys()):
        before, after = old.get(number), new.get(number)
        if after is None:
            changes.breaking(f"{name}.{before}", "VALUE_REMOVED", f"number {number} is gone")
        elif before is None:
            changes.compatible(f"{name}.{after}", "VALUE_ADDED", "is new")
        elif before != after:
            changes.dangerous(f"{name}.{before}", "VALUE_RENAMED", f'is called "{after}" now')
