"""What Envoy Gateway is told to do with the traffic of one route; Gateway API has no words for it.

A policy names one route and lies in its namespace, so that nothing of another endpoint changes. It
is applied before the route, which is closed until both are there: Envoy Gateway answers 500 for a
route whose policy it cannot carry out, never lets its requests through. What is asked for beyond
what the platform allows is cut to that, and said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from cellplane.cell import addresses
from cellplane.cell.cell import ResolvedCell, ResolvedComponent, ResolvedEndpoint
from cellplane.cell.external import ExternalPolicy
from cellplane.cell.manifest import Manifest, Phase
from cellplane.cell.names import kube_name
from cellplane.cell.protocol import Protocol
from cellplane.cell.traffic import (
    Authentication,
    CircuitBreaker,
    Cors,
    JwtAuthentication,
    OidcAuthentication,
    RateLimit,
    Retries,
    Timeouts,
    TrafficPolicy,
    Trigger,
    Unit,
    settings_of,
)
from cellplane.gateway.compiler.objects import ENVOY_API, exposure
from cellplane.gateway.compiler.secrets import fetched

COVERED: Final = frozenset(
    {
        "authentication.jwt",
        "authentication.api_key",
        "authentication.basic",
        "authentication.mutual_tls",
        "authentication.oidc",
        "rate_limits",
        "timeouts.request",
        "timeouts.idle",
        "timeouts.connect",
        "retries",
        "cors",
        "circuit_breaker.max_connections",
        "circuit_breaker.max_pending_requests",
        "circuit_breaker.max_parallel_requests",
    }
)
"""Settings of traffic policies that are compiled, by their paths. An endpoint with any other is
refused and gets no route: what its author asked for would not hold there."""

LONGEST_REQUEST: Final = timedelta(hours=1)
"""The platform's ceiling: a request that takes longer holds a gateway's memory and its drain."""
CLIENT_SECRET_KEY: Final = "client-secret"  # noqa: S105 - the name of a key
USERS_KEY: Final = ".htpasswd"
"""Where Envoy Gateway looks for names and digests of passwords, in a Secret."""

CALLBACK: Final = "/oauth2/callback"
LOGOUT: Final = "/logout"

_TRIGGERS: Final[Mapping[Trigger, str]] = {
    Trigger.CONNECT_FAILURE: "connect-failure",
    Trigger.RESET: "reset",
    Trigger.SERVER_ERROR: "5xx",
    Trigger.GATEWAY_ERROR: "gateway-error",
    Trigger.UNAVAILABLE: "unavailable",
}
_UNITS: Final[Mapping[Unit, str]] = {
    Unit.SECOND: "Second",
    Unit.MINUTE: "Minute",
    Unit.HOUR: "Hour",
    Unit.DAY: "Day",
}
_EVERY_REQUEST: Final[Mapping[str, Any]] = {"path": {"type": "PathPrefix", "value": "/"}}


def refused(policy: TrafficPolicy | None) -> Iterator[tuple[str, str]]:
    """Name every setting that gateways cannot do, and say why; then the endpoint has no route."""
    for setting in settings_of(policy):
        if setting not in COVERED:
            yield setting, f"gateways cannot do {setting} yet"
    if policy is not None:
        yield from uncountable(policy)


def uncountable(policy: TrafficPolicy | ExternalPolicy) -> Iterator[tuple[str, str]]:
    """Name limits that would not hold, and say why."""
    for index, limit in enumerate(policy.rate_limits):
        # Envoy remembers twenty values at a time for one route, then forgets who has asked enough.
        if limit.per_client or limit.per_header:
            key = "per_client" if limit.per_client else "per_header"
            yield (
                f"rate_limits[{index}].{key}",
                (
                    "gateways cannot count each client on its own yet: they would forget the "
                    "first after twenty others"
                ),
            )
    breaker = policy.circuit_breaker
    if breaker is not None and breaker.max_pending_requests == 0:
        yield (
            "circuit_breaker.max_pending_requests",
            "a request waits while its connection is made, so with 0 none would ever be served",
        )


def compile_policies(
    cell: ResolvedCell,
    component: ResolvedComponent,
    endpoint: ResolvedEndpoint,
    *,
    kind: str,
    route: str,
) -> Iterator[Manifest]:
    """Compile the policies of one route; nothing where nothing is asked for."""
    policy = endpoint.traffic_policy
    if policy is None:
        return
    for api_kind, spec in (
        ("SecurityPolicy", _security(component, endpoint, policy)),
        (
            "BackendTrafficPolicy",
            traffic(policy, request_timeout_here=endpoint.protocol is Protocol.GRPC),
        ),
    ):
        if spec:
            target = {"group": "gateway.networking.k8s.io", "kind": kind, "name": route}
            yield exposure(
                cell,
                component.component,
                ENVOY_API,
                api_kind,
                route,
                {"targetRefs": [target], **spec},
                phase=Phase.CONFIGURATION,
            )


def compile_secrets(
    cell: ResolvedCell, component: ResolvedComponent, endpoint: ResolvedEndpoint
) -> Iterator[Manifest]:
    """Compile what fetches the secrets that gateways check callers of an endpoint by."""
    asked = endpoint.traffic_policy.authentication if endpoint.traffic_policy else None
    if asked is not None and asked.basic is not None:
        name = users_secret(component.component, endpoint.endpoint)
        yield from fetched(cell, component, name, {USERS_KEY: asked.basic.users})
    if asked is not None and asked.oidc is not None:
        name = client_secret(component.component, endpoint.endpoint)
        yield from fetched(cell, component, name, {CLIENT_SECRET_KEY: asked.oidc.client_secret})


def request_timeout(endpoint: ResolvedEndpoint, default: timedelta) -> timedelta:
    """How long a request may take: what is asked for, up to the platform's ceiling."""
    policy = endpoint.traffic_policy
    asked = policy.timeouts.request if policy and policy.timeouts else None
    if asked is None:
        return timedelta() if endpoint.protocol is Protocol.WEBSOCKET else default
    return min(asked, LONGEST_REQUEST)


def duration(span: timedelta) -> str:
    """Write a span of time as Gateway API does (GEP-2257), to the millisecond."""
    milliseconds = max(1, round(span.total_seconds() * 1000)) if span else 0
    seconds, rest = divmod(milliseconds, 1000)
    if not rest:
        return f"{seconds}s"
    return f"{seconds}s{rest}ms" if seconds else f"{rest}ms"


def users_secret(component: str, endpoint: str) -> str:
    """Secret of the names and digests that a gateway checks, under the key that it wants."""
    return kube_name(component, endpoint, "users")


def client_secret(component: str, endpoint: str) -> str:
    """Secret by which a gateway is known to the provider where people sign in."""
    return kube_name(component, endpoint, "oidc")


def sign_in_refused(endpoint: ResolvedEndpoint) -> Iterator[tuple[str, str]]:
    """Name paths of signing in and out that would not come back to the endpoint, and say why."""
    policy = endpoint.traffic_policy
    asked = policy.authentication.oidc if policy and policy.authentication else None
    if asked is None:
        return
    for field, path in (
        ("redirect_path", asked.redirect_path or CALLBACK),
        ("logout_path", asked.logout_path or LOGOUT),
    ):
        if not any(f"{path}/".startswith(f"{own.rstrip('/')}/") for own in endpoint.paths):
            yield field, f"path {path} is not below that of the endpoint, {endpoint.path}"


# -- who may ask -----------------------------------------------------------------------------------


def _security(
    component: ResolvedComponent, endpoint: ResolvedEndpoint, policy: TrafficPolicy
) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    if policy.authentication is not None:
        spec |= _authentication(component, endpoint, policy.authentication)
    if policy.cors is not None:
        spec["cors"] = _cors(policy.cors)
    return spec


def _authentication(
    component: ResolvedComponent, endpoint: ResolvedEndpoint, asked: Authentication
) -> dict[str, Any]:
    if asked.jwt is not None:
        return {"jwt": {"providers": [_provider(asked.jwt)]}}
    if asked.api_key is not None:
        name = addresses.secret_name(component.component, asked.api_key.secret_reference)
        return {
            "apiKeyAuth": {
                "credentialRefs": [{"group": "", "kind": "Secret", "name": name}],
                "extractFrom": [{"headers": [asked.api_key.header or "x-api-key"]}],
                # The component has no use for the key, and its logs none either.
                "sanitize": True,
            }
        }
    if asked.basic is not None:
        name = users_secret(component.component, endpoint.endpoint)
        return {"basicAuth": {"users": {"group": "", "kind": "Secret", "name": name}}}
    if asked.oidc is not None:
        name = client_secret(component.component, endpoint.endpoint)
        return {"oidc": _sign_in(asked.oidc, name)}
    return {}


def _provider(jwt: JwtAuthentication) -> dict[str, Any]:
    provider: dict[str, Any] = {
        "name": "issuer",
        "issuer": jwt.issuer,
        "remoteJWKS": {"uri": jwt.jwks_uri, "cacheDuration": "300s"},
    }
    if jwt.audiences:
        provider["audiences"] = list(jwt.audiences)
    if jwt.claim_headers:
        provider["claimToHeaders"] = [
            {"claim": each.claim, "header": each.header} for each in jwt.claim_headers
        ]
    return provider


def _sign_in(oidc: OidcAuthentication, secret: str) -> dict[str, Any]:
    callback = oidc.redirect_path or CALLBACK
    spec: dict[str, Any] = {
        "provider": {"issuer": oidc.issuer},
        "clientID": oidc.client_id,
        "clientSecret": {"group": "", "kind": "Secret", "name": secret},
        # Back to the host that was asked for.
        "redirectURL": f"%REQ(x-forwarded-proto)%://%REQ(:authority)%{callback}",
        "logoutPath": oidc.logout_path or LOGOUT,
    }
    if oidc.scopes:
        spec["scopes"] = list(oidc.scopes)
    return spec


def _cors(cors: Cors) -> dict[str, Any]:
    spec: dict[str, Any] = {"allowOrigins": list(cors.allow_origins)}
    for name, values in (
        ("allowMethods", cors.allow_methods),
        ("allowHeaders", cors.allow_headers),
        ("exposeHeaders", cors.expose_headers),
    ):
        if values:
            spec[name] = list(values)
    if cors.allow_credentials:
        spec["allowCredentials"] = True
    if cors.max_age is not None:
        spec["maxAge"] = duration(cors.max_age)
    return spec


# -- what becomes of what is asked -----------------------------------------------------------------


def traffic(
    policy: TrafficPolicy | ExternalPolicy, *, request_timeout_here: bool
) -> dict[str, Any]:
    """What a BackendTrafficPolicy says of limits, timeouts, retries and circuit breakers.

    ``request_timeout_here``: whether the route itself has no word for the request's timeout.
    """
    spec: dict[str, Any] = {}
    if policy.rate_limits:
        rules = [_limit(limit) for limit in policy.rate_limits]
        spec["rateLimit"] = {"type": "Local", "local": {"rules": rules}}
    if policy.timeouts is not None and (
        timeouts := _timeouts(policy.timeouts, request_timeout_here=request_timeout_here)
    ):
        spec["timeout"] = timeouts
    if policy.retries is not None:
        spec["retry"] = _retry(policy.retries)
    if policy.circuit_breaker is not None and (breaker := _breaker(policy.circuit_breaker)):
        spec["circuitBreaker"] = breaker
    return spec


def _limit(limit: RateLimit) -> dict[str, Any]:
    """The rule of one limit: it has a selector, so that every one of several counts a request."""
    return {
        "clientSelectors": [_EVERY_REQUEST],
        "limit": {"requests": limit.requests, "unit": _UNITS[limit.unit]},
    }


def _timeouts(asked: Timeouts, *, request_timeout_here: bool) -> dict[str, Any]:
    http: dict[str, Any] = {}
    if asked.request is not None and request_timeout_here:
        http["requestTimeout"] = duration(min(asked.request, LONGEST_REQUEST))
    if asked.idle is not None:
        http["streamIdleTimeout"] = http["connectionIdleTimeout"] = duration(asked.idle)
    spec: dict[str, Any] = {"http": http} if http else {}
    if asked.connect is not None:
        spec["tcp"] = {"connectTimeout": duration(asked.connect)}
    return spec


def _retry(retries: Retries) -> dict[str, Any]:
    triggers = retries.triggers or (Trigger.CONNECT_FAILURE,)
    spec: dict[str, Any] = {
        "numRetries": retries.attempts,
        "retryOn": {"triggers": [_TRIGGERS[trigger] for trigger in triggers]},
    }
    if retries.per_attempt_timeout is not None:
        spec["perRetry"] = {"timeout": duration(retries.per_attempt_timeout)}
    return spec


def _breaker(breaker: CircuitBreaker) -> dict[str, Any]:
    asked = {
        "maxConnections": breaker.max_connections,
        "maxPendingRequests": breaker.max_pending_requests,
        "maxParallelRequests": breaker.max_parallel_requests,
    }
    return {name: value for name, value in asked.items() if value is not None}
