"""Between documents and dataclasses: a reader with all findings at once, and a JSON Schema.

Both walk the types of the fields, so that neither can forget one.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Final

from cellplane.cell.problem import Findings, Invalid
from cellplane.placement.simulation.words import WORDS
from cellplane.placement.simulation.world import Event, Kind, World, required

_SCALARS: Final[Mapping[type, tuple[str, str]]] = {
    str: ("string", "text"),
    bool: ("boolean", "true or false"),
    int: ("integer", "a whole number"),
    float: ("number", "a number"),
}
_FAILED: Final = object()


def read(document: Any) -> World:
    """A world; raises ``Invalid`` with every finding."""
    findings = Findings()
    found = _value(World, document, findings)
    if isinstance(found, World):
        _check(found, findings)
    if findings.problems or not isinstance(found, World):
        raise Invalid("the world is invalid", problems=findings.problems)
    return found


def read_events(document: Any, data_planes: Iterable[str]) -> tuple[Event, ...]:
    """What happens to data planes that are there; raises ``Invalid`` with every finding."""
    findings = Findings()
    found = _value(tuple[Event, ...], document, findings.at("events"))
    if not findings.problems:
        _check_events(found, set(data_planes), findings.at("events"))
    if findings.problems:
        raise Invalid("the events are invalid", problems=findings.problems)
    return tuple(found)


def schema() -> dict[str, Any]:
    """The format as a JSON Schema (draft 2020-12)."""
    definitions: dict[str, Any] = {}
    _object(World, definitions)
    event = definitions["Event"]
    event["oneOf"] = [
        {
            "properties": {"event": {"const": kind.value}},
            "required": ["event", *required(kind)],
        }
        for kind in Kind
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A world to simulate placement in",
        "$ref": "#/$defs/World",
        "$defs": definitions,
    }


def _value(hint: Any, value: Any, at: Findings) -> Any:
    inner = _inner(hint)
    if inner is not hint and value is None:
        return None
    if dataclasses.is_dataclass(inner):
        return _dataclass(typing.cast("type[Any]", inner), value, at)
    if isinstance(inner, type) and issubclass(inner, Enum):
        return _enum(inner, value, at)
    origin, args = typing.get_origin(inner), typing.get_args(inner)
    if origin is tuple:
        if not isinstance(value, list):
            return _wrong(at, value, "a list")
        return tuple(_value(args[0], one, at.at(i)) for i, one in enumerate(value))
    if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if not isinstance(value, Mapping):
            return _wrong(at, value, "a mapping")
        return {str(k): _scalar(args[1], v, at.at(str(k))) for k, v in value.items()}
    return _scalar(inner, value, at)


def _scalar(kind: type, value: Any, at: Findings) -> Any:
    if kind is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = {
        str: isinstance(value, str),
        bool: isinstance(value, bool),
        int: isinstance(value, int) and not isinstance(value, bool),
        float: number,
    }
    if not fits[kind]:
        return _wrong(at, value, _SCALARS[kind][1])
    return float(value) if kind is float else value


def _enum(kind: type[Enum], value: Any, at: Findings) -> Any:
    if value in [m.value for m in kind]:
        return kind(value)
    return _wrong(at, value, f"one of {', '.join(_members(kind))}")


def _members(kind: type[Enum]) -> list[str]:
    return [m.value for m in kind if m.value != "UNSPECIFIED"]


def _dataclass(kind: type[Any], value: Any, at: Findings) -> Any:
    if not isinstance(value, Mapping):
        return _wrong(at, value, "a mapping")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    before = len(at.problems)
    for name in value:
        if name not in fields:
            at.at(str(name)).add(
                "FIELD_UNKNOWN", f'there is no field "{name}": there are {", ".join(fields)}'
            )
    given: dict[str, Any] = {}
    for name, field in fields.items():
        if name in value:
            given[name] = _value(hints[name], value[name], at.at(name))
        elif _needed(field):
            at.at(name).add("FIELD_REQUIRED", f"{name} is missing: give one")
    return kind(**given) if len(at.problems) == before else _FAILED


def _wrong(at: Findings, value: Any, wanted: str) -> Any:
    at.add("VALUE_INVALID", f"{value!r} is not {wanted}", value=str(value))
    return _FAILED


def _needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _inner(hint: Any) -> Any:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(a for a in typing.get_args(hint) if a is not type(None))
    return hint


def _check(world: World, findings: Findings) -> None:
    for many, key in (("data_planes", "data_plane"), ("cells", "cell"), ("decisions", "cell")):
        seen: set[str] = set()
        for index, one in enumerate(getattr(world, many)):
            name = getattr(one, key)
            if name in seen:
                findings.at(many).at(index).at(key).add(
                    "REPEATED", f'"{name}" is there twice: leave one', value=name
                )
            seen.add(name)
    cells = {c.cell for c in world.cells}
    for index, decision in enumerate(world.decisions):
        if decision.cell not in cells:
            findings.at("decisions").at(index).at("cell").add(
                "NOT_FOUND", f'there is no cell "{decision.cell}"', value=decision.cell
            )
    _check_events(world.events, {p.data_plane for p in world.data_planes}, findings.at("events"))


def _check_events(events: Iterable[Event], planes: set[str], at: Findings) -> None:
    for index, event in enumerate(events):
        for name in required(event.event):
            if getattr(event, name) in ("", None, (), {}):
                at.at(index).at(name).add(
                    "FIELD_REQUIRED", f"{event.event.value} needs {name}: give it"
                )
        if event.plane is not None:
            planes.add(event.plane.data_plane)
        if event.data_plane and event.data_plane not in planes:
            at.at(index).at("data_plane").add(
                "NOT_FOUND",
                f'there is no data plane "{event.data_plane}" then',
                value=event.data_plane,
            )
        if event.seconds < 0:
            at.at(index).at("seconds").add("VALUE_INVALID", "time does not go back")
        if event.event is Kind.REMOVE_DATA_PLANE:
            planes.discard(event.data_plane)


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    inner = _inner(hint)
    if dataclasses.is_dataclass(inner):
        kind = typing.cast("type[Any]", inner)
        if kind.__name__ not in definitions:
            _object(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if isinstance(inner, type) and issubclass(inner, Enum):
        return {"enum": _members(inner)}
    origin, args = typing.get_origin(inner), typing.get_args(inner)
    if origin is tuple:
        return {"type": "array", "items": _schema(args[0], definitions)}
    if origin is not None:
        return {"type": "object", "additionalProperties": _schema(args[1], definitions)}
    return {"type": _SCALARS[inner][0]}


def _object(kind: type[Any], definitions: dict[str, Any]) -> None:
    definitions[kind.__name__] = {}
    hints = typing.get_type_hints(kind)
    properties: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        one = _schema(hints[field.name], definitions)
        properties[field.name] = {"description": WORDS[kind.__name__][field.name], **one}
        default = field.default
        if isinstance(default, (bool, int, float)):
            properties[field.name]["default"] = default
        elif isinstance(default, Enum) and default.value != "UNSPECIFIED":
            properties[field.name]["default"] = default.value
    summary = (kind.__doc__ or "").strip().split("\n")[0]
    definitions[kind.__name__] = {
        "description": summary,
        "type": "object",
        "properties": properties,
        "required": [f.name for f in dataclasses.fields(kind) if _needed(f)],
        "additionalProperties": False,
    }
    if kind is not Event and not definitions[kind.__name__]["required"]:
        del definitions[kind.__name__]["required"]
