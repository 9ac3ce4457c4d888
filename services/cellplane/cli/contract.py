"""The contracts with their comments, indexed by name. Read from the descriptor set alone."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2

_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_MESSAGE, _ENUM = 4, 5
_INNER_MESSAGE, _INNER_ENUM = 3, 4
_FIELDS, _VALUES = 2, 2
_SHOWN: Final = {
    field_behavior_pb2.REQUIRED: "required",
    field_behavior_pb2.OUTPUT_ONLY: "set by the server",
    field_behavior_pb2.IMMUTABLE: "cannot be changed",
    field_behavior_pb2.IDENTIFIER: "identifies it",
    field_behavior_pb2.INPUT_ONLY: "never shown",
}


@dataclass(frozen=True, slots=True)
class Contract:
    """Messages, enums and comments by full name."""

    messages: dict[str, descriptor_pb2.DescriptorProto]
    enums: dict[str, descriptor_pb2.EnumDescriptorProto]
    comments: dict[str, str]

    @classmethod
    def load(cls) -> Contract:
        """Read the set that is generated with the code."""
        data = resources.files("cellplane.api").joinpath("descriptor.binpb").read_bytes()
        found = cls({}, {}, {})
        for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
            if file.package.startswith("cellplane.api."):
                found._index(file)
        return found

    def comment(self, name: str) -> str:
        """What the contract says of a message, a field or a value."""
        return self.comments.get(name, "")

    def fields(self, name: str) -> list[Any]:
        """Fields of a message, in their order; none of anything else."""
        message = self.messages.get(name)
        return list(message.field) if message is not None else []

    def values(self, name: str) -> list[tuple[str, str]]:
        """What can be written for an enum, with what it means."""
        enum = self.enums.get(name)
        if enum is None:
            return []
        stem = enum.value[0].name.removesuffix("UNSPECIFIED")
        prefixed = all(value.name.startswith(stem) for value in enum.value)
        return [
            (
                value.name.removeprefix(stem) if prefixed else value.name,
                self.comment(f"{name}.{value.name}"),
            )
            for value in enum.value
            if value.number
        ]

    def parent_of(self, field: Any) -> str:
        """Full name of the message that holds *field*."""
        return next(n for n, m in self.messages.items() if any(f is field for f in m.field))

    def type_words(self, field: Any) -> str:
        """The type of a field, as people say it."""
        entry = self.messages.get(field.type_name.removeprefix("."))
        if entry is not None and entry.options.map_entry:
            return "map of text to text"
        word = field.type_name.rsplit(".", 1)[-1] or _SCALARS.get(field.type, "value")
        word = {"Timestamp": "time", "Duration": "duration"}.get(word, word)
        return f"list of {word}" if field.label == _FIELD.LABEL_REPEATED else word

    def behaviors(self, field: Any) -> list[str]:
        """How a field behaves: required, set by the server."""
        given = field.options.Extensions[field_behavior_pb2.field_behavior]
        return [_SHOWN[behavior] for behavior in given if behavior in _SHOWN]

    def _index(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        texts = {
            tuple(location.path): location.leading_comments.strip()
            for location in file.source_code_info.location
            if location.leading_comments
        }
        for number, message in enumerate(file.message_type):
            self._message(message, f"{file.package}.{message.name}", (_MESSAGE, number), texts)
        for number, enum in enumerate(file.enum_type):
            self._enum(enum, f"{file.package}.{enum.name}", (_ENUM, number), texts)

    def _message(
        self,
        message: descriptor_pb2.DescriptorProto,
        name: str,
        path: tuple[int, ...],
        texts: dict[tuple[int, ...], str],
    ) -> None:
        self.messages[name] = message
        self._note(name, path, texts)
        for number, field in enumerate(message.field):
            self._note(f"{name}.{field.name}", (*path, _FIELDS, number), texts)
        for number, inner in enumerate(message.nested_type):
            self._message(inner, f"{name}.{inner.name}", (*path, _INNER_MESSAGE, number), texts)
        for number, enum in enumerate(message.enum_type):
            self._enum(enum, f"{name}.{enum.name}", (*path, _INNER_ENUM, number), texts)

    def _enum(
        self,
        enum: descriptor_pb2.EnumDescriptorProto,
        name: str,
        path: tuple[int, ...],
        texts: dict[tuple[int, ...], str],
    ) -> None:
        self.enums[name] = enum
        self._note(name, path, texts)
        for number, value in enumerate(enum.value):
            self._note(f"{name}.{value.name}", (*path, _VALUES, number), texts)

    def _note(self, name: str, path: tuple[int, ...], texts: dict[tuple[int, ...], str]) -> None:
        if path in texts:
            self.comments[name] = "\n".join(line.strip() for line in texts[path].splitlines())


_SCALARS: Final = {
    _FIELD.TYPE_STRING: "text",
    _FIELD.TYPE_BOOL: "true or false",
    _FIELD.TYPE_INT32: "whole number",
    _FIELD.TYPE_INT64: "whole number",
    _FIELD.TYPE_DOUBLE: "number",
    _FIELD.TYPE_BYTES: "bytes",
}
