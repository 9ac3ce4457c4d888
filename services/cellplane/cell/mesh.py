"""Where a mesh encrypts in-cell traffic: Istio's ambient mode, as of Istio 1.24.

Each node's proxy (ztunnel) carries TCP between pods of the mesh in mutual TLS on one port, so
network policies see that port alone; which port of a process is meant, the mesh itself decides.
"""

from __future__ import annotations

from typing import Final

from cellplane.cell.cell import CellFrame
from cellplane.cell.plane import IPSEC, MTLS, WIREGUARD, DataPlaneProfile
from cellplane.cell.visibility import Encryption

TUNNEL_PORT: Final = 15008
"""HBONE: mutual TLS between the proxies of two nodes."""
NAMESPACE_LABEL: Final = ("istio.io/dataplane-mode", "ambient")
PROBE_ADDRESSES: Final = ("169.254.7.127", "fd16:9254:7127:1337:ffff:ffff:ffff:ffff")
"""From where a kubelet's probes arrive in a pod of the mesh, on both families."""


def is_meshed(frame: CellFrame, plane: DataPlaneProfile) -> bool:
    """Tell whether a Cell's demand for encryption is met by the mesh of its data plane."""
    if not plane.can(MTLS):
        return False
    if frame.encryption is Encryption.ANY:
        return not (plane.can(WIREGUARD) or plane.can(IPSEC))
    return frame.encryption is Encryption.MTLS
