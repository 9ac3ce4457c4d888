"""A component's objects: those of its type, those of its traits, and what traits change of them.

Pure and total: what is wrong with what a developer wrote is a fault, never an exception. The same
input gives the same objects, in whatever order its traits are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cellplane.cell.labels import READY_WHEN
from cellplane.model.template.definition import (
    Compiled,
    CompiledPatch,
    CompiledResource,
    Loop,
)
from cellplane.model.template.findings import Fault, Faults
from cellplane.model.template.functions import to_text
from cellplane.model.template.holes import Failed, Template
from cellplane.model.template.kinds import OMIT, kind_of, show
from cellplane.model.template.limits import MAX_OUTPUT, Budget, Exhausted
from cellplane.model.template.patch import (
    Write,
    apply,
    conflicts,
    plan_merge,
    plan_operation,
)
from cellplane.model.template.pointer import write
from cellplane.model.template.schema import Schema
from cellplane.model.template.syntax import Wrong

_NAME_LIMIT: Final = 253


@dataclass(frozen=True, slots=True, kw_only=True)
class TraitUse:
    """A trait, as one component has it."""

    instance: str
    trait: Compiled
    parameters: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
    """Where the component says so, such as ``traits[0]``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One object, and the template that it is from."""

    template: str
    by: str
    """The instance of the trait; empty for the type."""
    body: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.body['kind']} {self.body['metadata']['name']}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The objects, or why there are none."""

    objects: tuple[Made, ...] = ()
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class _Part:
    """A type or a trait with what its expressions see."""

    compiled: Compiled
    scope: dict[str, Any]
    instance: str
    path: str


def render(
    own: Compiled,
    around: Mapping[str, Any],
    *,
    parameters: Mapping[str, Any],
    environment_parameters: Mapping[str, Any],
    traits: Sequence[TraitUse] = (),
    common: Compiled | None = None,
) -> Rendered:
    """Render one component; *around* is what expressions see beside parameters.

    What is *common* to all types sees the parameters of the one at hand, and gives fragments to it.
    """
    budget = Budget()
    faults = Faults()
    given = _given(own.parameters, parameters, faults.at("parameters"))
    here = _given(
        own.environment_parameters, environment_parameters, faults.at("environment_parameters")
    )
    scope = _scope(around, given, here) | {"standard": {}}
    parts = [_Part(own, scope, "", "")]
    if common is not None:
        parts.insert(0, _Part(common, scope, "", ""))
    for use in sorted(traits, key=lambda use: use.instance):
        at = Faults(faults.found, use.path)
        values = _given(use.trait.parameters, use.parameters, at.at("parameters"))
        inner = {**scope, "parameters": values, "environmentParameters": {}}
        parts.append(_Part(use.trait, inner | {"instance": use.instance}, use.instance, use.path))
    broken = [fault for part in parts for fault in part.compiled.faults.found]
    if faults.found or broken:
        return Rendered(faults=(*faults.found, *broken))
    try:
        if common is not None:
            for name, fragment in common.fragments:
                scope["standard"][name] = fragment.fill(scope, budget)
        for part in parts:
            _validate(part, budget, faults)
        if faults.found:
            return Rendered(faults=tuple(faults.found))
        made = [one for part in parts for one in _objects(part, budget)]
        _pay(made)
        made = _patched(made, parts, budget, faults)
        _refuse_twins(made, faults)
        _refuse_doors(made, faults)
        _pay(made)
    except Failed as failed:
        return Rendered(faults=(*faults.found, failed.fault))
    except Exhausted as error:
        fault = Fault(reason="BUDGET_EXHAUSTED", path="type", message=str(error), source=own.name)
        return Rendered(faults=(*faults.found, fault))
    return Rendered(objects=() if faults.found else tuple(made), faults=tuple(faults.found))


def _given(schema: Schema, written: Mapping[str, Any], faults: Faults) -> Any:
    filled = schema.fill(dict(written))
    schema.check(filled, faults)
    return filled


def _scope(around: Mapping[str, Any], parameters: Any, here: Any) -> dict[str, Any]:
    return {**around, "parameters": parameters, "environmentParameters": here, "omit": OMIT}


def _validate(part: _Part, budget: Budget, faults: Faults) -> None:
    for rule in part.compiled.validations:
        if not rule.rule.fill(part.scope, budget):
            faults.found.append(
                Fault(
                    reason="RULE_BROKEN",
                    path=f"{part.path}.parameters".strip("."),
                    message=to_text(rule.message.fill(part.scope, budget)),
                    source=part.compiled.name,
                )
            )


def _objects(part: _Part, budget: Budget) -> Iterator[Made]:
    for resource in part.compiled.resources:
        for scope in _rounds(resource.loop, part.scope, budget):
            body = _object(resource, scope, budget, part.compiled.name)
            yield Made(template=resource.template, by=part.instance, body=body)


def _rounds(loop: Loop, scope: dict[str, Any], budget: Budget) -> Iterator[dict[str, Any]]:
    """The scope of each object that a template makes."""
    if loop.for_each is None:
        if loop.include_when is None or loop.include_when.fill(scope, budget):
            yield scope
        return
    items = loop.for_each.fill(scope, budget)
    budget.items(len(items))
    for item in items:
        inner = {**scope, loop.variable: item}
        if loop.include_when is None or loop.include_when.fill(inner, budget):
            yield inner


def _object(
    resource: CompiledResource, scope: dict[str, Any], budget: Budget, source: str
) -> dict[str, Any]:
    body = resource.rest.fill(scope, budget)
    metadata = resource.metadata.fill({**scope, "resource": body}, budget)
    name = metadata.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= _NAME_LIMIT:
        found = f"{kind_of(name).value} {show(name)}" if "name" in metadata else "nothing"
        fault = Fault(
            reason="NAME_INVALID",
            path=f"{resource.path}.metadata.name",
            message=f"found {found}, expected a name of 1 to {_NAME_LIMIT} characters",
            source=source,
        )
        raise Failed(fault)
    notes = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != READY_WHEN}
    if resource.ready_when:
        notes[READY_WHEN] = resource.ready_when
    return {**body, "metadata": {**metadata, "annotations": notes} if notes else metadata}


def _patched(
    made: list[Made], parts: Sequence[_Part], budget: Budget, faults: Faults
) -> list[Made]:
    found: list[Made] = []
    for one in made:
        writes: list[Write] = []
        for part in parts:
            for patch in part.compiled.patches:
                writes += _writes(one, patch, part, budget, faults)
        clashes = list(conflicts(writes))
        for clash in clashes:
            _tell(one, clash.one, clash.other, parts, faults)
        if writes and not clashes:
            found.append(Made(template=one.template, by=one.by, body=apply(one.body, writes)))
        else:
            found.append(one)
    return found


def _writes(
    one: Made, patch: CompiledPatch, part: _Part, budget: Budget, faults: Faults
) -> Iterator[Write]:
    body = one.body
    if (
        patch.kind not in ("", body["kind"])
        or patch.api_version not in ("", body["apiVersion"])
        or patch.template not in ("", one.template)
    ):
        return
    scope = {**part.scope, "resource": body}
    if patch.where is not None and not patch.where.fill(scope, budget):
        return
    for number, inner in enumerate(_rounds(patch.loop, scope, budget)):
        try:
            for operation in patch.operations:
                where = f"{operation.place}#{number}"
                pointer = _pointer(operation.path, inner, budget)
                value = operation.value.fill(inner, budget)
                budget.walk(value)
                yield plan_operation(
                    body, operation.action, pointer, value, by=part.instance, where=where
                )
            if patch.merge is not None:
                merged = patch.merge.fill(inner, budget)
                budget.walk(merged)
                where = f"{patch.place}.merge#{number}"
                yield from plan_merge(body, merged, by=part.instance, where=where)
        except Wrong as wrong:
            at = Faults(faults.found, patch.place, part.compiled.name)
            at.add("PATCH_FAILED", f"{one}: {wrong.message}")
            return


def _pointer(path: Template, scope: dict[str, Any], budget: Budget) -> str:
    found = path.fill(scope, budget)
    if not isinstance(found, str):
        raise Wrong(f"a path: found {kind_of(found).value} {show(found)}, expected string")
    return found


def _tell(one: Made, first: Write, second: Write, parts: Sequence[_Part], faults: Faults) -> None:
    paths = {part.instance: part.path for part in parts}
    where = write(first.place if len(first.place) < len(second.place) else second.place)
    at = Faults(faults.found, paths.get(second.by) or "traits")
    if first.by == second.by:
        message = (
            f'trait "{first.by}" patches {where} of {one} twice: {first.where}, {second.where}'
        )
    else:
        message = (
            f'traits "{first.by}" and "{second.by}" both patch {where} of {one}: remove one of '
            "them, or have one trait do both"
        )
    at.add("PATCH_CONFLICT", message)


def _refuse_twins(made: Sequence[Made], faults: Faults) -> None:
    seen: dict[tuple[str, str, str], Made] = {}
    for one in made:
        key = (one.body["apiVersion"], one.body["kind"], one.body["metadata"]["name"])
        before = seen.setdefault(key, one)
        if before is not one:
            faults.at("type").add(
                "OBJECT_DUPLICATE",
                f'{one} is made twice, by templates "{before.template}" and "{one.template}": '
                "give them different names",
            )


def _refuse_doors(made: Sequence[Made], faults: Faults) -> None:
    """Whoever reaches a component does so through its Cell's doors, which no type opens."""
    for one in made:
        spec = one.body.get("spec")
        if one.body["kind"] != "Service" or not isinstance(spec, dict):
            continue
        kind = spec.get("type", "ClusterIP")
        if kind != "ClusterIP":
            faults.at("type").add(
                "DOOR_FORBIDDEN",
                f"{one} of type {show(kind)} is open to the outside: expected ClusterIP; give an "
                "endpoint a visibility instead",
            )


def _pay(made: Sequence[Made]) -> None:
    """Refuse what is too large or too deep to be told to anyone."""
    budget = Budget(steps=MAX_OUTPUT)
    try:
        for one in made:
            budget.walk(one.body)
    except Exhausted as error:
        words = str(error)
        if "steps" in words:
            words = f"becomes more than {MAX_OUTPUT:,} values: make fewer or smaller objects"
        raise Exhausted(words) from error
