"""Northbound and westbound: routes that lead from the shared gateways to one component.

A route lives in the namespace of its component and attaches to a gateway that only the platform
owns. A ``public`` endpoint has a northbound route, an ``organization`` endpoint a westbound one for
exactly its callers; neither has both unless it says both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from cellplane.cell import addresses
from cellplane.cell.cell import ResolvedCell, ResolvedComponent, ResolvedEndpoint
from cellplane.cell.manifest import Manifest
from cellplane.cell.names import kube_name
from cellplane.cell.plane import ENVOY_GATEWAY, GATEWAY, DataPlaneProfile
from cellplane.cell.problem import Problem, Severity
from cellplane.cell.protocol import TRAITS, Protocol, RouteKind
from cellplane.cell.visibility import Visibility
from cellplane.gateway.compiler.callers import HEADER, caller_expressions
from cellplane.gateway.compiler.hostnames import (
    compile_hosts,
    listener_set,
    mutual_tls_refused,
    own_hosts,
    platform_hosts,
)
from cellplane.gateway.compiler.objects import GATEWAY_API, component_problem, exposure
from cellplane.gateway.compiler.policies import (
    LONGEST_REQUEST,
    compile_policies,
    compile_secrets,
    duration,
    refused,
    request_timeout,
    sign_in_refused,
)

ROUTED: Final = frozenset(
    protocol
    for protocol, traits in TRAITS.items()
    if traits.route in {RouteKind.HTTP, RouteKind.GRPC} and not traits.tls
)
"""What gateways route today; everything else is refused, never left open."""

_EXPOSED = (Visibility.PUBLIC, Visibility.ORGANIZATION)
_TIMEOUT = timedelta(seconds=60)
_MATCH_LIMIT = 64
"""Gateway API: matches of one rule."""


def problems(
    cell: ResolvedCell, component: ResolvedComponent, plane: DataPlaneProfile
) -> Iterator[Problem]:
    """Refuse what can't be routed on this data plane."""
    for index, endpoint in enumerate(component.endpoints):
        exposed = [v.value.lower() for v in _EXPOSED if v in endpoint.visibilities]
        if not exposed:
            continue
        words = " and ".join(exposed)
        name = f'endpoint "{component.component}/{endpoint.endpoint}"'

        def blame(field: str, reason: str, message: str, value: str, at: int = index) -> Problem:
            return component_problem(
                cell.frame, component.component, f"endpoints[{at}].{field}", reason, message, value
            )

        if endpoint.protocol not in ROUTED:
            routed = ", ".join(sorted(protocol.value for protocol in ROUTED))
            yield blame(
                "protocol",
                "PROTOCOL_NOT_ROUTED",
                f"{name}: gateways do not route {endpoint.protocol.value} yet: make it "
                f"visible to its project only, or speak one of {routed}",
                endpoint.protocol.value,
            )
        elif endpoint.protocol is Protocol.GRPC and set(endpoint.paths) != {"/"}:
            path = next(p for p in endpoint.paths if p != "/")
            yield blame(
                "path",
                "PATH_NOT_ROUTED",
                f"{name}: gRPC is routed by its host, not by the path {path}: remove the path",
                path,
            )
        for setting, why in refused(endpoint.traffic_policy):
            yield blame(
                f"traffic_policy.{setting}",
                "TRAFFIC_POLICY_NOT_SUPPORTED",
                f"{name}: {why}, and what is asked for is never left out: remove it",
                setting,
            )
        if why := mutual_tls_refused(cell.frame, component, endpoint):
            yield blame(
                "traffic_policy.authentication.mutual_tls",
                "TRAFFIC_POLICY_NOT_SUPPORTED",
                f"{name}: client certificates cannot be demanded: {why}",
                "authentication.mutual_tls",
            )
        for field, why in sign_in_refused(endpoint):
            yield blame(
                f"traffic_policy.authentication.oidc.{field}",
                "PATH_NOT_ROUTED",
                f"{name}: people could not come back from signing in: {why}: set {field}",
                field,
            )
        policy = endpoint.traffic_policy
        if policy is not None and not plane.can(ENVOY_GATEWAY):
            yield blame(
                "traffic_policy",
                "CAPABILITY_MISSING",
                f"{name}: traffic policies need Envoy Gateway, which data plane "
                f"{plane.data_plane} does not have: install it there, or place the Cell elsewhere",
                ENVOY_GATEWAY,
            )
        asked = policy.timeouts.request if policy and policy.timeouts else None
        if asked is not None and asked > LONGEST_REQUEST:
            yield replace(
                blame(
                    "traffic_policy.timeouts.request",
                    "TRAFFIC_POLICY_CUT",
                    f"{name}: a request may take {duration(LONGEST_REQUEST)} at most on this "
                    f"platform, so {duration(asked)} is cut to that: ask for less",
                    duration(asked),
                ),
                severity=Severity.WARNING,
            )
        if not plane.can(GATEWAY):
            yield blame(
                "visibilities",
                "CAPABILITY_MISSING",
                f"{name}: {words} needs the Gateway API, which data plane {plane.data_plane} does "
                "not serve: install Envoy Gateway there, or place the Cell elsewhere",
                words,
            )


def compile_routes(
    cell: ResolvedCell, component: ResolvedComponent, plane: DataPlaneProfile
) -> Iterator[Manifest]:
    """Compile the routes of one component."""
    frame = cell.frame
    routed = [
        endpoint
        for endpoint in component.endpoints
        if endpoint.protocol in ROUTED
        and not any(refused(endpoint.traffic_policy))
        and not mutual_tls_refused(frame, component, endpoint)
        and not any(sign_in_refused(endpoint))
    ]
    public = [endpoint for endpoint in routed if Visibility.PUBLIC in endpoint.visibilities]
    yield from compile_hosts(cell, component, public)
    for endpoint in routed:
        if any(each in endpoint.visibilities for each in _EXPOSED):
            yield from compile_secrets(cell, component, endpoint)
        if endpoint in public:
            yield from _public(cell, component, endpoint)
        if Visibility.ORGANIZATION in endpoint.visibilities and endpoint.organization_callers:
            yield from _route(
                cell,
                component,
                endpoint,
                use=addresses.WESTBOUND_GATEWAY,
                parents=[_gateway(addresses.WESTBOUND_GATEWAY)],
                hosts=(
                    addresses.organization_host(
                        frame.project,
                        component.component,
                        endpoint.endpoint,
                        frame.organization_domain,
                    ),
                ),
                headers=caller_expressions(
                    plane.trust_domain,
                    frame.organization,
                    frame.environment,
                    endpoint.organization_callers,
                ),
            )


def _public(
    cell: ResolvedCell, component: ResolvedComponent, endpoint: ResolvedEndpoint
) -> Iterator[Manifest]:
    if shared := platform_hosts(cell.frame, endpoint):
        yield from _route(
            cell,
            component,
            endpoint,
            use=addresses.NORTHBOUND_GATEWAY,
            parents=[_gateway(addresses.NORTHBOUND_GATEWAY)],
            hosts=shared,
        )
    if own := own_hosts(cell.frame, endpoint):
        group = {"group": "gateway.networking.k8s.io", "kind": "ListenerSet"}
        names = [listener_set(component.component, host) for host in own]
        yield from _route(
            cell,
            component,
            endpoint,
            use="hosts",
            parents=[{**group, "name": name} for name in names],
            hosts=own,
        )


def _gateway(name: str) -> dict[str, str]:
    return {"name": name, "namespace": addresses.GATEWAY_NAMESPACE}


def _route(
    cell: ResolvedCell,
    component: ResolvedComponent,
    endpoint: ResolvedEndpoint,
    *,
    use: str,
    parents: Sequence[Mapping[str, str]],
    hosts: Sequence[str],
    headers: Sequence[str] = (),
) -> Iterator[Manifest]:
    traits = TRAITS[endpoint.protocol]
    backend = [{"name": addresses.service_name(component.component), "port": endpoint.port}]
    matches = _matches(endpoint, headers, http=traits.route is RouteKind.HTTP)
    rules: list[dict[str, Any]] = []
    for start in range(0, max(len(matches), 1), _MATCH_LIMIT):
        rule: dict[str, Any] = {"backendRefs": backend}
        if matches:
            rule["matches"] = matches[start : start + _MATCH_LIMIT]
        if traits.route is RouteKind.HTTP:
            rule["timeouts"] = {"request": duration(request_timeout(endpoint, _TIMEOUT))}
        rules.append(rule)
    name = kube_name(component.component, endpoint.endpoint, use)
    kind = traits.route.value
    yield from compile_policies(cell, component, endpoint, kind=kind, route=name)
    yield exposure(
        cell,
        component.component,
        GATEWAY_API,
        kind,
        name,
        {
            "parentRefs": list(parents),
            "hostnames": list(hosts),
            "rules": rules,
        },
    )


def _matches(
    endpoint: ResolvedEndpoint, headers: Sequence[str], *, http: bool
) -> list[Mapping[str, Any]]:
    bases: list[dict[str, Any]] = [
        {"path": {"type": "PathPrefix", "value": path}} for path in dict.fromkeys(endpoint.paths)
    ]
    if not http:
        bases = [{}]
    if not headers:
        return [base for base in bases if base]
    return [
        {
            **base,
            "headers": [{"name": HEADER, "type": "RegularExpression", "value": expression}],
        }
        for base in bases
        for expression in headers
    ]
