"""Runs the model service: ``python -m cellplane.model``."""

from __future__ import annotations

import secrets
import sys
import zoneinfo
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cellplane.model.config import ModelSettings
from cellplane.model.service import serve_model
from cellplane.rpc.entry import run_service
from cellplane.rpc.pagination import derive_key
from cellplane.rpc.server import Server
from cellplane.runtime.clock import SystemClock
from cellplane.runtime.files import write_atomic
from cellplane.store.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"


@asynccontextmanager
async def build(settings: ModelSettings, server: Server) -> AsyncIterator[None]:
    """Open the database and register the servicers."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    database = await Database.open(
        settings.database_url,
        service=settings.service,
        migrations=MIGRATIONS,
        path=settings.state_dir / "model.db",
    )
    try:
        async with serve_model(
            server,
            database,
            clock=SystemClock(),
            key=derive_key(_secret(settings.state_dir / "secret.key")),
            zones=zoneinfo.available_timezones(),
        ):
            yield
    finally:
        await database.close()


def _secret(file: Path) -> bytes:
    """A secret that outlives the process, so that page tokens do, too."""
    if not file.exists():
        write_atomic(file, secrets.token_bytes(32))
    return file.read_bytes()


if __name__ == "__main__":
    sys.exit(run_service(ModelSettings, build))
