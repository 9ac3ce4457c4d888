"""A type or a trait, compiled: once for each version, whoever uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from cellplane.cell.definition import (
    MADE_BY_TYPES,
    Definition,
    Patch,
    PatchAction,
    PatchOperation,
    ResourceTemplate,
)
from cellplane.cell.names import is_id
from cellplane.model.template.findings import Faults
from cellplane.model.template.holes import Template, bare, compile_expression, compile_template
from cellplane.model.template.kinds import ANY, BOOL, LIST, STRING, K, Type, map_of
from cellplane.model.template.pointer import read_pointer
from cellplane.model.template.schema import Schema, read_schema
from cellplane.model.template.syntax import Wrong

MAX_TEMPLATES: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """When, and for which items, something is made."""

    include_when: Template | None = None
    for_each: Template | None = None
    variable: str = "item"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledResource:
    """One template of objects. ``name`` is filled when the rest is, and may look at it."""

    template: str
    path: str
    loop: Loop
    rest: Template
    metadata: Template
    ready_when: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledOperation:
    """One operation of a patch."""

    action: PatchAction
    path: Template
    value: Template
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledPatch:
    """One patch."""

    kind: str
    api_version: str
    template: str
    where: Template | None
    loop: Loop
    operations: tuple[CompiledOperation, ...]
    merge: Template | None
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRule:
    """One rule, and what it says."""

    rule: Template
    message: Template
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A definition, compiled; ``faults`` is empty if it can be used."""

    name: str
    parameters: Schema
    environment_parameters: Schema
    resources: tuple[CompiledResource, ...] = ()
    patches: tuple[CompiledPatch, ...] = ()
    validations: tuple[CompiledRule, ...] = ()
    fragments: tuple[tuple[str, Template], ...] = ()
    """Values that every type can use as ``standard.<name>``; each sees those before it."""
    faults: Faults = field(default_factory=Faults)


def compile_definition(
    definition: Definition,
    around: Mapping[str, Type],
    fragments: Mapping[str, Any] = MappingProxyType({}),
) -> Compiled:
    """Compile a definition, whose expressions see its parameters and what is *around*."""
    faults = Faults(source=definition.definition)
    parameters = read_schema(definition.parameters or {}, faults.at("parameters"))
    own = read_schema(definition.environment_parameters or {}, faults.at("environment_parameters"))
    types = {
        "parameters": parameters.shape,
        "environmentParameters": own.shape,
        "omit": ANY,
        **around,
    }
    return Compiled(
        name=definition.definition,
        parameters=parameters,
        environment_parameters=own,
        resources=_resources(definition.resources, types, faults.at("resources")),
        patches=tuple(
            _patch(patch, types, faults.at("patches").at(index))
            for index, patch in enumerate(definition.patches)
        ),
        validations=_rules(definition, types, faults.at("validations")),
        fragments=tuple(
            (name, compile_template(value, types, faults.at("fragments").at(name)))
            for name, value in fragments.items()
        ),
        faults=faults,
    )


def _rules(
    definition: Definition, types: Mapping[str, Type], faults: Faults
) -> tuple[CompiledRule, ...]:
    found: list[CompiledRule] = []
    for index, rule in enumerate(definition.validations):
        at = faults.at(index)
        compiled = compile_expression(rule.rule, types, at.at("rule"), wanted=BOOL)
        message = compile_template(rule.message, types, at.at("message"))
        if compiled is not None:
            found.append(CompiledRule(rule=compiled, message=message, place=at.path))
    return tuple(found)


def _resources(
    templates: tuple[ResourceTemplate, ...], types: Mapping[str, Type], faults: Faults
) -> tuple[CompiledResource, ...]:
    found: list[CompiledResource] = []
    seen: set[str] = set()
    if len(templates) > MAX_TEMPLATES:
        faults.add("TOO_MANY", f"{len(templates)} templates, and {MAX_TEMPLATES} is the most")
    for index, template in enumerate(templates):
        at = faults.at(index)
        if template.template in seen:
            at.at("template").add("NAME_DUPLICATE", f'"{template.template}" is there twice')
        seen.add(template.template)
        if not is_id(template.template):
            at.at("template").add(
                "NAME_INVALID", f'"{template.template}" is no id: write lower case letters and -'
            )
        found.append(_resource(template, types, at))
    return tuple(found)


def _resource(
    template: ResourceTemplate, types: Mapping[str, Type], at: Faults
) -> CompiledResource:
    loop, inner = _loop(template.include_when, template.for_each, template.variable, types, at)
    manifest, place = template.manifest, at.at("manifest")
    for key in ("apiVersion", "kind"):
        if not isinstance(manifest.get(key), str) or not manifest[key]:
            place.at(key).add("FIELD_REQUIRED", "is missing: a template says what it makes")
        elif "${" in manifest[key]:
            place.at(key).add("EXPRESSION_FORBIDDEN", "is written out, without an expression")
    refuse_kind(str(manifest.get("apiVersion")), str(manifest.get("kind")), place)
    metadata = manifest.get("metadata")
    if not isinstance(metadata, Mapping) or "name" not in metadata:
        place.at("metadata").at("name").add("FIELD_REQUIRED", "is missing: name the object")
        metadata = {"name": ""}
    for key in metadata.keys() - {"name", "labels", "annotations"}:
        place.at("metadata").at(key).add(
            "FIELD_FORBIDDEN", "is set by cellplane: a template says name, labels and annotations"
        )
    rest = {key: value for key, value in manifest.items() if key != "metadata"}
    body = compile_template(rest, inner, place)
    if template.ready_when:
        # Whoever sees the object evaluates it; here it is only held against the language.
        live = {"resource": map_of(ANY)}
        compile_expression(template.ready_when, live, at.at("ready_when"), wanted=BOOL)
    return CompiledResource(
        template=template.template,
        path=place.path,
        loop=loop,
        rest=body,
        metadata=compile_template(
            dict(metadata), {**inner, "resource": map_of(ANY)}, place.at("metadata")
        ),
        ready_when=bare(template.ready_when),
    )


def refuse_kind(api_version: str, kind: str, faults: Faults) -> None:
    """Note that a kind is not for types and traits to make."""
    group = api_version.partition("/")[0] if "/" in api_version else ""
    if kind in MADE_BY_TYPES.get(group, ()):
        return
    known = ", ".join(sorted(k for kinds in MADE_BY_TYPES.values() for k in kinds))
    faults.at("kind").add(
        "KIND_FORBIDDEN",
        f"{kind} of {api_version} is not for types to make: cellplane alone says who reaches whom, "
        f"and what is outside of a Cell; types make {known}",
    )


def _loop(
    include_when: str, for_each: str, variable: str, types: Mapping[str, Type], at: Faults
) -> tuple[Loop, Mapping[str, Type]]:
    name = variable or "item"
    listed = (
        compile_expression(for_each, types, at.at("for_each"), wanted=LIST) if for_each else None
    )
    if not name.isidentifier() or name in types:
        at.at("variable").add("NAME_INVALID", f'"{name}" cannot be the name of an item')
    inner = dict(types)
    if for_each:
        inner[name] = listed.type.item if listed is not None else ANY
    included = (
        compile_expression(include_when, inner, at.at("include_when"), wanted=BOOL)
        if include_when
        else None
    )
    return Loop(include_when=included, for_each=listed, variable=name), inner


def _patch(patch: Patch, types: Mapping[str, Type], at: Faults) -> CompiledPatch:
    target, seen = patch.target, {**types, "resource": map_of(ANY)}
    if not any((target.kind, target.template, target.where)):
        at.at("target").add("FIELD_REQUIRED", "selects nothing: say kind, template or where")
    loop, inner = _loop(patch.include_when, patch.for_each, patch.variable, seen, at)
    if patch.merge is None and not patch.operations:
        at.add("FIELD_REQUIRED", "changes nothing: say operations or merge")
    return CompiledPatch(
        kind=target.kind,
        api_version=target.api_version,
        template=target.template,
        where=compile_expression(target.where, seen, at.at("target").at("where"), wanted=BOOL)
        if target.where
        else None,
        loop=loop,
        operations=tuple(
            _operation(operation, inner, at.at("operations").at(index))
            for index, operation in enumerate(patch.operations)
        ),
        merge=compile_template(dict(patch.merge), inner, at.at("merge"))
        if patch.merge is not None
        else None,
        place=at.path,
    )


def _operation(
    operation: PatchOperation, types: Mapping[str, Type], at: Faults
) -> CompiledOperation:
    path = compile_template(operation.path, types, at.at("path"))
    if path.type.kind not in (K.STRING, K.ANY):
        at.at("path").add("TYPE_MISMATCH", f"found {path.type}, expected {STRING}")
    if path.constant:
        try:
            read_pointer(operation.path)
        except Wrong as wrong:
            at.at("path").add("POINTER_INVALID", wrong.message)
    return CompiledOperation(
        action=operation.action,
        path=path,
        value=compile_template(operation.value, types, at.at("value")),
        place=at.path,
    )
