"""The compiler's one door: a Cell, or a part of it, to gateways and routes."""

from __future__ import annotations

from cellplane.cell.cell import ResolvedCell
from cellplane.cell.manifest import Compiled, Manifest, in_order
from cellplane.cell.plane import DataPlaneProfile, Peers
from cellplane.cell.problem import Problem
from cellplane.gateway.compiler import egress, ingress
from cellplane.gateway.compiler.southbound import compile_southbound_secrets


def compile(  # noqa: A001 - the word of the field
    cell: ResolvedCell, plane: DataPlaneProfile, peers: Peers, *, include_frame: bool
) -> Compiled:
    """Compile the gateways and routes of *cell*'s components, and of its frame if asked.

    Each component is compiled from itself and the frame alone. Never raises for user input: what
    can't be expressed is a Problem, and then the object that it is about is not emitted.
    """
    problems: list[Problem] = []
    manifests: list[Manifest] = []
    if include_frame:
        problems.extend(egress.frame_problems(cell, plane, peers))
        manifests.extend(egress.compile_egress(cell, plane, peers))
    for component in cell.components:
        problems.extend(ingress.problems(cell, component, plane))
        problems.extend(egress.component_problems(cell, component))
        manifests.extend(ingress.compile_routes(cell, component, plane))
        manifests.extend(compile_southbound_secrets(cell, component))
    return Compiled(manifests=in_order(manifests), problems=tuple(problems))
