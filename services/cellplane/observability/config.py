"""What the observability service can be told."""

from __future__ import annotations

from typing import ClassVar

from cellplane.runtime.config import ServiceSettings


class ObservabilitySettings(ServiceSettings):
    """Settings of the observability service."""

    service: ClassVar[str] = "observability"
