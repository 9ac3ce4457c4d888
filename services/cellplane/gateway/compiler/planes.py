"""Where the westbound gateways of data planes are, seen from one of them.

What is told of other planes is not believed: an address that could only be the pod's own, its
node's or the cluster's leads nowhere.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from cellplane.cell import addresses, hosts
from cellplane.cell.plane import DataPlaneProfile, PeerGateway

_OWN_WESTBOUND: Final = (
    f"{addresses.WESTBOUND_GATEWAY}.{addresses.GATEWAY_NAMESPACE}.svc.cluster.local"
)
_LAST_PORT: Final = 65535


def endpoint_of(gateway: PeerGateway, plane: DataPlaneProfile) -> dict[str, Any]:
    """The address of a westbound gateway, as a Backend says it."""
    if gateway.data_plane == plane.data_plane:
        return {"fqdn": {"hostname": _OWN_WESTBOUND, "port": addresses.WESTBOUND_PORT}}
    try:
        address = str(ipaddress.ip_address(gateway.host))
    except ValueError:
        return {"fqdn": {"hostname": gateway.host, "port": gateway.port}}
    return {"ip": {"address": address, "port": gateway.port}}


def leads_somewhere(gateway: PeerGateway, plane: DataPlaneProfile) -> bool:
    """Whether a gateway's address is one that another cluster can have."""
    if gateway.data_plane == plane.data_plane:
        return True
    if not 0 < gateway.port <= _LAST_PORT:
        return False
    try:
        address = ipaddress.ip_address(gateway.host)
    except ValueError:
        return not hosts.refused(gateway.host)
    return not (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
    )
