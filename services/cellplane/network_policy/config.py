"""What the network policy service can be told."""

from __future__ import annotations

from typing import ClassVar

from cellplane.runtime.config import ServiceSettings


class NetworkPolicySettings(ServiceSettings):
    """Settings of the network policy service."""

    service: ClassVar[str] = "network_policy"
