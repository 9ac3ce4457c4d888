"""Where events may be delivered: the internet, and networks that the operator names.

Whoever may write a subscription must not reach through us what only we can reach: neither private
networks nor a cloud's metadata service. Every address that a name leads to is checked when the
connection is made, and the connection goes to what was checked, so that a name which leads
elsewhere a moment later gains nothing. Redirects are not followed.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from cellplane.model.delivery.deliverer import Network

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class Refused(OSError):
    """An address where nothing may be delivered."""


class Guard(AbstractResolver):
    """Resolves names, and refuses addresses that are neither global nor allowed."""

    def __init__(
        self, allowed: Sequence[Network], resolver: AbstractResolver | None = None
    ) -> None:
        self._allowed = tuple(allowed)
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Resolve a name; raises ``Refused`` if any of its addresses is."""
        if self._resolver is None:
            self._resolver = ThreadedResolver()
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            self.check(ipaddress.ip_address(one["host"].partition("%")[0]), host)
        return found

    async def close(self) -> None:
        """Close what it resolves with."""
        if self._resolver is not None:
            await self._resolver.close()

    def check_url(self, url: str) -> None:
        """Check a host that is an address: it is never resolved."""
        host = urlsplit(url).hostname or ""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return
        self.check(address, host)

    def check(self, address: Address, host: str) -> None:
        """Raise ``Refused`` unless something may be delivered there."""
        inner = _inner(address)
        for network in self._allowed:
            if any(a.version == network.version and a in network for a in {address, inner}):
                return
        if not inner.is_global or inner.is_multicast:
            raise Refused(f"{host} leads to {address}, which is no address of the internet")


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        teredo = address.teredo
        return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)
    return address
