"""Runs the model service: ``python -m cellplane.model``."""

from __future__ import annotations

import secrets
import sys
import zoneinfo
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import sqlalchemy as sa

from cellplane.model.config import ModelSettings
from cellplane.model.metrics import ResolutionMetrics
from cellplane.model.service import Changes, serve_model
from cellplane.model.tables import keys
from cellplane.rpc.entry import run_service
from cellplane.rpc.pagination import derive_key
from cellplane.rpc.server import Server
from cellplane.runtime.clock import SystemClock
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
            key=derive_key(await shared_key(database, _former(settings.state_dir / "secret.key"))),
            zones=zoneinfo.available_timezones(),
            changes=Changes(
                keep=settings.history_changes,
                keep_time=settings.history_time,
                networks=settings.event_networks,
            ),
            metrics=ResolutionMetrics(server.metrics.registry),
        ):
            yield
    finally:
        await database.close()


async def shared_key(database: Database, former: bytes | None = None) -> bytes:
    """What page tokens are signed with: one for all processes that share the database.

    The *former* key is taken where there is none yet.
    """
    query = sa.select(keys.c.value).where(keys.c.key == "tokens")
    async with database.snapshot() as tx:
        known: bytes | None = (await tx.execute(query)).scalar_one_or_none()
    if known is not None:
        return known
    async with database.transaction() as tx:
        known = (await tx.execute(query)).scalar_one_or_none()
        if known is None:
            known = former or secrets.token_bytes(32)
            await tx.execute(sa.insert(keys).values(key="tokens", value=known))
    return known


def _former(file: Path) -> bytes | None:
    """The key that the version before kept in a file."""
    return file.read_bytes() if file.exists() else None


if __name__ == "__main__":
    sys.exit(run_service(ModelSettings, build))
