"""What each endpoint protocol means to the rest of cellplane.

A protocol is a row in ``TRAITS``. Compilers never ask *which* protocol an endpoint speaks; they
ask what it needs, so a new protocol that needs nothing new is one row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final


class Protocol(Enum):
    """What an endpoint speaks; the values are those of the contract, without its prefix."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"
    GRPC = "GRPC"
    GRAPHQL = "GRAPHQL"
    WEBSOCKET = "WEBSOCKET"
    TCP = "TCP"
    TLS = "TLS"
    UDP = "UDP"


class Transport(Enum):
    """What carries it; the values are Kubernetes' own."""

    TCP = "TCP"
    UDP = "UDP"


class RouteKind(Enum):
    """Which route of the Gateway API leads to it."""

    HTTP = "HTTPRoute"
    GRPC = "GRPCRoute"
    TLS = "TLSRoute"
    TCP = "TCPRoute"
    UDP = "UDPRoute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a protocol needs."""

    transport: Transport
    route: RouteKind
    scheme: str
    """Of the URL that a connection injects."""
    app_protocol: str | None = None
    """``appProtocol`` of the Service's port (KEP-3726)."""
    carries_identity: bool = True
    """Whether a gateway can tell who calls: not through UDP, nor TLS that it cannot open."""
    tls: bool = False
    """Whether the component itself terminates TLS."""


TRAITS: Final[Mapping[Protocol, Traits]] = MappingProxyType(
    {
        Protocol.HTTP: Traits(
            transport=Transport.TCP, route=RouteKind.HTTP, scheme="http", app_protocol="http"
        ),
        Protocol.HTTPS: Traits(
            transport=Transport.TCP,
            route=RouteKind.HTTP,
            scheme="https",
            app_protocol="https",
            tls=True,
        ),
        Protocol.GRPC: Traits(
            transport=Transport.TCP,
            route=RouteKind.GRPC,
            scheme="grpc",
            app_protocol="kubernetes.io/h2c",
        ),
        Protocol.GRAPHQL: Traits(
            transport=Transport.TCP, route=RouteKind.HTTP, scheme="http", app_protocol="http"
        ),
        Protocol.WEBSOCKET: Traits(
            transport=Transport.TCP,
            route=RouteKind.HTTP,
            scheme="ws",
            app_protocol="kubernetes.io/ws",
        ),
        Protocol.TCP: Traits(
            transport=Transport.TCP, route=RouteKind.TCP, scheme="tcp", carries_identity=False
        ),
        Protocol.TLS: Traits(
            transport=Transport.TCP,
            route=RouteKind.TLS,
            scheme="tls",
            carries_identity=False,
            tls=True,
        ),
        Protocol.UDP: Traits(
            transport=Transport.UDP, route=RouteKind.UDP, scheme="udp", carries_identity=False
        ),
    }
)
