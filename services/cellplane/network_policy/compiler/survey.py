"""The whole table of a Cell: everyone to everyone, judged, and held against what must be.

``must`` says what the table of the Cell says, from the Cell alone; it shares no code with the
compiler nor with the verdict. Plain NetworkPolicy's known limits are told apart from violations.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cellplane.cell import addresses
from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.protocol import TRAITS, Transport
from cellplane.cell.visibility import Isolation, Visibility
from cellplane.network_policy.compiler import places
from cellplane.network_policy.compiler.flows import Flow
from cellplane.network_policy.compiler.verdict import Judge

_UNDECLARED: Final = 9
"""The discard service's port (RFC 863) stands for whatever nobody declares."""
_TRANSPORTS: Final = (Transport.TCP.value, Transport.UDP.value)
_REACHED: Final[Mapping[str, tuple[int, ...]]] = {
    "dns": (addresses.DNS_PORT, 9153),
    "collector": (addresses.COLLECTOR_PORT, 8888),
    "northbound": (443, 10443),
    "westbound": (443, 10443),
    "gateway-controller": (18000,),
    "internet": (443,),
    "metadata": (80,),
    "apiserver": (6443,),
    "other-node": (10250,),
    "other-cell": (8080,),
}
"""Where a component might want to go outside of its Cell."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Opening:
    """A connection that passes."""

    source: str
    destination: str
    port: int
    transport: str

    def __str__(self) -> str:
        suffix = "" if self.transport == Transport.TCP.value else f"/{self.transport.lower()}"
        return f"{self.source} → {self.destination}:{self.port}{suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A connection that passes and must not, or the other way round."""

    opening: Opening
    allowed: bool
    rules: tuple[str, ...]
    limit: bool = False
    """Whether the provider is known not to enforce it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What is open in a Cell, and whether that is what must be; field names are the contract's."""

    data_plane: str
    check_count: int
    openings: tuple[Opening, ...]
    violations: tuple[Violation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one state of a Cell opens and closes against another."""

    opens: tuple[Opening, ...]
    closes: tuple[Opening, ...]


def survey(data_plane: str, cell: ResolvedCell, objects: Iterable[Mapping[str, Any]]) -> Survey:
    """Try every connection of the table on compiled policies."""
    known = list(objects)
    judge = Judge(known)
    # Where any policy is Cilium's, the node is narrowed by it.
    names_nodes = any(o["kind"].startswith("Cilium") for o in known)
    count, openings, violations = 0, list[Opening](), list[Violation]()
    for tried, wanted in _tried(cell):
        count += 1
        flow = Flow(
            source=_place(cell, tried.source),
            destination=_place(cell, tried.destination),
            port=tried.port,
            transport=tried.transport,
        )
        found = judge.verdict(flow)
        if found.allowed:
            openings.append(tried)
        if found.allowed is not wanted:
            limit = tried.source == "own-node" and not names_nodes
            violations.append(
                Violation(opening=tried, allowed=found.allowed, rules=found.rules, limit=limit)
            )
    return Survey(
        data_plane=data_plane,
        check_count=count,
        openings=tuple(sorted(openings)),
        violations=tuple(violations),
    )


def change(before: Iterable[Opening], after: Iterable[Opening]) -> Change:
    """What *after* opens and closes."""
    old, new = set(before), set(after)
    return Change(opens=tuple(sorted(new - old)), closes=tuple(sorted(old - new)))


def _tried(cell: ResolvedCell) -> Iterator[tuple[Opening, bool]]:
    """Every connection of the table, with what must become of it."""
    own = {f"{cell.frame.project}/{c.component}": c for c in cell.components}
    egress = f"{cell.frame.project}/{places.EGRESS}"
    listeners = addresses.egress_ports(cell.frame)
    ports = sorted({e.target_port for c in cell.components for e in c.endpoints} | {_UNDECLARED})
    for name, component in own.items():
        for source in (*own, egress, *places.AROUND):
            for port in ports:
                for transport in _TRANSPORTS:
                    tried = Opening(source=source, destination=name, port=port, transport=transport)
                    yield tried, _must_enter(cell, own.get(source), component, tried)
        for port in (*listeners.values(), _UNDECLARED):
            tried = Opening(source=name, destination=egress, port=port, transport="TCP")
            owned = {p for (owner, _), p in listeners.items() if owner == component.component}
            yield tried, port in owned
        for destination, outside in _REACHED.items():
            for port in outside:
                for transport in _TRANSPORTS:
                    tried = Opening(
                        source=name, destination=destination, port=port, transport=transport
                    )
                    yield tried, _must_leave(tried)


def _must_enter(
    cell: ResolvedCell, source: ResolvedComponent | None, target: ResolvedComponent, tried: Opening
) -> bool:
    declared = [
        e
        for e in target.endpoints
        if (e.target_port, TRAITS[e.protocol].transport.value) == (tried.port, tried.transport)
    ]
    if source is not None:
        callers = {name for e in declared for name in e.cell_callers} | {target.component}
        strict = cell.frame.isolation is Isolation.STRICT
        return bool(declared) and (not strict or source.component in callers)
    match tried.source:
        case places.NORTHBOUND:
            return any(Visibility.PUBLIC in e.visibilities for e in declared)
        case places.WESTBOUND:
            return any(
                Visibility.ORGANIZATION in e.visibilities and TRAITS[e.protocol].carries_identity
                for e in declared
            )
        case "own-node":
            probes = (target.workload.readiness_probe, target.workload.liveness_probe)
            probed = {probe.endpoint for probe in probes if probe is not None}
            asked = tried.transport == Transport.TCP.value
            return asked and any(
                e.endpoint in probed and e.target_port == tried.port for e in target.endpoints
            )
        case _:
            return False


def _must_leave(tried: Opening) -> bool:
    if tried.destination == "dns":
        return tried.port == addresses.DNS_PORT
    return (tried.destination, tried.port, tried.transport) == (
        "collector",
        addresses.COLLECTOR_PORT,
        Transport.TCP.value,
    )


def _place(cell: ResolvedCell, name: str) -> Any:
    _, slash, component = name.partition("/")
    return places.component(cell.frame, component) if slash else places.AROUND[name]
