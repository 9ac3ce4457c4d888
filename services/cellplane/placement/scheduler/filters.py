"""Hard rules, in the order in which they are tried; the first that fails is the reason.

Each rule is written twice: for one plane, with a message for people, and for all planes at once as
bitsets; a law holds the two together. What keeps only new Cells away says so: a Cell that is there
stays through a suspect, lost or cordoned data plane and a ``NO_SCHEDULE`` taint, as nothing moves
without a reason. Facts are read when a Cell comes, never to make it go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

from cellplane.cell import plane as capability
from cellplane.cell.requirement import Effect, Source, Taint
from cellplane.cell.visibility import Encryption
from cellplane.placement.scheduler.snapshot import ALWAYS, Demand, Plane, PlaneState


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

WAYS: Final = {
    Encryption.ANY: (capability.MTLS, capability.WIREGUARD, capability.IPSEC),
    Encryption.MTLS: (capability.MTLS,),
    Encryption.WIREGUARD: (capability.WIREGUARD,),
    Encryption.IPSEC: (capability.IPSEC,),
    Encryption.CILIUM_MUTUAL_AUTH: (capability.CILIUM_MUTUAL_AUTH,),
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
    """A cordoned data plane takes no new Cells; one that is drained keeps none."""
    if plane.drained:
        return "DRAINED", "its Cells are to leave it: end the drain"
    if there or not plane.cordoned:
        return None
    return "CORDONED", "it is cordoned: uncordon it"


def excluded(plane: Plane, demand: Demand, _there: bool) -> Verdict:
    """Never one that the requirement excludes."""
    if plane.data_plane not in demand.requirement.excluded_data_planes:
        return None
    return "EXCLUDED", "the requirement excludes it"


def selectors(plane: Plane, demand: Demand, there: bool) -> Verdict:
    """All selectors hold."""
    for selector in demand.requirement.selectors:
        if (there and selector.source is Source.FACT) or plane.matches(selector):
            continue
        have = plane.words(selector.source).get(selector.key)
        kind = (selector.source or Source.LABEL).value.lower()
        found = f'it has "{have}"' if have is not None else f"it has no such {kind}"
        return "SELECTOR", f"asked is {selector}; {found}"
    return None


def tiers(plane: Plane, demand: Demand, _there: bool) -> Verdict:
    """It is in a tier, if there are any."""
    if not demand.requirement.tiers or tier_of(plane, demand) is not None:
        return None
    return "TIER", f"it is in none of the {len(demand.requirement.tiers)} tiers"


def tier_of(plane: Plane, demand: Demand) -> int | None:
    """The first tier that a plane is in."""
    for index, tier in enumerate(demand.requirement.tiers):
        if all(plane.matches(s) for s in tier.selectors):
            return index
    return None


def taints(plane: Plane, demand: Demand, there: bool) -> Verdict:
    """Every taint is tolerated; ``NO_SCHEDULE`` is for new Cells only."""
    for taint in sorted(plane.taints, key=str):
        if keeps_away(taint, demand, there=there):
            return "TAINT", f"its taint {taint} is not tolerated"
    return None


def keeps_away(taint: Taint, demand: Demand, *, there: bool) -> bool:
    """Tell whether a taint is not borne. What is borne for a time lets no new Cells in."""
    if taint.effect is Effect.PREFER_NO_SCHEDULE or (there and taint.effect is Effect.NO_SCHEDULE):
        return False
    borne = (t for t in demand.requirement.tolerations if t.tolerates(taint))
    timed = taint.effect is Effect.NO_EXECUTE and not there
    return not any(t.seconds is None or not timed for t in borne)


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
        yield "encryption between its pods", WAYS[demand.encryption]
    if demand.exposed:
        yield "traffic through gateways", (capability.GATEWAY,)
        yield "traffic through gateways", (capability.ENVOY_GATEWAY,)
    if demand.identified:
        yield "identity towards other cells", (capability.CERT_MANAGER,)


def apis(plane: Plane, demand: Demand, _there: bool) -> Verdict:
    """It serves the APIs of all objects, as far as is known."""
    if plane.apis is None:
        return None
    for component in demand.components:
        for api in component.apis:
            if api not in plane.apis:
                return "API", f"{component.component} needs {api}, which it does not serve"
    return None


def topology(plane: Plane, demand: Demand, _there: bool) -> Verdict:
    """It belongs to a group of every spread that must hold."""
    for spread in demand.requirement.spreads:
        if not spread.soft and spread.topology_key not in plane.labels:
            return "TOPOLOGY", f"copies are spread over {spread.topology_key}; it has no such label"
    return None


def near(plane: Plane, demand: Demand, _there: bool) -> Verdict:
    """It is near the Cells, and apart from those, that the Cell must be."""
    for other in demand.near:
        if other.weight is None and not other.holds(plane):
            group = f"its {other.topology_key}" if other.topology_key else "it"
            if other.apart:
                return "APART", f"{group} has {other.cell}, from which the Cell is to be apart"
            if not other.groups:
                return "NEAR", f"the Cell is to be near {other.cell}, which is nowhere yet"
            return "NEAR", f"{group} does not have {other.cell}, which the Cell is to be near to"
    return None


def capacity(plane: Plane, demand: Demand, _there: bool) -> Verdict:
    """It has free what the Cell takes."""
    for name, amount in sorted(demand.amounts().items()):
        most = plane.allocatable.get(name)
        if most is None:
            if amount and name not in ALWAYS:
                return "CAPACITY", f"the Cell takes {amount} {name}; it has none"
            continue
        free = most - plane.used.get(name, 0)
        if amount > free:
            return "CAPACITY", f"the Cell takes {amount} {name}; it has {free} of {most} free"
    return None


FILTERS: Final[tuple[Filter, ...]] = (
    organization,
    state,
    cordoned,
    excluded,
    selectors,
    tiers,
    taints,
    capabilities,
    apis,
    topology,
    near,
    capacity,
)


def rejection(plane: Plane, demand: Demand, *, there: bool) -> Rejection | None:
    """The first rule that turns a plane down, if one does."""
    for rule in FILTERS:
        verdict = rule(plane, demand, there)
        if verdict is not None:
            reason, message = verdict
            return Rejection(data_plane=plane.data_plane, reason=reason, message=message)
    return None
