"""Who calls: read from the verified certificate, as exactly one URI, never by prefix.

TLS has checked the chain before anything here runs; this module only reads. A certificate with
another number of URIs than one, or one outside the trust domain, proves nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from cellplane.cell.problem import Unauthenticated

_SEGMENT = r"[A-Za-z0-9](?:[A-Za-z0-9._@-]{0,126}[A-Za-z0-9])?"
_PATH = re.compile(
    rf"/users/(?P<user>{_SEGMENT})"
    rf"|/services/(?P<service>{_SEGMENT})"
    rf"|/organizations/(?P<organization>{_SEGMENT})/dataPlanes/(?P<uid>{_SEGMENT})"
)


class CallerKind(Enum):
    """The kinds of identity that a certificate can prove; names as in ``access.proto``."""

    USER = "USER"
    SERVICE = "SERVICE"
    AGENT = "AGENT"
    ANYONE = "ANYONE"
    """Nobody in particular: no client certificate, or no TLS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """One caller."""

    kind: CallerKind
    name: str
    """User, service or data plane UID; ``anonymous`` for ``ANYONE``."""
    spiffe: str = ""
    organization: str = ""
    """Only of an agent."""
    data_plane_uid: str = ""
    """Only of an agent."""
    certificate_time: datetime | None = None
    """When its certificate was issued; only of an agent whose call another replica passed on."""


ANONYMOUS = Principal(kind=CallerKind.ANYONE, name="anonymous")

_current: ContextVar[Principal] = ContextVar("cellplane_principal", default=ANONYMOUS)


def current_principal() -> Principal:
    """The caller of the method at hand; ``ANONYMOUS`` outside a call."""
    return _current.get()


def become(principal: Principal) -> None:
    """Set the caller for the rest of this task (the gate does, once per call)."""
    _current.set(principal)


def user_uri(trust_domain: str, user: str) -> str:
    """Identity of a person or a tool."""
    return f"spiffe://{trust_domain}/users/{user}"


def service_uri(trust_domain: str, service: str) -> str:
    """Identity of a service of the control plane."""
    return f"spiffe://{trust_domain}/services/{service}"


def agent_uri(trust_domain: str, organization: str, data_plane_uid: str) -> str:
    """Identity of the agent of a data plane."""
    return f"spiffe://{trust_domain}/organizations/{organization}/dataPlanes/{data_plane_uid}"


def parse_spiffe(uri: str, trust_domain: str) -> Principal:
    """Read one identity. Raises ``Unauthenticated`` for what is not exactly one of ours."""
    start = f"spiffe://{trust_domain}"
    match = _PATH.fullmatch(uri[len(start) :]) if uri.startswith(start + "/") else None
    if match is None:
        raise Unauthenticated(
            f"identity {uri[:200]!r} is not one of trust domain {trust_domain}: "
            "use a certificate that its authority issued",
            reason="IDENTITY_UNKNOWN",
            metadata={"trust_domain": trust_domain},
        )
    if user := match["user"]:
        return Principal(kind=CallerKind.USER, name=user, spiffe=uri)
    if service := match["service"]:
        return Principal(kind=CallerKind.SERVICE, name=service, spiffe=uri)
    return Principal(
        kind=CallerKind.AGENT,
        name=match["uid"],
        spiffe=uri,
        organization=match["organization"],
        data_plane_uid=match["uid"],
    )


class Identities:
    """Principals of the peers of one server, by their certificates' URIs."""

    __slots__ = ("_known", "_trust_domain")

    _KEEP = 8192

    def __init__(self, trust_domain: str) -> None:
        self._trust_domain = trust_domain
        self._known: dict[bytes, Principal] = {}

    def of(self, auth_context: Mapping[str, Iterable[bytes]]) -> Principal:
        """The caller that an auth context of gRPC proves.

        Raises ``Unauthenticated`` for a certificate without exactly one URI of the trust domain.
        """
        if "x509_pem_cert" not in auth_context:
            return ANONYMOUS
        uris = list(auth_context.get("peer_uri", ()))
        if len(uris) != 1:
            raise Unauthenticated(
                f"client certificate holds {len(uris)} URI names: it must hold exactly one",
                reason="IDENTITY_AMBIGUOUS",
            )
        known = self._known.get(uris[0])
        if known is None:
            known = parse_spiffe(uris[0].decode("utf-8", "replace"), self._trust_domain)
            if len(self._known) >= self._KEEP:
                self._known.clear()
            self._known[uris[0]] = known
        return known
