"""The compiler's one door: a Cell, or a part of it, to the policies of one data plane.

Each component is compiled from itself and the frame alone. Never raises for user input. Where no
provider can close a Cell, nothing is emitted and an error says so: it is never left open silently.
"""

from __future__ import annotations

from typing import Protocol

from cellplane.cell import addresses
from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.manifest import Compiled, Manifest, in_order
from cellplane.cell.plane import (
    CILIUM_POLICY,
    IPSEC,
    KUBERNETES_POLICY,
    MTLS,
    WIREGUARD,
    DataPlaneProfile,
    Peers,
)
from cellplane.cell.problem import Findings, Problem
from cellplane.cell.visibility import Encryption
from cellplane.network_policy.compiler import cilium, kubernetes
from cellplane.network_policy.compiler.allow import Grant, component_grant
from cellplane.network_policy.compiler.outbound import gateway_grant


class _Engine(Protocol):
    """What a provider's module has."""

    def guard(self, cell: ResolvedCell) -> Manifest: ...

    def grant_policy(self, cell: ResolvedCell, grant: Grant) -> Manifest: ...


_SATISFY = {
    Encryption.UNSPECIFIED: (),
    Encryption.ANY: (WIREGUARD, IPSEC),
    Encryption.WIREGUARD: (WIREGUARD,),
    Encryption.IPSEC: (IPSEC,),
    Encryption.MTLS: (),
}


def compile(  # noqa: A001 - the word of the field
    cell: ResolvedCell, plane: DataPlaneProfile, peers: Peers, *, include_frame: bool
) -> Compiled:
    """Compile the policies of *cell*'s components, and of its frame if asked."""
    if not (plane.can(CILIUM_POLICY) or plane.can(KUBERNETES_POLICY)):
        return Compiled(problems=(_no_provider(cell, plane),))
    by_cilium = plane.can(CILIUM_POLICY)
    engine: _Engine = cilium if by_cilium else kubernetes
    problems: list[Problem] = []
    manifests: list[Manifest] = []
    if include_frame:
        problems.extend(_encryption(cell, plane))
        manifests.append(engine.guard(cell))
        grant, wrong = gateway_grant(cell, plane, peers, by_name=by_cilium)
        problems.extend(wrong)
        if grant is not None:
            manifests.append(engine.grant_policy(cell, grant))
        if not by_cilium:
            problems.append(kubernetes.limits(cell))
    for component in cell.components:
        taken = _reserved(cell, component)
        problems.extend(taken)
        if not taken:
            manifests.append(engine.grant_policy(cell, component_grant(cell, component)))
    return Compiled(manifests=in_order(manifests), problems=tuple(problems))


def _no_provider(cell: ResolvedCell, plane: DataPlaneProfile) -> Problem:
    return Problem(
        reason="CAPABILITY_MISSING",
        message=f"data plane {plane.data_plane} has neither {CILIUM_POLICY} nor "
        f"{KUBERNETES_POLICY}, so nothing would close {cell.cell}: install a provider there, or "
        "place the Cell elsewhere",
        resource=cell.cell,
        value=plane.data_plane,
    )


def _reserved(cell: ResolvedCell, component: ResolvedComponent) -> list[Problem]:
    """A component that runs as the egress gateway's account would have its rights."""
    frame = cell.frame
    findings = Findings(
        resource=f"organizations/{frame.organization}/projects/{frame.project}"
        f"/components/{component.component}"
    )
    if addresses.service_account(component.component) == addresses.EGRESS_GATEWAY:
        findings.at("name").add(
            "NAME_RESERVED",
            f'component "{component.component}" has the name of the Cell\'s own egress gateway: '
            "choose another",
            value=component.component,
        )
    return findings.problems


def _encryption(cell: ResolvedCell, plane: DataPlaneProfile) -> list[Problem]:
    """Refuse a demand for encryption that these policies cannot meet on this data plane."""
    asked = cell.frame.encryption
    if asked is Encryption.UNSPECIFIED or any(plane.can(c) for c in _SATISFY[asked]):
        return []
    by_mesh = asked in {Encryption.MTLS, Encryption.ANY} and plane.can(MTLS)
    why = (
        "by a mesh moves every port to the mesh's own, which these policies do not express yet"
        if by_mesh
        else f"is not what data plane {plane.data_plane} can do"
    )
    return [
        Problem(
            reason="ENCRYPTION_NOT_SUPPORTED",
            message=f"{cell.cell} demands encryption {asked.value}, which {why}: place the Cell "
            "on a data plane with wireguard or ipsec, or change the demand",
            resource=cell.cell,
            value=asked.value,
        )
    ]
