"""What the model service can be told."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from typing import ClassVar

from pydantic import Field

from cellplane.runtime.config import Duration, ServiceSettings


class ModelSettings(ServiceSettings):
    """Settings of the model service."""

    service: ClassVar[str] = "model"

    history_time: Duration = Field(
        timedelta(days=30), description="how long changes of resources are kept, such as `30d`"
    )
    history_changes: int = Field(
        100_000, ge=1000, description="how many changes of resources are kept at most"
    )
    event_networks: tuple[IPv4Network | IPv6Network, ...] = Field(
        (),
        description="private networks where events may be delivered, such as `10.1.0.0/16`",
    )
