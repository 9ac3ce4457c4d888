"""What endpoints are called from where, and what a request meets: read off compiled objects.

Nothing is derived a second time: a request is held against the very routes and policies that data
planes get, by the rules of the Gateway API (the host must be the route's, the longest path wins,
whole segments count) and of our own callers' expressions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from cellplane.cell import addresses, labels
from cellplane.cell.cell import ResolvedCell, ResolvedComponent, ResolvedEndpoint
from cellplane.cell.manifest import Compiled
from cellplane.cell.plane import DataPlaneProfile, Peers
from cellplane.cell.protocol import TRAITS, Protocol
from cellplane.cell.traffic import settings_of
from cellplane.cell.visibility import Visibility
from cellplane.gateway.compiler.callers import HEADER
from cellplane.gateway.compiler.compile import compile as compile_gateways

_SECURE: Final[Mapping[str, str]] = {"http": "https", "ws": "wss", "grpc": "grpcs"}
_ROUTES: Final = ("HTTPRoute", "GRPCRoute")
_POLICIES: Final = ("SecurityPolicy", "BackendTrafficPolicy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """One way to call an endpoint."""

    component: str
    endpoint: str
    caller: str
    """``project``, ``organization`` or ``public``."""
    url: str
    policies: tuple[str, ...] = ()
    """Settings of the traffic policy that a caller meets there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, as the caller makes it."""

    method: str
    url: str
    caller: str = ""
    """Id of the calling project in the same environment; empty comes from the internet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """What becomes of a request."""

    gateway: str
    route: str = ""
    component: str = ""
    backend: str = ""
    path: str = ""
    policies: tuple[str, ...] = ()
    why: str = ""
    """Why no route is met, with what there is instead; empty where one is."""


def urls(cell: ResolvedCell, refused: Iterable[str] = ()) -> Iterator[Url]:
    """Every way to call the endpoints of a Cell; not those of components in *refused*."""
    without = frozenset(refused)
    for component in cell.components:
        for endpoint in component.endpoints:
            yield _inside(cell, component, endpoint)
            if component.component not in without:
                yield from _from_outside(cell, component, endpoint)


def _inside(cell: ResolvedCell, component: ResolvedComponent, endpoint: ResolvedEndpoint) -> Url:
    host = f"{addresses.service_name(component.component)}.{cell.frame.namespace}.svc.cluster.local"
    return Url(
        component=component.component,
        endpoint=endpoint.endpoint,
        caller="project",
        url=f"{TRAITS[endpoint.protocol].scheme}://{host}:{endpoint.port}",
    )


def _from_outside(
    cell: ResolvedCell, component: ResolvedComponent, endpoint: ResolvedEndpoint
) -> Iterator[Url]:
    frame, traits = cell.frame, TRAITS[endpoint.protocol]
    if traits.tls or traits.scheme not in _SECURE:
        return
    places: list[tuple[str, str]] = []
    if Visibility.ORGANIZATION in endpoint.visibilities:
        own = (frame.project, component.component, endpoint.endpoint)
        host = addresses.organization_host(*own, frame.organization_domain)
        places.append(("organization", host))
    if Visibility.PUBLIC in endpoint.visibilities:
        places += [("public", host) for host in addresses.public_hosts(frame, endpoint)]
    paths = ("",) if endpoint.protocol is Protocol.GRPC else endpoint.paths
    for caller, host in places:
        for path in dict.fromkeys(paths):
            yield Url(
                component=component.component,
                endpoint=endpoint.endpoint,
                caller=caller,
                url=f"{_SECURE[traits.scheme]}://{host}{path}",
                policies=tuple(settings_of(endpoint.traffic_policy)),
            )


def compiled(cell: ResolvedCell, plane: DataPlaneProfile) -> Compiled:
    """What gateways of *plane* get of a Cell, wherever the targets of its connections are."""
    return compile_gateways(cell, plane, Peers(), include_frame=False)


def explain(cell: ResolvedCell, plane: DataPlaneProfile, asked: Asked) -> Met:
    """Say which route and policies a request meets, or why none."""
    objects = [json.loads(m.content) for m in compiled(cell, plane).manifests]
    gateway = addresses.WESTBOUND_GATEWAY if asked.caller else addresses.NORTHBOUND_GATEWAY
    parts = urlsplit(asked.url)
    host, path = parts.hostname or "", parts.path or "/"
    if re.search("%2f|%5c", path, re.IGNORECASE):
        return Met(gateway=gateway, why="a path with an escaped slash is refused: 400")
    routes = [
        body for body in objects if body["kind"] in _ROUTES and _behind_gateway(body) == gateway
    ]
    here = [body for body in routes if host in body["spec"]["hostnames"]]
    if not here:
        known = sorted({name for body in routes for name in body["spec"]["hostnames"]})
        return Met(gateway=gateway, why=f'no route has host "{host}": there are {_listed(known)}')
    fitting = [
        (match, body, rule)
        for body in here
        for rule in body["spec"]["rules"]
        for match in rule.get("matches", [{}])
        if _has(path, _prefix(match))
    ]
    if not fitting:
        known = sorted(_prefixes(here))
        return Met(gateway=gateway, why=f'no route of "{host}" has path {path}: {_listed(known)}')
    named = [each for each in fitting if _names(each[0], cell, plane, asked.caller)]
    if not named:
        callers = sorted({c for e in _behind(cell, host) for c in e.organization_callers})
        return Met(
            gateway=gateway,
            why=f'project "{asked.caller}" declares no connection to it: {_listed(callers)} may',
        )
    match, body, rule = max(named, key=lambda each: len(_prefix(each[0])))
    (backend,) = rule["backendRefs"]
    name = body["metadata"]["name"]
    return Met(
        gateway=gateway,
        route=f"{body['kind']} {name}",
        component=body["metadata"]["labels"][labels.COMPONENT],
        backend=f"{backend['name']}.{cell.frame.namespace}:{backend['port']}",
        path=_prefix(match),
        policies=tuple(_policies(objects, name, rule)),
    )


def _policies(
    objects: Sequence[Mapping[str, Any]], route: str, rule: Mapping[str, Any]
) -> Iterator[str]:
    for body in objects:
        if body["kind"] in _POLICIES and body["spec"]["targetRefs"][0]["name"] == route:
            for setting, value in sorted(body["spec"].items()):
                if setting != "targetRefs":
                    yield f"{body['kind']} {setting}: {json.dumps(value, sort_keys=True)}"
    if "timeouts" in rule:
        yield f"timeout: {rule['timeouts']['request']}"


def _behind_gateway(route: Mapping[str, Any]) -> str:
    """Listeners that a Cell brings along are the northbound gateway's."""
    parent = route["spec"]["parentRefs"][0]
    return addresses.NORTHBOUND_GATEWAY if parent.get("kind") == "ListenerSet" else parent["name"]


def _behind(cell: ResolvedCell, host: str) -> Iterator[ResolvedEndpoint]:
    frame = cell.frame
    for component in cell.components:
        for endpoint in component.endpoints:
            own = (frame.project, component.component, endpoint.endpoint)
            if addresses.organization_host(*own, frame.organization_domain) == host:
                yield endpoint


def _prefixes(routes: Iterable[Mapping[str, Any]]) -> set[str]:
    return {
        _prefix(match)
        for body in routes
        for rule in body["spec"]["rules"]
        for match in rule.get("matches", [{}])
    }


def _prefix(match: Mapping[str, Any]) -> str:
    return str(match.get("path", {}).get("value", "/"))


def _has(path: str, prefix: str) -> bool:
    """Gateway API: a prefix is whole segments."""
    bare = prefix.rstrip("/")
    return path == bare or path.startswith(f"{bare}/")


def _names(
    match: Mapping[str, Any], cell: ResolvedCell, plane: DataPlaneProfile, caller: str
) -> bool:
    wanted = [h["value"] for h in match.get("headers", ()) if h["name"] == HEADER]
    frame = cell.frame
    path = addresses.cell_spiffe_path(
        frame.organization, plane.uid or "any", caller, frame.environment
    )
    shown = f"Hash={'0' * 64};URI=spiffe://{plane.trust_domain}{path}"
    return all(re.fullmatch(expression, shown) for expression in wanted)


def _listed(known: Sequence[str]) -> str:
    return ", ".join(known) if known else "none"
