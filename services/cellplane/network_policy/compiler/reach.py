"""Can A reach B, and why: every way there is, hop by hop, each judged on compiled policies.

A way is open if all its hops are. What a gateway's route demands of its caller, a policy can't
say: that hop is told as the route's, and judged by what the Cell resolved to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cellplane.cell.addresses import egress_ports
from cellplane.cell.cell import (
    ExternalTarget,
    OrganizationTarget,
    ResolvedCell,
    ResolvedComponent,
    ResolvedEndpoint,
)
from cellplane.cell.problem import Invalid
from cellplane.cell.protocol import TRAITS, Transport
from cellplane.cell.visibility import Visibility
from cellplane.network_policy.compiler import places
from cellplane.network_policy.compiler.flows import Flow, Place, Verdict
from cellplane.network_policy.compiler.outbound import WESTBOUND_TARGET
from cellplane.network_policy.compiler.verdict import Judge


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Cells on one data plane, and all policies there."""

    data_plane: str
    cells: Mapping[str, ResolvedCell]
    """By project."""
    objects: tuple[Mapping[str, Any], ...]
    elsewhere: Mapping[str, Elsewhere] = field(default_factory=dict)
    """By project: Cells that are not on this data plane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """A Cell on another data plane, behind its westbound gateway as others reach it."""

    cell: ResolvedCell
    objects: tuple[Mapping[str, Any], ...]
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Who wants to reach whom."""

    source: str
    """``project/component``, or one of ``places.AROUND``, an address or a host's name."""
    destination: str
    port: str
    """Number of a process's port or of a Service's, or the id of an endpoint."""
    transport: str = ""
    """Empty is the endpoint's, or TCP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One connection of a way."""

    source: str
    destination: str
    port: int
    transport: str
    allowed: bool
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way from A to B."""

    way: str
    """``direct``, ``eastbound``, ``northbound`` or ``southbound``."""
    allowed: bool
    """Whether every hop is open."""
    hops: tuple[Hop, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The answer on one data plane; field names are those of the contract, as in all of these."""

    data_plane: str
    allowed: bool
    ways: tuple[Way, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    name: str
    place: Place
    cell: ResolvedCell | None = None
    component: ResolvedComponent | None = None


def can_reach(site: Site, question: Question) -> Reach:
    """Answer *question* on one data plane.

    Raises:
        Invalid: nobody is called as the question says, or the port is none.
    """
    source, destination = _end(site, question.source), _end(site, question.destination)
    endpoint = _endpoint(destination, question.port)
    port = endpoint.target_port if endpoint is not None else _number(question)
    transport = question.transport or (
        TRAITS[endpoint.protocol].transport.value if endpoint is not None else Transport.TCP.value
    )
    away = site.elsewhere.get(destination.name.partition("/")[0])
    judge = Judge((*site.objects, *(away.objects if away is not None else ())))
    ways = [_way("direct", (_hop(judge, source, destination, port, transport),))]
    ways += _through_gateways(site, judge, source, destination, port, transport, endpoint)
    return Reach(
        data_plane=site.data_plane, allowed=any(way.allowed for way in ways), ways=tuple(ways)
    )


def _way(way: str, hops: tuple[Hop, ...]) -> Way:
    return Way(way=way, allowed=all(hop.allowed for hop in hops), hops=hops)


def _through_gateways(
    site: Site,
    judge: Judge,
    source: _End,
    destination: _End,
    port: int,
    transport: str,
    endpoint: ResolvedEndpoint | None,
) -> Iterable[Way]:
    if source.name == places.INTERNET and endpoint is not None:
        gateway = _around(places.NORTHBOUND)
        public = Visibility.PUBLIC in endpoint.visibilities
        hops = (
            _route(source, gateway, 443, f"endpoint {endpoint.endpoint} is public", public),
            _hop(judge, gateway, destination, port, transport),
        )
        yield _way("northbound", hops)
    if source.cell is None or source.component is None:
        return
    gateway = _end(site, f"{source.cell.frame.project}/{places.EGRESS}")
    listeners = egress_ports(source.cell.frame)
    for connection in source.component.connections:
        listener = listeners.get((source.component.component, connection.connection), 0)
        first = _hop(judge, source, gateway, listener, Transport.TCP.value)
        match connection.target:
            case OrganizationTarget() as target if (
                endpoint is not None
                and destination.name == f"{target.project}/{target.component}"
                and endpoint.endpoint == target.endpoint
            ):
                westbound = _around(places.WESTBOUND)
                met, at = _westbound(site, target.project)
                known = source.cell.frame.project in endpoint.organization_callers
                says = f"endpoint {endpoint.endpoint} knows {source.cell.frame.project} as a caller"
                second = _hop(judge, gateway, met, at, Transport.TCP.value)
                admitted = _route(gateway, met, at, says, known)
                third = _hop(judge, westbound, destination, port, transport)
                yield _way("eastbound", (first, second, admitted, third))
            case ExternalTarget() as target if (target.host, target.port) == (
                destination.name,
                port,
            ):
                last = _hop(judge, gateway, destination, port, transport)
                yield _way("southbound", (first, last))
            case _:
                pass


def _westbound(site: Site, project: str) -> tuple[_End, int]:
    """The westbound gateway of a project, as this data plane sees it, and its port."""
    away = site.elsewhere.get(project)
    if away is None:
        return _around(places.WESTBOUND), WESTBOUND_TARGET.number
    place = places.around(away.host) or places.AROUND[places.INTERNET]
    return _End(name=away.host, place=place), away.port


def _hop(judge: Judge, source: _End, destination: _End, port: int, transport: str) -> Hop:
    flow = Flow(source=source.place, destination=destination.place, port=port, transport=transport)
    found: Verdict = judge.verdict(flow)
    return Hop(
        source=source.name,
        destination=destination.name,
        port=port,
        transport=transport,
        allowed=found.allowed,
        rules=found.rules,
    )


def _route(source: _End, gateway: _End, port: int, says: str, holds: bool) -> Hop:
    rule = f"route: {says}" if holds else f"route: not so that {says}"
    return Hop(
        source=source.name,
        destination=gateway.name,
        port=port,
        transport=Transport.TCP.value,
        allowed=holds,
        rules=(rule,),
    )


def _around(name: str) -> _End:
    return _End(name=name, place=places.AROUND[name])


def _end(site: Site, name: str) -> _End:
    project, slash, component = name.partition("/")
    if not slash:
        place = places.around(name)
        if place is None:
            words = ", ".join(sorted(places.AROUND))
            raise Invalid(
                f'nobody is called "{name}": give project/component, an address, a host\'s name, '
                f"or one of {words}"
            )
        return _End(name=name.lower(), place=place)
    away = site.elsewhere.get(project)
    cell = site.cells.get(project) or (away.cell if away is not None else None)
    if cell is None:
        known = ", ".join(sorted({*site.cells, *site.elsewhere})) or "none"
        raise Invalid(f'no Cell of project "{project}" is known there: there are {known}')
    place = places.component(cell.frame, component)
    found = next((c for c in cell.components if c.component == component), None)
    if found is None and component != places.EGRESS:
        known = ", ".join(sorted(c.component for c in cell.components)) or "none"
        raise Invalid(f'project "{project}" has no component "{component}": it has {known}')
    return _End(name=name, place=place, cell=cell, component=found)


def _endpoint(end: _End, port: str) -> ResolvedEndpoint | None:
    """The endpoint by its id, by its process's port, or else by its Service's."""
    if end.component is None:
        return None
    ways = (
        lambda e: e.endpoint == port,
        lambda e: str(e.target_port) == port,
        lambda e: str(e.port) == port,
    )
    for meant in ways:
        found = next((e for e in end.component.endpoints if meant(e)), None)
        if found is not None:
            return found
    return None


def _number(question: Question) -> int:
    if question.port.isdecimal() and 0 < int(question.port) < 65536:
        return int(question.port)
    raise Invalid(
        f'"{question.port}" is neither a port nor an endpoint of {question.destination}: '
        "give a number from 1 to 65535, or the id of an endpoint"
    )
