"""The compiler's one door: a Cell, or a part of it, to what runs on one data plane.

Each component is compiled from itself and the frame alone. Never raises for user input: a component
with a finding has no objects.
"""

from __future__ import annotations

from collections.abc import Iterator

from cellplane.cell import labels
from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.manifest import Compiled, Manifest, Phase, in_order, manifest
from cellplane.cell.mesh import NAMESPACE_LABEL, is_meshed
from cellplane.cell.plane import DataPlaneProfile, Peers
from cellplane.cell.problem import Findings, Problem
from cellplane.model.template.render import Rendered, TraitUse, render
from cellplane.model.workload.check import problems
from cellplane.model.workload.forbidden import forbidden
from cellplane.model.workload.inputs import inputs_of
from cellplane.model.workload.objects import findings_of, stable_labels
from cellplane.model.workload.secrets import secret_problems
from cellplane.model.workload.shipped import compiled, shipped
from cellplane.model.workload.stamp import stamped, told


def compile(  # noqa: A001 - the word of the field
    cell: ResolvedCell,
    plane: DataPlaneProfile,
    peers: Peers,  # noqa: ARG001 - the signature of every compiler
    *,
    include_frame: bool,
) -> Compiled:
    """Compile the workloads of *cell*'s components, and its namespace if the frame is asked for."""
    found: list[Problem] = []
    manifests: list[Manifest] = [_namespace(cell, plane)] if include_frame else []
    for component in cell.components:
        wrong = [*problems(cell, component), *secret_problems(cell, component, plane)]
        made: tuple[Manifest, ...] = ()
        if not wrong:
            findings = findings_of(cell, component)
            made = tuple(_component(cell, component, plane, findings))
            wrong = [*findings.problems, *forbidden(cell, component, made)]
        found.extend(wrong)
        if not wrong:
            manifests.extend(made)
    return Compiled(manifests=in_order(manifests), problems=tuple(found))


def _namespace(cell: ResolvedCell, plane: DataPlaneProfile) -> Manifest:
    meshed = dict([NAMESPACE_LABEL]) if is_meshed(cell.frame, plane) else {}
    body = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": cell.frame.namespace,
            "labels": stable_labels(cell, "")
            | meshed
            | {
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/enforce-version": "latest",
            },
            "annotations": {labels.OWNER: cell.cell},
        },
    }
    return manifest("", Phase.NAMESPACE, body)


def _component(
    cell: ResolvedCell, component: ResolvedComponent, plane: DataPlaneProfile, findings: Findings
) -> Iterator[Manifest]:
    """The objects of one component, with its identity on them."""
    rendered = render_component(cell, component, plane)
    findings.problems.extend(told(fault, findings.resource) for fault in rendered.faults)
    for made in rendered.objects:
        yield stamped(cell, component, made.body)


def render_component(
    cell: ResolvedCell, component: ResolvedComponent, plane: DataPlaneProfile
) -> Rendered:
    """What the type and the traits of a component make of it, or why they cannot."""
    ships, own = shipped(), component.type
    definition = own.definition if own is not None else None
    return render(
        compiled(definition) if definition is not None else ships.types[component.kind],
        inputs_of(cell, component, plane),
        parameters=own.parameters if own is not None else {},
        environment_parameters=own.environment_parameters if own is not None else {},
        traits=[
            TraitUse(
                instance=trait.instance,
                trait=compiled(trait.definition),
                parameters=trait.parameters,
                path=f"traits[{index}]",
            )
            for index, trait in enumerate(own.traits if own is not None else ())
        ],
        common=ships.common,
    )
