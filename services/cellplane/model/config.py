"""What the model service can be told."""

from __future__ import annotations

from typing import ClassVar

from cellplane.runtime.config import ServiceSettings


class ModelSettings(ServiceSettings):
    """Settings of the model service."""

    service: ClassVar[str] = "model"
