"""What the gateway service can be told."""

from __future__ import annotations

from typing import ClassVar

from cellplane.runtime.config import ServiceSettings


class GatewaySettings(ServiceSettings):
    """Settings of the gateway service."""

    service: ClassVar[str] = "gateway"
