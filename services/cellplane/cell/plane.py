"""What a data plane is and can do, as far as compilers and placement need to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

CILIUM_POLICY: Final = "networkpolicy.cilium"
KUBERNETES_POLICY: Final = "networkpolicy.kubernetes"
GATEWAY: Final = "gateway"
"""The Gateway API is served."""
ENVOY_GATEWAY: Final = "gateway.envoy"
"""Envoy Gateway's own APIs are served."""
CERT_MANAGER: Final = "cert-manager"
EXTERNAL_SECRETS: Final = "external-secrets"
"""The External Secrets Operator's API, in the version that is compiled."""
KEDA: Final = "keda"
"""KEDA's API, in the version that is compiled: it scales by events, to zero."""
MTLS: Final = "mtls"
WIREGUARD: Final = "wireguard"
IPSEC: Final = "ipsec"
CILIUM_MUTUAL_AUTH: Final = "cilium-mutual-auth"
"""Cilium with SPIRE: peers prove who they are; what they say is not encrypted by it."""


class Enforcement(Enum):
    """Whether anything enforces what is applied."""

    UNSPECIFIED = "UNSPECIFIED"
    ENFORCING = "ENFORCING"
    SIMULATED = "SIMULATED"
    EXTERNAL = "EXTERNAL"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPlaneProfile:
    """One data plane. ``capabilities`` is sorted; see ``type/v1/compile.proto``."""

    data_plane: str
    uid: str
    organization: str
    trust_domain: str
    enforcement: Enforcement = Enforcement.UNSPECIFIED
    capabilities: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    westbound_host: str = ""
    westbound_port: int = 0
    internal_networks: tuple[str, ...] = ()
    """Ranges of addresses of the organization's own network; empty for the private ones."""

    def can(self, capability: str) -> bool:
        """Tell whether the data plane has a capability."""
        return capability in self.capabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerGateway:
    """A westbound gateway that leads to a Cell."""

    data_plane: str
    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCell:
    """Where another project's Cell of the same environment is; nearest gateway first."""

    project: str
    gateways: tuple[PeerGateway, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """Where the targets of a Cell's connections are."""

    cells: tuple[PeerCell, ...] = ()
