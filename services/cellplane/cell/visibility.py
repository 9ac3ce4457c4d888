"""Who may reach an endpoint, and how closed a Cell is."""

from __future__ import annotations

from enum import Enum


class Visibility(Enum):
    """Who may reach an endpoint beside its own project. One never implies another."""

    PROJECT = "PROJECT"
    ORGANIZATION = "ORGANIZATION"
    PUBLIC = "PUBLIC"


class Direction(Enum):
    """The four doors of a Cell."""

    NORTHBOUND = "NORTHBOUND"
    WESTBOUND = "WESTBOUND"
    EASTBOUND = "EASTBOUND"
    SOUTHBOUND = "SOUTHBOUND"


class Isolation(Enum):
    """What in-cell traffic needs."""

    UNSPECIFIED = "UNSPECIFIED"
    OPEN = "OPEN"
    STRICT = "STRICT"


class Encryption(Enum):
    """What traffic between pods must be protected by; UNSPECIFIED demands nothing."""

    UNSPECIFIED = "UNSPECIFIED"
    ANY = "ANY"
    MTLS = "MTLS"
    WIREGUARD = "WIREGUARD"
    IPSEC = "IPSEC"
    CILIUM_MUTUAL_AUTH = "CILIUM_MUTUAL_AUTH"
