"""The types that come with cellplane: files of this package, in the language that all types have.

They are parts of the program, and read as such: once, when the first component is compiled.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType
from typing import Any, Final

from cellplane.cell.definition import Definition, ResourceTemplate, ValidationRule, content_of
from cellplane.cell.workload import ComponentKind
from cellplane.model.template.definition import Compiled, compile_definition
from cellplane.model.template.kinds import ANY
from cellplane.model.workload.inputs import SCOPE

_FOLDER: Final = "types"
_COMMON: Final = "common.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """What every component has, and the type of each kind."""

    common: Compiled
    types: Mapping[ComponentKind, Compiled]
    definitions: Mapping[str, Definition]
    """The types by their name, as they are written."""


@functools.cache
def shipped() -> Shipped:
    """Read and compile the types."""
    # A process that compiles nothing starts without it.
    from ruamel.yaml import YAML

    types: dict[ComponentKind, Compiled] = {}
    definitions: dict[str, Definition] = {}
    folder = resources.files("cellplane.model.workload").joinpath(_FOLDER)
    common = None
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        written = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
        if file.name == _COMMON:
            seen = {**SCOPE, "parameters": ANY, "environmentParameters": ANY}
            common = _compile(_definition("cellplane", written), seen, written["fragments"])
            continue
        definition = _definition(written["name"], written)
        definitions[written["name"]] = definition
        own = _compile(definition, SCOPE, {})
        types |= {ComponentKind(kind): own for kind in written["componentKinds"]}
    if common is None:
        raise ValueError(f"{_COMMON} is not there")
    return Shipped(
        common=common,
        types=MappingProxyType(types),
        definitions=MappingProxyType(definitions),
    )


@functools.lru_cache(maxsize=512)
def _cached(content: bytes, holder: _Held) -> Compiled:
    del content
    return compile_definition(holder.definition, SCOPE)


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A definition on its way through the cache, which knows it by its content alone."""

    definition: Definition

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)

    def __hash__(self) -> int:
        return 0


def compiled(definition: Definition) -> Compiled:
    """A definition that somebody wrote, compiled once for each content."""
    return _cached(content_of(definition), _Held(definition))


def _compile(
    definition: Definition, seen: Mapping[str, Any], fragments: Mapping[str, Any]
) -> Compiled:
    compiled = compile_definition(definition, seen, fragments)
    if compiled.faults.found:
        first = compiled.faults.found[0]
        raise ValueError(f"{definition.definition}: {first.path}: {first}")
    return compiled


def _definition(name: str, written: Mapping[str, Any]) -> Definition:
    return Definition(
        definition=name,
        parameters=written.get("parameters"),
        environment_parameters=written.get("environmentParameters"),
        resources=tuple(
            ResourceTemplate(
                template=one["template"],
                manifest=one["manifest"],
                include_when=one.get("includeWhen", ""),
                for_each=one.get("forEach", ""),
                variable=one.get("variable", ""),
                ready_when=one.get("readyWhen", ""),
            )
            for one in written.get("resources", ())
        ),
        validations=tuple(
            ValidationRule(rule=one["rule"], message=one["message"])
            for one in written.get("validations", ())
        ),
    )
