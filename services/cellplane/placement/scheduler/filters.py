"""Hard rules, in the order in which they are tried; the first that fails is the reason.

What keeps only new Cells away says so: a Cell that is there stays through a suspect, lost or
cordoned data plane and a ``NO_SCHEDULE`` taint, as nothing moves without a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from cellplane.cell import plane as capability
from cellplane.cell.requirement import Effect, Taint
from cellplane.cell.visibility import Encryption
from cellplane.placement.scheduler.snapshot import Demand, Plane, PlaneState


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """Why a data plane was turned down."""

    data_plane: str
    reason: str
    """Stable, UPPER_SNAKE_CASE, part of the API."""
    message: str


Verdict: TypeAlias = tuple[str, str] | None
"""Reason and message, or nothing to object to."""

Filter: TypeAlias = Callable[[Plane, Demand, bool], Verdict]
"""Asks: the plane, the demand, and whether the Cell is there already."""

_WAYS: Final = {
    Encryption.ANY: (capability.MTLS, capability.WIREGUARD, capability.IPSEC),
    Encryption.MTLS: (capability.MTLS,),
    Encryption.WIREGUARD: (capability.WIREGUARD,),
    Encryption.IPSEC: (capability.IPSEC,),
}


def organization(plane: Plane, demand: Demand, _there: bool) -> Verdict:
    """Never another organization's."""
    if plane.organization == demand.organization:
        return None
    return "ORGANIZATION", "it belongs to another organization"


def state(plane: Plane, _demand: Demand, there: bool) -> Verdict:
    """New Cells need an agent that is there now."""
    if there or plane.state is PlaneState.READY:
        return None
    why = {
        PlaneState.PENDING: "no agent has joined it yet: join one",
        PlaneState.SUSPECT: "its agent was not heard of for a while: it takes no new Cells",
        PlaneState.LOST: "its agent was not heard of for long: it takes no new Cells",
    }
    return "STATE", why[plane.state]


def cordoned(plane: Plane, _demand: Demand, there: bool) -> Verdict:
    """A cordoned data plane takes no new Cells."""
    if there or not plane.cordoned:
        return None
    return "CORDONED", "it is cordoned: uncordon it"


def excluded(plane: Plane, demand: Demand, _there: bool) -> Verdict:
    """Never one that the requirement excludes."""
    if plane.data_plane not in demand.requirement.excluded_data_planes:
        return None
    return "EXCLUDED", "the requirement excludes it"


def selectors(plane: Plane, demand: Demand, _there: bool) -> Verdict:
    """All selectors hold."""
    for selector in demand.requirement.selectors:
        if not selector.holds(plane.labels):
            have = plane.labels.get(selector.key)
            found = f'it has "{have}"' if have is not None else "it has no such label"
            return "SELECTOR", f"asked is {selector}; {found}"
    return None


def taints(plane: Plane, demand: Demand, there: bool) -> Verdict:
    """Every taint is tolerated; ``NO_SCHEDULE`` is for new Cells only."""
    hard = {Effect.NO_EXECUTE} if there else {Effect.NO_EXECUTE, Effect.NO_SCHEDULE}
    for taint in untolerated(plane, demand):
        if taint.effect in hard:
            return "TAINT", f"its taint {taint} is not tolerated"
    return None


def untolerated(plane: Plane, demand: Demand) -> Iterator[Taint]:
    """Taints of a plane that the Cell does not tolerate, sorted."""
    for taint in sorted(plane.taints, key=str):
        if not any(t.tolerates(taint) for t in demand.requirement.tolerations):
            yield taint


def capabilities(plane: Plane, demand: Demand, _there: bool) -> Verdict:
    """It can do all that is asked, and all that follows from what the Cell is."""
    for wanted, any_of in needs(demand):
        if not plane.capabilities.intersection(any_of):
            return "CAPABILITY", f"{wanted} needs {' or '.join(any_of)}, which it does not have"
    return None


def needs(demand: Demand) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What is needed for what: of each group, one suffices."""
    for name in demand.requirement.capabilities:
        yield "the requirement", (name,)
    yield "isolation", (capability.CILIUM_POLICY, capability.KUBERNETES_POLICY)
    if demand.encryption is not Encryption.UNSPECIFIED:
        yield "encryption between its pods", _WAYS[demand.encryption]
    if demand.exposed:
        yield "traffic through gateways", (capability.GATEWAY,)
        yield "traffic through gateways", (capability.ENVOY_GATEWAY,)
    if demand.identified:
        yield "identity towards other cells", (capability.CERT_MANAGER,)


def topology(plane: Plane, demand: Demand, _there: bool) -> Verdict:
    """It belongs to a group of every spread."""
    for spread in demand.requirement.spreads:
        if spread.topology_key not in plane.labels:
            return "TOPOLOGY", f"copies are spread over {spread.topology_key}; it has no such label"
    return None


FILTERS: Final[tuple[Filter, ...]] = (
    organization,
    state,
    cordoned,
    excluded,
    selectors,
    taints,
    capabilities,
    topology,
)


def rejection(plane: Plane, demand: Demand, *, there: bool) -> Rejection | None:
    """The first rule that turns a plane down, if one does."""
    for rule in FILTERS:
        verdict = rule(plane, demand, there)
        if verdict is not None:
            reason, message = verdict
            return Rejection(data_plane=plane.data_plane, reason=reason, message=message)
    return None
