"""Which hosts a connection may lead to: names of the world outside, and nothing of ours.

An address, a wildcard, a name of the cluster or of a cloud's metadata service would let a component
reach what no policy can tell apart (cell.md, egress from a component).
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NUMERIC: Final = re.compile(r"(0x[0-9a-f]*|[0-9]+)")
_INTERNAL_SUFFIXES: Final = (
    "localhost",
    "localdomain",
    "local",
    "internal",
    "svc",
    "in-addr.arpa",
    "ip6.arpa",
)
_METADATA: Final = frozenset({"metadata", "instance-data"})


def refused(host: str) -> str:
    """Why no connection may lead to *host*, with the way out; empty if one may."""
    if _is_address(host):
        return "is an address: name a host"
    if "*" in host:
        return "is a wildcard: name each host on its own"
    if host != host.lower():
        return f'has capital letters: write "{host.lower()}"'
    labels = host.removesuffix(".").split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        # inet_aton reads 0x7f.1 and 2130706433 as addresses, too.
        return "is an address: name a host"
    if any(_matches(host, suffix) for suffix in _INTERNAL_SUFFIXES):
        return "is a name inside of the cluster or the network: connect to a component instead"
    if labels[0] in _METADATA:
        return "is a cloud's metadata service, which no component may reach"
    if host.endswith("."):
        return "ends with a dot: leave it out"
    if len(labels) < 2:
        return "is not a full name: write one such as api.example.com"
    if not all(_LABEL.fullmatch(label) for label in labels):
        return "is not a DNS name: write one such as api.example.com"
    return ""


def _matches(host: str, suffix: str) -> bool:
    bare = host.removesuffix(".")
    return bare == suffix or bare.endswith(f".{suffix}")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
