"""What the gateway service can be told."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from cellplane.runtime.config import ServiceSettings


class GatewaySettings(ServiceSettings):
    """Settings of the gateway service."""

    service: ClassVar[str] = "gateway"

    public_domains: tuple[str, ...] = Field(
        (),
        description="domains of public endpoints that data planes ask certificates for, of their "
        "ClusterIssuer `cellplane-public`; none: the Secret `northbound-tls` is put there by hand",
    )
