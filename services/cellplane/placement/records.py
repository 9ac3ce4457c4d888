"""What placement knows, as values: data planes as they are, and decisions as they were made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from cellplane.cell.plane import DataPlaneProfile, Enforcement
from cellplane.cell.requirement import Spread, Taint
from cellplane.placement.scheduler.decide import Decision, Unplaceable
from cellplane.placement.scheduler.moves import Move
from cellplane.placement.scheduler.snapshot import Amounts, OutsideScore, Plane, PlaneState

_API: Final = "api/"
"""Before the name of an API that is served, among capabilities."""
WESTBOUND_PORT = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceFacts:
    """How much there is of one resource, and who requests it."""

    resource: str
    allocatable: int = 0
    cells_requested: int = 0
    others_requested: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an agent says that its cluster is and has; field names are those of the contract."""

    digest: str = ""
    kubernetes_version: str = ""
    enforcement: Enforcement = Enforcement.UNSPECIFIED
    capabilities: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    node_count: int = 0
    allocatable_cpu_millis: int = 0
    allocatable_memory_bytes: int = 0
    requested_cpu_millis: int = 0
    requested_memory_bytes: int = 0
    provider: str = ""
    resources: tuple[ResourceFacts, ...] = ()
    """Empty: not known, as of a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """Which cluster a data plane is, since its agent joined."""

    cluster_uid: str
    join_time: datetime
    agent_version: str = ""
    facts: Facts | None = None
    certificate_time: datetime | None = None
    """When the newest certificate that its agent has used was issued: older ones are refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPlane:
    """A data plane as people describe it."""

    name: str
    uid: str
    """Names its agent; never used again, also not by a data plane of the same name."""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    cordoned: bool = False
    drained: bool = False
    banned: bool = False
    """Whether its agent is shut out."""
    cost: int = 0
    scores: tuple[OutsideScore, ...] = ()
    westbound_host: str = ""
    westbound_port: int = 0
    internal_networks: tuple[str, ...] = ()

    @property
    def organization(self) -> str:
        """Id of its organization."""
        return self.name.split("/")[1]

    @property
    def data_plane(self) -> str:
        """Its id."""
        return self.name.rsplit("/", 1)[-1]


def all_labels(plane: DataPlane, membership: Membership | None) -> dict[str, str]:
    """Labels of a data plane: what people say wins over what its cluster suggests."""
    facts = membership.facts if membership is not None else None
    return {**(facts.labels if facts is not None else {}), **plane.labels}


def profile_of(
    plane: DataPlane, membership: Membership | None, trust_domain: str
) -> DataPlaneProfile:
    """What compilers need to know of a data plane."""
    facts = membership.facts if membership is not None else None
    return DataPlaneProfile(
        data_plane=plane.data_plane,
        uid=membership.cluster_uid if membership is not None else "",
        organization=plane.organization,
        trust_domain=trust_domain,
        enforcement=facts.enforcement if facts is not None else Enforcement.UNSPECIFIED,
        capabilities=tuple(sorted(facts.capabilities)) if facts is not None else (),
        labels=all_labels(plane, membership),
        westbound_host=plane.westbound_host,
        westbound_port=(plane.westbound_port or WESTBOUND_PORT) if plane.westbound_host else 0,
        internal_networks=plane.internal_networks,
    )


def candidate_of(
    plane: DataPlane,
    membership: Membership | None,
    state: PlaneState,
    claims: Amounts = MappingProxyType({}),
) -> Plane:
    """What the scheduler needs to know of a data plane.

    *claims* is what is counted for those Cells of whose use the agent speaks, too: what they use
    beyond it, as others do, is not free either.
    """
    facts = membership.facts if membership is not None else None
    known = facts if facts is not None else Facts()
    measured = {"node_count": known.node_count}
    if not known.resources:
        free_cpu = known.allocatable_cpu_millis - known.requested_cpu_millis
        free_memory = known.allocatable_memory_bytes - known.requested_memory_bytes
        measured |= {
            "allocatable_cpu_millis": known.allocatable_cpu_millis,
            "allocatable_memory_bytes": known.allocatable_memory_bytes,
            "free_cpu_millis": max(0, free_cpu),
            "free_memory_bytes": max(0, free_memory),
        }
    apis = frozenset(c.removeprefix(_API) for c in known.capabilities if c.startswith(_API))
    return Plane(
        data_plane=plane.data_plane,
        organization=plane.organization,
        state=state,
        cordoned=plane.cordoned,
        drained=plane.drained,
        cost=plane.cost,
        scores=plane.scores,
        fields={
            "kubernetes_version": known.kubernetes_version,
            "enforcement": known.enforcement.value,
            "provider": known.provider,
        },
        facts={name: str(value) for name, value in measured.items()} if facts is not None else {},
        labels=all_labels(plane, membership),
        taints=plane.taints,
        capabilities=frozenset(facts.capabilities if facts is not None else ()),
        apis=apis or None,
        allocatable={x.resource: x.allocatable for x in known.resources},
        used={
            x.resource: x.others_requested + max(0, x.cells_requested - claims.get(x.resource, 0))
            for x in known.resources
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A decision, when it was made, and the rules of spread that it was made by."""

    decision: Decision
    decide_time: datetime
    spreads: tuple[Spread, ...] = ()
    reserved: Mapping[str, Amounts] = field(default_factory=dict)
    """By data plane, what is kept for the Cell: also where it is on its way to, or from."""
    moves: tuple[Move, ...] = ()
    """Copies on their way, by the data plane that is left."""
    homes: Mapping[str, str] = field(default_factory=dict)
    """By data plane that it is on instead, where it goes back to."""
    preempts: tuple[tuple[str, str], ...] = ()
    """Cells whose place it takes next, and where."""

    def same(self, other: Decided) -> bool:
        """Whether nothing differs but when, and why it is where it is."""
        return _kept(self) == _kept(other)

    @property
    def serving(self) -> tuple[str, ...]:
        """The data planes that calls are led to: until the cut-over, those that are left."""
        coming = {m.comes for m in self.moves if m.can_be_cancelled}
        staying = [m.leaves for m in self.moves if m.can_be_cancelled]
        return tuple(sorted({*self.data_planes, *staying} - coming))

    @property
    def data_planes(self) -> tuple[str, ...]:
        """Where the Cell is to be, or stays."""
        return self.decision.data_planes

    @property
    def deliverable(self) -> tuple[str, ...]:
        """The data planes that get what changes."""
        if isinstance(self.decision, Unplaceable):
            return self.decision.fitting_data_planes
        return self.decision.data_planes


def _blockers(decision: Decision) -> tuple[str, ...]:
    """What keeps a Cell waiting: people act on it, so it is never an old story."""
    if not isinstance(decision, Unplaceable):
        return ()
    return tuple(rule for rule, _ in decision.trace.rules)


def _kept(decided: Decided) -> tuple[object, ...]:
    decision = decided.decision
    return (
        decision.data_planes,
        decision.reason if isinstance(decision, Unplaceable) else "",
        _blockers(decision),
        decided.deliverable,
        decision.copies,
        decision.shares,
        decided.spreads,
        {name: dict(amounts) for name, amounts in decided.reserved.items()},
        [(m.leaves, m.comes, m.reason, m.step) for m in decided.moves],
        dict(decided.homes),
        decided.preempts,
    )
