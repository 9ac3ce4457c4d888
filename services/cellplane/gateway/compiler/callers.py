"""How a westbound route knows its caller: by the certificate that Envoy has verified.

Envoy replaces ``x-forwarded-client-cert`` (XFCC, mode SANITIZE_SET) by what it read from the
client's certificate, before it selects a route. So a route that matches that header by an anchored
expression is met by the Cells that it names, and by nobody else: whoever is not named meets no
route at all. Nothing that a client sends can change it. Proven on a real Envoy in
``tests/cluster/gateway``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

HEADER: Final = "x-forwarded-client-cert"
VALUE_LIMIT: Final = 4096
"""Gateway API: the longest value of a header match."""


def caller_expressions(
    trust_domain: str, organization: str, environment: str, projects: Iterable[str]
) -> tuple[str, ...]:
    """Write the expressions (RE2, matched against the whole value) that name the calling Cells.

    The expression pins the whole of the header, so that a certificate with a name that contains
    another one's does not pass: ``By`` is the gateway's own, ``Hash`` is the certificate's, and the
    one URI is the caller's SPIFFE id, on whatever data plane it runs.
    """
    head = (
        r"(By=[^;]*;)?Hash=[0-9a-f]{64};URI=spiffe://"
        rf"{re.escape(trust_domain)}/organizations/{re.escape(organization)}"
        r"/dataPlanes/[a-z0-9-]+/cells/("
    )
    tail = rf")/{re.escape(environment)}"
    return tuple(
        head + "|".join(chunk) + tail
        for chunk in _chunks(projects, VALUE_LIMIT - len(head) - len(tail))
    )


def _chunks(projects: Iterable[str], room: int) -> Iterator[list[str]]:
    chunk: list[str] = []
    length = 0
    for project in sorted(set(projects)):
        escaped = re.escape(project)
        if chunk and length + 1 + len(escaped) > room:
            yield chunk
            chunk, length = [], 0
        length += len(escaped) + (1 if chunk else 0)
        chunk.append(escaped)
    if chunk:
        yield chunk
