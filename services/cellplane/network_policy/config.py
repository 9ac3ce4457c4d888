"""What the network policy service can be told."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from cellplane.runtime.config import ServiceSettings


class NetworkPolicySettings(ServiceSettings):
    """Settings of the network policy service."""

    service: ClassVar[str] = "network_policy"

    model_address: str = Field(
        "", description="address of the model service, `host:port`; empty: questions are refused"
    )
    placement_address: str = Field(
        "", description="address of the placement service, `host:port`; as the model's"
    )
