"""What components become by their types, from documents alone; what is wrong, with its place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.manifest import Manifest
from cellplane.cell.plane import EXTERNAL_SECRETS, KEDA, DataPlaneProfile, Peers
from cellplane.cli.documents.load import Document
from cellplane.cli.documents.places import Finding
from cellplane.cli.offline import cells
from cellplane.cli.offline.pinpoint import pinpoint
from cellplane.cli.render.document import dump
from cellplane.model.domain.resources import ComponentType, Trait
from cellplane.model.domain.types import definition_of
from cellplane.model.template.findings import Fault
from cellplane.model.workload.compile import compile as compile_workloads
from cellplane.model.workload.compile import render_component
from cellplane.model.workload.shipped import compiled

PLANE: Final = DataPlaneProfile(
    data_plane="example",
    uid="00000000-0000-0000-0000-000000000000",
    organization="example",
    trust_domain="example.internal",
    capabilities=(EXTERNAL_SECRETS, KEDA),
)
"""A data plane that has everything that types can ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one component became."""

    component: str
    """``project/component``."""
    manifests: Sequence[Manifest] = ()
    findings: Sequence[str] = ()

    @property
    def text(self) -> str:
        """The objects as YAML, or the findings."""
        if self.findings:
            return "".join(f"{line}\n" for line in self.findings)
        return "---\n".join(dump(json.loads(m.content)) for m in self.manifests)


def vetted(world: cells.World) -> Iterator[str]:
    """Everything that is wrong with the types and traits that are given."""
    for name, resource in sorted(world.resources.items()):
        if isinstance(resource, ComponentType | Trait):
            for fault in compiled(definition_of(name, resource)).faults.found:
                yield told(fault, world.documents[name])


def outcomes(world: cells.World, environment: str, plane: DataPlaneProfile) -> Iterator[Outcome]:
    """Render every component that is given; what cannot be resolved is a finding of all."""
    for cell, wrong in cells.cells(world, environment):
        for component in cell.components:
            name = f"{cell.frame.project}/{component.component}"
            faults = tuple(_faults(world, cell, component, plane))
            compiled_one = compile_workloads(
                _only(cell, component), plane, Peers(), include_frame=False
            )
            found = faults or tuple(
                in_full(world.finding(p, p.resource)) for p in compiled_one.problems
            )
            yield Outcome(component=name, manifests=compiled_one.manifests, findings=_once(found))
        if wrong:
            yield Outcome(component=cell.frame.project, findings=_once(map(in_full, wrong)))


def _faults(
    world: cells.World, cell: ResolvedCell, component: ResolvedComponent, plane: Any
) -> Iterator[str]:
    own = f"organizations/{cell.frame.organization}/projects/{cell.frame.project}"
    written = world.documents[f"{own}/components/{component.component}"]
    try:
        rendered = render_component(cell, component, plane)
    except StopIteration:
        # A probe of an endpoint that is not there: the compiler says so.
        return
    for fault in rendered.faults:
        is_given = fault.source in world.documents and fault.reason != "RULE_BROKEN"
        yield told(fault, world.documents[fault.source] if is_given else written)


def in_full(finding: Finding) -> str:
    """One finding in a line, with its column."""
    place = finding.place
    column = f":{place.column}" if place.line else ""
    field = f" {finding.field}:" if finding.field else ""
    return f"{place}{column}:{field} {finding.message}"


def told(fault: Fault, document: Document) -> str:
    """One finding in a line: file, line, column, field, and what is wrong."""
    return f"{pinpoint(document.places.of(fault.path), fault)}: {fault.path}: {fault}"


def _only(cell: ResolvedCell, component: ResolvedComponent) -> ResolvedCell:
    return ResolvedCell(
        cell=cell.cell, revision=cell.revision, frame=cell.frame, components=(component,)
    )


def _once(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(lines))
