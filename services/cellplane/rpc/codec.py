"""Between a dataclass and a message with equal field names, compiled once into closures.

Enums correspond by name: the wire's is the member's value behind the enum's own prefix. What the
wire leaves unset becomes ``None``, the member ``UNSPECIFIED``, or the field's default, whichever
the field's type allows; an enum whose type allows none of them is required, and ``Invalid`` without
it. A field without a partner on the other side is refused when the codec is made, not when a value
is lost.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Generic, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from cellplane.cell.problem import Invalid, Problem

D = TypeVar("D")
M = TypeVar("M", bound=Message)

_Read = Callable[[Any], Any]
_Write = Callable[[Any, Any], None]
_MISSING: Any = object()
_EXACT = 2**53
"""Whole numbers below it are told apart by a double."""


class Codec(Generic[D, M]):
    """Converts between one dataclass and one message class."""

    __slots__ = ("_message", "_read", "_write")

    def __init__(
        self, domain: type[D], message: type[M], *, ignore: frozenset[str] = frozenset()
    ) -> None:
        """Compile; *ignore* names wire fields of the top message that the domain does not know."""
        self._message = message
        self._read, self._write = _compile(
            domain, typing.cast("Descriptor", message.DESCRIPTOR), ignore
        )

    def to_domain(self, message: M) -> D:
        """Read a message."""
        value: D = self._read(message)
        return value

    def to_wire(self, value: D) -> M:
        """Write a message."""
        message = self._message()
        self._write(message, value)
        return message


def _compile(
    domain: type[Any], descriptor: Descriptor, ignore: frozenset[str]
) -> tuple[_Read, _Write]:
    hints = typing.get_type_hints(domain)
    fields = {field.name: field for field in dataclasses.fields(domain)}
    wire = {field.name: field for field in descriptor.fields if field.name not in ignore}
    if lost := sorted(fields.keys() ^ wire.keys()):
        raise TypeError(
            f"{domain.__qualname__} and {descriptor.full_name} differ in {', '.join(lost)}"
        )
    readers: list[tuple[str, _Read]] = []
    writers: list[_Write] = []
    for name, field in fields.items():
        default = _default(field)
        read, write = _field(hints[name], wire[name], default)
        readers.append((name, read))
        writers.append(write)

    def read_all(message: Any) -> Any:
        return domain(**{name: read(message) for name, read in readers})

    def write_all(message: Any, value: Any) -> None:
        for write in writers:
            write(message, value)

    return read_all, write_all


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return _MISSING


def _field(hint: Any, wire: FieldDescriptor, default: Any) -> tuple[_Read, _Write]:
    name = wire.name
    inner, optional = _unwrap(hint)
    origin = typing.get_origin(inner)
    if _is_map(wire):
        return _map(name, inner, wire)
    if wire.is_repeated:
        if origin is not tuple:
            raise TypeError(f"{wire.full_name} is repeated: give it a tuple, not {hint}")
        return _repeated(name, typing.get_args(inner)[0], wire)
    if wire.message_type is not None:
        return _single_message(name, inner, wire, optional=optional, default=default)
    return _scalar(name, inner, wire, optional=optional, default=default)


def _descriptor_of(wire: FieldDescriptor) -> Descriptor:
    if wire.message_type is None:
        raise TypeError(f"{wire.full_name} is not a message")
    return wire.message_type


def _unwrap(hint: Any) -> tuple[Any, bool]:
    """Split ``X | None``."""
    if typing.get_origin(hint) in {types.UnionType, typing.Union}:
        inner = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        if len(inner) == 1:
            return inner[0], True
        raise TypeError(f"a codec cannot choose in {hint}")
    return hint, False


def _is_map(wire: FieldDescriptor) -> bool:
    entry = wire.message_type
    return bool(entry is not None and wire.is_repeated and entry.GetOptions().map_entry)


def _map(name: str, inner: Any, wire: FieldDescriptor) -> tuple[_Read, _Write]:
    _, value_hint = typing.get_args(inner)
    value = _descriptor_of(wire).fields_by_name["value"]
    if value.message_type is not None or value.enum_type is not None or value_hint is not str:
        raise TypeError(f"{wire.full_name}: maps of {value_hint} are not converted")

    def read(message: Any) -> Any:
        return dict(getattr(message, name))

    def write(message: Any, domain: Any) -> None:
        content: Mapping[str, str] = getattr(domain, name)
        if content:
            getattr(message, name).update(content)

    return read, write


def _repeated(name: str, element: Any, wire: FieldDescriptor) -> tuple[_Read, _Write]:
    if wire.message_type is not None:
        read_one, write_one = _message_value(element, wire.message_type)

        def read_messages(message: Any) -> Any:
            return tuple(map(read_one, getattr(message, name)))

        def write_messages(message: Any, domain: Any) -> None:
            target = getattr(message, name)
            for value in getattr(domain, name):
                write_one(target.add(), value)

        return read_messages, write_messages
    to_domain, to_wire = _element(element, wire)

    def read(message: Any) -> Any:
        values = getattr(message, name)
        return tuple(map(to_domain, values)) if to_domain else tuple(values)

    def write(message: Any, domain: Any) -> None:
        values = getattr(domain, name)
        if values:
            getattr(message, name).extend(map(to_wire, values) if to_wire else values)

    return read, write


def _single_message(
    name: str, inner: Any, wire: FieldDescriptor, *, optional: bool, default: Any
) -> tuple[_Read, _Write]:
    read_one, write_one = _message_value(inner, _descriptor_of(wire))
    if not optional and default is _MISSING:
        # A message that has to be there: an unset one reads as an empty one would.
        def absent(message: Any) -> Any:
            return read_one(getattr(message, name))
    else:

        def absent(message: Any) -> Any:
            del message
            return None if default is _MISSING else default

    def read(message: Any) -> Any:
        return read_one(getattr(message, name)) if message.HasField(name) else absent(message)

    def write(message: Any, domain: Any) -> None:
        value = getattr(domain, name)
        if value is not None and not (value == {} and default == {}):
            target = getattr(message, name)
            target.SetInParent()
            write_one(target, value)

    return read, write


def _message_value(inner: Any, descriptor: Descriptor) -> tuple[_Read, _Write]:
    if descriptor is Timestamp.DESCRIPTOR:
        return (
            lambda stamp: stamp.ToDatetime(tzinfo=UTC),
            _write_time,
        )
    if descriptor is Duration.DESCRIPTOR:
        return (
            lambda duration: duration.ToTimedelta(),
            _write_duration,
        )
    if descriptor is Struct.DESCRIPTOR:
        return _read_struct, _write_struct
    if descriptor is Value.DESCRIPTOR:
        return _read_value, _write_value
    if not dataclasses.is_dataclass(inner):
        raise TypeError(f"{descriptor.full_name} needs a dataclass, not {inner}")
    return _compile(typing.cast("type[Any]", inner), descriptor, frozenset())


def _read_struct(struct: Struct) -> dict[str, Any]:
    return {key: _read_value(struct.fields[key]) for key in sorted(struct.fields)}


def _read_value(value: Value) -> Any:
    """JSON; a whole number is an int, though the wire has but one kind of number."""
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) < _EXACT else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "struct_value":
            return _read_struct(value.struct_value)
        case "list_value":
            return [_read_value(item) for item in value.list_value.values]
        case _:
            return None


def _write_struct(struct: Struct, value: Mapping[str, Any]) -> None:
    for key, item in value.items():
        _write_value(struct.fields[key], item)


def _write_value(target: Value, value: Any) -> None:
    match value:
        case None:
            target.null_value = 0  # type: ignore[assignment]
        case bool():
            target.bool_value = value
        case int() | float():
            target.number_value = value
        case str():
            target.string_value = value
        case Mapping():
            target.struct_value.SetInParent()
            _write_struct(target.struct_value, value)
        case _:
            items: ListValue = target.list_value
            items.SetInParent()
            for item in value:
                _write_value(items.values.add(), item)


def _write_time(stamp: Timestamp, value: datetime) -> None:
    stamp.FromDatetime(value)


def _write_duration(duration: Duration, value: timedelta) -> None:
    duration.FromTimedelta(value)


def _scalar(
    name: str, inner: Any, wire: FieldDescriptor, *, optional: bool, default: Any
) -> tuple[_Read, _Write]:
    to_domain, to_wire = _element(inner, wire, optional=optional, default=default)
    presence = wire.has_presence
    if optional and not presence and wire.enum_type is None:
        raise TypeError(
            f"{wire.full_name} cannot say None: make it optional there, or {inner} here"
        )
    # What is not set reads as the default, or as the zero that the wire gives.
    absent = None if optional and default is _MISSING else default
    by_default = presence and absent is not _MISSING

    def read(message: Any) -> Any:
        if by_default and not message.HasField(name):
            return absent
        value = getattr(message, name)
        return to_domain(value) if to_domain else value

    def write(message: Any, domain: Any) -> None:
        value = getattr(domain, name)
        if value is not None:
            setattr(message, name, to_wire(value) if to_wire else value)

    return read, write


def _element(
    inner: Any, wire: FieldDescriptor, *, optional: bool = False, default: Any = _MISSING
) -> tuple[_Read | None, _Read | None]:
    """How one value is converted; ``None`` where it is the same on both sides."""
    if wire.enum_type is None:
        return None, None
    if not (isinstance(inner, type) and issubclass(inner, Enum)):
        raise TypeError(f"{wire.full_name} is an enum; {inner} is not")
    to_wire = _numbers(inner, wire.enum_type)
    to_domain: dict[int, Any] = {number: member for member, number in to_wire.items()}
    unset = inner.__members__.get("UNSPECIFIED")
    if unset is None:
        unset = None if optional else default

    def read(number: int) -> Any:
        # A number that a newer peer knows reads as unspecified here.
        member = to_domain.get(number, unset)
        if member is _MISSING:
            raise _required(wire, number, to_wire)
        return member

    return read, to_wire.__getitem__


def _required(wire: FieldDescriptor, number: int, known: Mapping[Enum, int]) -> Invalid:
    values = ", ".join(str(member.value) for member in known)
    problem = Problem(
        reason="FIELD_REQUIRED" if number == 0 else "ENUM_VALUE_UNKNOWN",
        message=f"{wire.name} is {'not set' if number == 0 else number}: give one of {values}",
        field=wire.name,
        value=str(number) if number else "",
    )
    return Invalid(problem.message, problems=[problem], reason=problem.reason)


def _numbers(kind: type[Enum], descriptor: EnumDescriptor) -> dict[Enum, int]:
    """The number of each member; the wire's zero stands for ``UNSPECIFIED`` and ``None``."""
    prefix = _prefix(descriptor)
    by_name = {value.name.removeprefix(prefix): value.number for value in descriptor.values}
    zero = next(name for name, number in by_name.items() if number == 0)
    if unknown := sorted({str(member.value) for member in kind} - by_name.keys()):
        raise TypeError(f"{descriptor.full_name} has no {', '.join(unknown)}")
    if unknown := sorted(by_name.keys() - {str(member.value) for member in kind} - {zero}):
        raise TypeError(f"{kind.__qualname__} has no {', '.join(unknown)}")
    return {member: by_name[str(member.value)] for member in kind}


def _prefix(descriptor: EnumDescriptor) -> str:
    """``PROTOCOL_`` of ``PROTOCOL_UNSPECIFIED``; nothing where values carry none (AIP-216)."""
    zero = descriptor.values_by_number[0].name
    stem = zero.removesuffix("UNSPECIFIED")
    return stem if all(value.name.startswith(stem) for value in descriptor.values) else ""
