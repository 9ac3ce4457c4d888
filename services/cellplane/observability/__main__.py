"""Runs the observability service: ``python -m cellplane.observability``."""

from __future__ import annotations

import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cellplane.api.observability.v1 import health_pb2_grpc, telemetry_pb2_grpc
from cellplane.observability.config import ObservabilitySettings
from cellplane.observability.repository import Repository
from cellplane.observability.service import HealthService, TelemetryService
from cellplane.rpc.entry import run_service
from cellplane.rpc.pagination import PageTokens, derive_key
from cellplane.rpc.server import Server
from cellplane.runtime.clock import SystemClock
from cellplane.runtime.files import write_atomic
from cellplane.store.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"


@asynccontextmanager
async def build(settings: ObservabilitySettings, server: Server) -> AsyncIterator[None]:
    """Open the database and register the servicers."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    database = await Database.open(
        settings.database_url,
        service=settings.service,
        migrations=MIGRATIONS,
        path=settings.state_dir / "observability.db",
    )
    try:
        tokens = PageTokens(derive_key(_secret(settings.state_dir / "page-tokens.key")))
        server.add(
            "cellplane.api.observability.v1.TelemetryService",
            telemetry_pb2_grpc.add_TelemetryServiceServicer_to_server,
            TelemetryService(),
        )
        server.add(
            "cellplane.api.observability.v1.HealthService",
            health_pb2_grpc.add_HealthServiceServicer_to_server,
            HealthService(Repository(database), tokens, SystemClock()),
        )
        yield
    finally:
        await database.close()


def _secret(path: Path) -> bytes:
    """What page tokens are sealed with; kept, so that they outlive a restart."""
    if not path.exists():
        write_atomic(path, secrets.token_bytes(32))
    return path.read_bytes()


if __name__ == "__main__":
    sys.exit(run_service(ObservabilitySettings, build))
