"""The compiler's one door: a Cell, or a part of it, to the policies of one data plane.

Each component is compiled from itself and the frame alone. Never raises for user input. Where no
provider can close a Cell, nothing is emitted and an error says so: it is never left open silently.
"""

from __future__ import annotations

from typing import Protocol

from cellplane.cell import addresses
from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.manifest import Compiled, Manifest, in_order
from cellplane.cell.mesh import is_meshed
from cellplane.cell.plane import (
    CILIUM_MUTUAL_AUTH,
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
from cellplane.network_policy.compiler import cilium, kubernetes, mesh
from cellplane.network_policy.compiler.allow import Grant, component_grant
from cellplane.network_policy.compiler.objects import Ground, ground_of
from cellplane.network_policy.compiler.outbound import gateway_grant


class _Engine(Protocol):
    """What a provider's module has."""

    def guard(self, ground: Ground) -> Manifest: ...

    def grant_policy(self, ground: Ground, grant: Grant, name: str = "") -> Manifest: ...


_SATISFY = {
    Encryption.UNSPECIFIED: (),
    Encryption.ANY: (WIREGUARD, IPSEC, MTLS),
    Encryption.WIREGUARD: (WIREGUARD,),
    Encryption.IPSEC: (IPSEC,),
    Encryption.MTLS: (MTLS,),
    Encryption.CILIUM_MUTUAL_AUTH: (CILIUM_MUTUAL_AUTH,),
}


def compile(  # noqa: A001 - the word of the field
    cell: ResolvedCell, plane: DataPlaneProfile, peers: Peers, *, include_frame: bool
) -> Compiled:
    """Compile the policies of *cell*'s components, and of its frame if asked."""
    if not (plane.can(CILIUM_POLICY) or plane.can(KUBERNETES_POLICY)):
        return Compiled(problems=(_no_provider(cell, plane),))
    by_cilium = plane.can(CILIUM_POLICY)
    meshed = is_meshed(cell.frame, plane)
    engine: _Engine = cilium if by_cilium else kubernetes
    ground = ground_of(cell)
    problems: list[Problem] = []
    manifests: list[Manifest] = []
    if include_frame:
        problems.extend(_encryption(cell, plane))
        manifests.append(engine.guard(ground))
        if meshed:
            manifests.extend(mesh.guard(ground))
        grant, wrong = gateway_grant(cell, plane, peers, by_name=by_cilium)
        problems.extend(wrong)
        if grant is not None:
            manifests.extend(_policies(engine, ground, grant, meshed=meshed))
        if not by_cilium:
            problems.append(kubernetes.limits(ground))
    for component in cell.components:
        wrong = _reserved(cell, component)
        if meshed:
            wrong = [*wrong, *mesh.unencrypted(cell, component)]
        problems.extend(wrong)
        if not wrong:
            grant = component_grant(cell, component)
            manifests.extend(_policies(engine, ground, grant, meshed=meshed))
    return Compiled(manifests=in_order(manifests), problems=tuple(problems))


def _policies(engine: _Engine, ground: Ground, grant: Grant, *, meshed: bool) -> list[Manifest]:
    if not meshed:
        return [engine.grant_policy(ground, grant)]
    seen = mesh.tunnelled(ground, grant)
    return [engine.grant_policy(ground, seen), mesh.authorization(ground, grant)]


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
    # Only Cilium's own policies can ask for its authentication.
    words = asked is not Encryption.CILIUM_MUTUAL_AUTH or plane.can(CILIUM_POLICY)
    if asked is Encryption.UNSPECIFIED or (words and any(plane.can(c) for c in _SATISFY[asked])):
        return []
    return [
        Problem(
            reason="ENCRYPTION_NOT_SUPPORTED",
            message=f"{cell.cell} demands encryption {asked.value}, which is not what data plane "
            f"{plane.data_plane} can do: place the Cell on one that can, or change the demand",
            resource=cell.cell,
            value=asked.value,
        )
    ]
