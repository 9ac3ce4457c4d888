"""Calls that one replica of a service passes on to another, for whoever made them.

The identity is believed only when it comes with the certificate of the same service, which only its
replicas hold; from anybody else the metadata is as if it were not there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from cellplane.rpc.identity import ANONYMOUS, CallerKind, Principal, parse_spiffe

CALLER_KEY: Final = "cellplane-on-behalf-of"
ISSUED_KEY: Final = "cellplane-certificate-time"
_NOBODY: Final = "-"


def metadata(spiffe: str, issued: datetime | None) -> tuple[tuple[str, str], ...]:
    """What goes with a call that is passed on.

    Args:
        spiffe: Identity of the caller; empty for nobody in particular.
        issued: When the certificate of an agent was issued.
    """
    passed = ((CALLER_KEY, spiffe or _NOBODY),)
    return passed if issued is None else (*passed, (ISSUED_KEY, issued.isoformat()))


def caller(
    peer: Principal, passed: Iterable[tuple[str, Any]], *, service: str, trust_domain: str
) -> Principal:
    """Who made a call: the peer, or whom a replica of *service* passed it on for."""
    if not service or peer.kind is not CallerKind.SERVICE or peer.name != service:
        return peer
    values = {key: str(value) for key, value in passed if key in (CALLER_KEY, ISSUED_KEY)}
    spiffe = values.get(CALLER_KEY)
    if spiffe is None:
        return peer
    if spiffe == _NOBODY:
        return ANONYMOUS
    found = parse_spiffe(spiffe, trust_domain)
    issued = values.get(ISSUED_KEY)
    if issued is None:
        return found
    return replace(found, certificate_time=datetime.fromisoformat(issued).astimezone(UTC))
