"""What can be wrong with a traffic policy in itself: nothing in it may be without effect.

Traffic within a Cell passes no gateway, so a policy needs a door that leads to its endpoint; and a
gateway can only do what the endpoint's protocol lets it see.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from cellplane.cell.problem import Findings
from cellplane.cell.protocol import TRAITS, Protocol, RouteKind, Transport
from cellplane.cell.traffic import Retries, TrafficPolicy, Trigger, settings_of
from cellplane.cell.visibility import Visibility
from cellplane.model.domain.kinds import project_of
from cellplane.model.domain.resources import Component, Connection, Endpoint

_ON_REQUESTS: Final = ("authentication", "rate_limits", "timeouts.request", "retries", "cors")
"""Settings that need a gateway which sees requests, not bytes."""
_FOR_BROWSERS: Final = ("cors", "authentication.oidc")
_AUTHORIZERS: Final = frozenset({RouteKind.HTTP, RouteKind.GRPC})


def check_traffic(component: Component, endpoint: Endpoint, at: Findings) -> None:
    """Find everything that is wrong with the policy of one endpoint; *at* is the endpoint's."""
    policy = endpoint.traffic_policy
    where = at.at("traffic_policy")
    settings = tuple(settings_of(policy))
    if policy is None:
        return
    if not {Visibility.PUBLIC, Visibility.ORGANIZATION} & set(endpoint.visibilities):
        where.add(
            "POLICY_WITHOUT_GATEWAY",
            f'endpoint "{endpoint.endpoint}" is for its project only, and no gateway leads to it: '
            "add PUBLIC or ORGANIZATION to its visibilities, or remove the traffic policy",
            value=endpoint.endpoint,
        )
    for setting in settings:
        if why := _unseen(setting, endpoint.protocol):
            _below(where, setting).add(
                "POLICY_NOT_SUPPORTED",
                f'endpoint "{endpoint.endpoint}" speaks {endpoint.protocol.value}, {why}: remove '
                f"{setting}",
                value=setting,
            )
    _check_times(policy, where)
    if policy.retries is not None:
        _check_triggers(policy.retries, endpoint, where.at("retries").at("triggers"))
    _check_authorizer(component, policy, where)


def _unseen(setting: str, protocol: Protocol) -> str:
    traits = TRAITS[protocol]
    if traits.transport is Transport.UDP:
        return "of whose traffic gateways know nothing"
    routed = traits.route in (RouteKind.HTTP, RouteKind.GRPC)
    if not routed and setting.startswith(_ON_REQUESTS):
        return "in which gateways see no requests"
    if traits.route is RouteKind.GRPC and setting.startswith(_FOR_BROWSERS):
        return "which browsers do not"
    return ""


def _below(at: Findings, path: str) -> Findings:
    for step in path.split("."):
        at = at.at(step)
    return at


def _check_times(policy: TrafficPolicy, at: Findings) -> None:
    whole = policy.timeouts.request if policy.timeouts is not None else None
    one: timedelta | None = policy.retries.per_attempt_timeout if policy.retries else None
    if whole is not None and one is not None and one > whole:
        at.at("retries").at("per_attempt_timeout").add(
            "TIMEOUT_ORDER",
            f"one attempt may take {one.total_seconds():g} s, longer than the whole request's "
            f"{whole.total_seconds():g} s: lower it",
            value=str(one),
        )


def _check_triggers(retries: Retries, endpoint: Endpoint, at: Findings) -> None:
    is_grpc = TRAITS[endpoint.protocol].route is RouteKind.GRPC
    if not is_grpc and Trigger.UNAVAILABLE in retries.triggers:
        at.add(
            "POLICY_NOT_SUPPORTED",
            f'UNAVAILABLE is a status of gRPC, and endpoint "{endpoint.endpoint}" speaks '
            f"{endpoint.protocol.value}: write GATEWAY_ERROR",
            value=Trigger.UNAVAILABLE.value,
        )


def _check_authorizer(component: Component, policy: TrafficPolicy, at: Findings) -> None:
    external = policy.authentication.external if policy.authentication is not None else None
    if external is None:
        return
    where = at.at("authentication").at("external").at("connection")
    connection = _find(component.connections, external.connection)
    target = connection.component_endpoint if connection is not None else None
    if connection is None:
        there = ", ".join(f'"{c.connection}"' for c in component.connections) or "none"
        where.add(
            "CONNECTION_NOT_FOUND",
            f'component has no connection "{external.connection}": it has {there}',
            value=external.connection,
        )
    elif target is None or project_of(target.component) != project_of(component.name):
        where.add(
            "AUTHORIZER_OUTSIDE",
            f'connection "{external.connection}" leads out of the project: gateways ask a '
            "component of the same project only",
            value=external.connection,
        )


def _find(connections: Iterable[Connection], id: str) -> Connection | None:
    return next((c for c in connections if c.connection == id), None)


def check_authorizer_protocol(connection: str, protocol: Protocol, at: Findings) -> None:
    """What answers whether a request may pass speaks HTTP or gRPC; known once it is bound."""
    traits = TRAITS[protocol]
    if traits.route not in _AUTHORIZERS or traits.tls:
        at.add(
            "AUTHORIZER_PROTOCOL",
            f'connection "{connection}" speaks {protocol.value}: gateways ask by gRPC or HTTP',
            value=protocol.value,
        )
