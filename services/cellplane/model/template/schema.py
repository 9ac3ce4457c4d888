"""Parameters: a subset of JSON Schema (2020-12) with defaults, read once and typed.

A keyword that is not of the subset is refused rather than read over. Defaults are filled in where
an object is there; filling in twice is filling in once.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cellplane.model.template.findings import Faults
from cellplane.model.template.functions import Unfit, compile_pattern
from cellplane.model.template.kinds import (
    ANY,
    BOOL,
    DOUBLE,
    INT,
    STRING,
    Type,
    kind_of,
    list_of,
    map_of,
    record,
    show,
)

MAX_LEVELS: Final = 12
_TYPES: Final[Mapping[str, Type]] = {
    "string": STRING,
    "integer": INT,
    "number": DOUBLE,
    "boolean": BOOL,
}
_ANNOTATIONS: Final = frozenset({"title", "description", "examples", "$schema", "$id", "$comment"})
_NUMBERS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_SIZES: Final = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_KEYWORDS: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"minLength", "maxLength", "pattern"}),
    "integer": frozenset(_NUMBERS),
    "number": frozenset(_NUMBERS),
    "boolean": frozenset(),
    "array": frozenset({"items", "minItems", "maxItems", "uniqueItems"}),
    "object": frozenset(
        {"properties", "required", "additionalProperties", "minProperties", "maxProperties"}
    ),
}
_ALWAYS: Final = frozenset({"type", "default", "enum"}) | _ANNOTATIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """One value: its type, its bounds, and what it is if nobody says."""

    type: str = "object"
    default: Any = None
    has_default: bool = False
    enum: tuple[Any, ...] = ()
    bounds: Mapping[str, Any] = field(default_factory=dict)
    pattern: Any = None
    items: Schema | None = None
    properties: Mapping[str, Schema] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    additional: Schema | None = None
    """What other keys may have; ``None`` if there are none."""

    def fill(self, value: Any) -> Any:
        """The value with every default filled in."""
        if isinstance(value, Mapping) and self.type == "object":
            filled = {}
            for name, own in value.items():
                inner = self.properties.get(name, self.additional)
                filled[name] = inner.fill(own) if inner is not None else own
            for name, schema in self.properties.items():
                if name not in filled and schema.has_default:
                    filled[name] = schema.fill(schema.default)
            return filled
        if isinstance(value, list | tuple) and self.items is not None:
            return [self.items.fill(item) for item in value]
        if self.type == "number" and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        return value

    def check(self, value: Any, faults: Faults) -> None:
        """Note everything in which a filled-in value is not as the schema says."""
        if not _is(self.type, value):
            faults.add(
                "PARAMETER_INVALID",
                f"found {_word(value)} {show(value)}, expected {self.type}",
            )
            return
        if self.enum and value not in self.enum:
            known = ", ".join(show(v) for v in self.enum)
            faults.add("PARAMETER_INVALID", f"found {show(value)}, expected one of {known}")
        self._check_bounds(value, faults)
        if self.pattern is not None and isinstance(value, str) and not self.pattern.search(value):
            pattern = self.bounds["pattern"]
            faults.add("PARAMETER_INVALID", f"found {show(value)}, expected a match of {pattern}")
        if isinstance(value, Mapping):
            self._check_fields(value, faults)
        if isinstance(value, list | tuple) and self.items is not None:
            for index, item in enumerate(value):
                self.items.check(item, faults.at(index))

    def _check_fields(self, value: Mapping[str, Any], faults: Faults) -> None:
        for name in self.required:
            if name not in value:
                wanted = self.properties[name].type if name in self.properties else "a value"
                faults.at(name).add("PARAMETER_INVALID", f"is missing: expected {wanted}")
        for name, own in value.items():
            inner = self.properties.get(name, self.additional)
            if inner is not None:
                inner.check(own, faults.at(name))
                continue
            close = difflib.get_close_matches(name, list(self.properties), n=1)
            known = ", ".join(sorted(self.properties)) or "no parameters"
            hint = f'did you mean "{close[0]}"?' if close else f"there are {known}"
            faults.at(name).add("PARAMETER_UNKNOWN", f'there is no "{name}": {hint}')

    def _check_bounds(self, value: Any, faults: Faults) -> None:
        size = len(value) if isinstance(value, str | list | tuple | Mapping) else value
        for keyword, bound in self.bounds.items():
            if keyword == "pattern":
                continue
            if keyword == "uniqueItems":
                wrong = bound and any(item in value[:i] for i, item in enumerate(value))
            else:
                wrong = _BROKEN[keyword](size, bound)
            if wrong:
                faults.add(
                    "PARAMETER_INVALID", f"found {show(value)}, expected {_phrase(keyword, bound)}"
                )

    @property
    def shape(self) -> Type:
        """The type that expressions see, after defaults."""
        match self.type:
            case "array":
                return list_of(self.items.shape if self.items else ANY)
            case "object" if self.properties or self.additional is None:
                if self.additional is not None:
                    return map_of(ANY)
                fields = {name: own.shape for name, own in self.properties.items()}
                given = {n for n, own in self.properties.items() if own.has_default}
                return record(fields, frozenset(fields.keys() - given - set(self.required)))
            case "object":
                return map_of(self.additional.shape if self.additional else ANY)
            case "":
                return ANY
            case _:
                return _TYPES[self.type]


_BROKEN: Final = {
    "minimum": lambda v, b: v < b,
    "maximum": lambda v, b: v > b,
    "exclusiveMinimum": lambda v, b: v <= b,
    "exclusiveMaximum": lambda v, b: v >= b,
    "multipleOf": lambda v, b: b != 0 and v % b != 0,
    "minLength": lambda v, b: v < b,
    "maxLength": lambda v, b: v > b,
    "minItems": lambda v, b: v < b,
    "maxItems": lambda v, b: v > b,
    "minProperties": lambda v, b: v < b,
    "maxProperties": lambda v, b: v > b,
}


def _phrase(keyword: str, bound: Any) -> str:
    words = {
        "minimum": f"at least {bound}",
        "maximum": f"at most {bound}",
        "exclusiveMinimum": f"more than {bound}",
        "exclusiveMaximum": f"less than {bound}",
        "multipleOf": f"a multiple of {bound}",
        "minLength": f"at least {bound} characters",
        "maxLength": f"at most {bound} characters",
        "minItems": f"at least {bound} items",
        "maxItems": f"at most {bound} items",
        "minProperties": f"at least {bound} keys",
        "maxProperties": f"at most {bound} keys",
        "uniqueItems": "no item twice",
    }
    return words[keyword]


def _is(wanted: str, value: Any) -> bool:
    match wanted:
        case "string":
            return isinstance(value, str)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list | tuple)
        case "object":
            return isinstance(value, Mapping)
        case _:
            return True


def _word(value: Any) -> str:
    """The kind of a value in JSON Schema's words."""
    words = {
        "int": "integer",
        "double": "number",
        "bool": "boolean",
        "list": "array",
        "map": "object",
    }
    own = kind_of(value).value
    return words.get(own, own)


def read_schema(tree: Any, faults: Faults, level: int = 0) -> Schema:
    """Read a schema; what is wrong with it is noted."""
    if not isinstance(tree, Mapping):
        faults.add("SCHEMA_INVALID", f"found {_word(tree)} {show(tree)}, expected a schema")
        return Schema(type="")
    if not tree and level == 0:
        return Schema()
    if level > MAX_LEVELS:
        faults.add("SCHEMA_INVALID", f"is nested deeper than {MAX_LEVELS} levels")
        return Schema(type="")
    kind = tree.get("type", "object" if "properties" in tree else "")
    if kind not in _KEYWORDS:
        known = ", ".join(_KEYWORDS)
        faults.at("type").add("SCHEMA_INVALID", f"found {show(kind)}, expected one of {known}")
        return Schema(type="")
    for keyword in tree.keys() - _ALWAYS - _KEYWORDS[kind]:
        known = ", ".join(sorted(_KEYWORDS[kind] | {"default", "enum", "description"}))
        faults.at(keyword).add(
            "SCHEMA_INVALID", f'"{keyword}" is not read of type {kind}: there are {known}'
        )
    schema = _schema(kind, tree, faults, level)
    if schema.has_default:
        schema.check(schema.fill(schema.default), faults.at("default"))
    return schema


def _schema(kind: str, tree: Mapping[str, Any], faults: Faults, level: int) -> Schema:
    bounds = {
        key: tree[key]
        for key in (*_NUMBERS, *_SIZES, "uniqueItems")
        if key in tree and _is_bound(key, tree[key], faults.at(key))
    }
    pattern = None
    if isinstance(tree.get("pattern"), str):
        bounds["pattern"] = tree["pattern"]
        try:
            pattern = compile_pattern(tree["pattern"])
        except Unfit as error:
            faults.at("pattern").add("SCHEMA_INVALID", str(error))
    properties = tree.get("properties", {})
    if not isinstance(properties, Mapping):
        faults.at("properties").add("SCHEMA_INVALID", "expected a schema for each name")
        properties = {}
    required = _names(tree.get("required", ()), properties, faults.at("required"))
    # A list of properties is the whole list, unless it says otherwise; JSON Schema's default would
    # let every misspelt name through.
    additional = tree.get("additionalProperties", not properties and level > 0)
    enum = tree.get("enum", ())
    return Schema(
        type=kind,
        default=tree.get("default"),
        has_default="default" in tree,
        enum=tuple(enum) if isinstance(enum, list | tuple) else (),
        bounds=bounds,
        pattern=pattern,
        items=read_schema(tree["items"], faults.at("items"), level + 1)
        if "items" in tree
        else None,
        properties={
            name: read_schema(own, faults.at("properties").at(name), level + 1)
            for name, own in properties.items()
        },
        required=required,
        additional=_additional(additional, faults.at("additionalProperties"), level),
    )


def _additional(tree: Any, faults: Faults, level: int) -> Schema | None:
    if isinstance(tree, bool):
        return Schema(type="") if tree else None
    return read_schema(tree, faults, level + 1)


def _is_bound(keyword: str, bound: Any, faults: Faults) -> bool:
    wanted = (
        "boolean" if keyword == "uniqueItems" else "number" if keyword in _NUMBERS else "integer"
    )
    if _is(wanted, bound):
        return True
    faults.add("SCHEMA_INVALID", f"found {_word(bound)} {show(bound)}, expected {wanted}")
    return False


def _names(found: Any, properties: Mapping[str, Any], faults: Faults) -> tuple[str, ...]:
    if not isinstance(found, Sequence) or isinstance(found, str):
        faults.add("SCHEMA_INVALID", "expected a list of names")
        return ()
    for index, name in enumerate(found):
        if name not in properties:
            faults.at(index).add("SCHEMA_INVALID", f"{show(name)} is none of the properties")
    return tuple(name for name in found if name in properties)
