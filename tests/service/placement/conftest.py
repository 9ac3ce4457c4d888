"""A running placement service for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.service.placement.world import World


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Placement with stand-ins around it."""
    async with World(tmp_path).open() as opened:
        yield opened
