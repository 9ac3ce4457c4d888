"""What gateways do with the traffic of an endpoint; field names are those of the contract.

A setting that is written is either compiled or refused: ``settings_of`` names everything that is
set, so that a compiler subtracts what it covers and refuses the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from cellplane.cell.workload import SecretReferenceKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimHeader:
    """A claim of a token, as a header."""

    claim: str
    header: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtAuthentication:
    """A signed token in the request (RFC 7519)."""

    issuer: str
    audiences: tuple[str, ...] = ()
    jwks_uri: str
    claim_headers: tuple[ClaimHeader, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcAuthentication:
    """People sign in at an OpenID provider."""

    issuer: str
    client_id: str
    client_secret: SecretReferenceKey
    scopes: tuple[str, ...] = ()
    redirect_path: str = ""
    logout_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyAuthentication:
    """A key that is known to the endpoint: each key of the secret is a client's id."""

    secret_reference: str
    header: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicAuthentication:
    """A name and a password (RFC 7617)."""

    users: SecretReferenceKey


@dataclass(frozen=True, slots=True, kw_only=True)
class MutualTlsAuthentication:
    """A client certificate."""

    authorities: SecretReferenceKey
    subject_alt_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalAuthentication:
    """Another component decides; by the id of the connection that leads to it."""

    connection: str
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """How callers prove who they are. One method is set."""

    jwt: JwtAuthentication | None = None
    oidc: OidcAuthentication | None = None
    api_key: ApiKeyAuthentication | None = None
    basic: BasicAuthentication | None = None
    mutual_tls: MutualTlsAuthentication | None = None
    external: ExternalAuthentication | None = None

    @property
    def secrets(self) -> tuple[tuple[str, str, str], ...]:
        """Path below this, secret reference and key (empty is all of them) that it reads."""
        if self.oidc is not None:
            secret = self.oidc.client_secret
            return (("oidc.client_secret", secret.secret_reference, secret.key),)
        if self.api_key is not None:
            return (("api_key", self.api_key.secret_reference, ""),)
        if self.basic is not None:
            secret = self.basic.users
            return (("basic.users", secret.secret_reference, secret.key),)
        if self.mutual_tls is not None:
            secret = self.mutual_tls.authorities
            return (("mutual_tls.authorities", secret.secret_reference, secret.key),)
        return ()


class Unit(Enum):
    """The span of time that a rate is about."""

    SECOND = "SECOND"
    MINUTE = "MINUTE"
    HOUR = "HOUR"
    DAY = "DAY"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """How many requests pass in a span of time."""

    requests: int
    unit: Unit
    per_client: bool = False
    per_header: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long anything may take."""

    request: timedelta | None = None
    idle: timedelta | None = None
    connect: timedelta | None = None


class Trigger(Enum):
    """What counts as a failed attempt."""

    CONNECT_FAILURE = "CONNECT_FAILURE"
    RESET = "RESET"
    SERVER_ERROR = "SERVER_ERROR"
    GATEWAY_ERROR = "GATEWAY_ERROR"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """Whether a request that failed is sent again; without triggers, if none could connect."""

    attempts: int
    triggers: tuple[Trigger, ...] = ()
    per_attempt_timeout: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Which web pages of other origins may call (Fetch standard, CORS protocol)."""

    allow_origins: tuple[str, ...]
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    max_age: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBreaker:
    """How much is in flight at most, from each gateway."""

    max_connections: int | None = None
    max_pending_requests: int | None = None
    max_parallel_requests: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPolicy:
    """Everything that gateways do with the traffic of one endpoint."""

    authentication: Authentication | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    timeouts: Timeouts | None = None
    retries: Retries | None = None
    cors: Cors | None = None
    circuit_breaker: CircuitBreaker | None = None


_GROUPS = ("authentication", "timeouts", "circuit_breaker")
"""Settings that compilers cover one by one; of the others, each is whole."""


def settings_of(policy: TrafficPolicy | None) -> Iterator[str]:
    """Yield the path of every setting that is set, such as ``timeouts.idle``, in a fixed order."""
    if policy is None:
        return
    for name in TrafficPolicy.__slots__:
        value = getattr(policy, name)
        if name in _GROUPS and value is not None:
            for own in type(value).__slots__:
                if getattr(value, own) is not None:
                    yield f"{name}.{own}"
        elif value:
            yield name
