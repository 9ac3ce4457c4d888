"""A stream and what is wanted, in the moments between two awaits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from cellplane.api.agent.v1 import link_pb2
from cellplane.cell.condition import Health
from cellplane.placement.__main__ import MIGRATIONS
from cellplane.placement.desired import Desired
from cellplane.placement.link.hub import Hub
from cellplane.placement.link.session import Session
from cellplane.placement.planes import Planes
from cellplane.placement.repository import Repository
from cellplane.runtime.clock import SystemClock
from cellplane.runtime.linkdigest import PROTOCOL
from cellplane.store.database import Database
from tests.unit.placement.test_desired import CELL, PLANE, put


class Wire:
    """Where a session writes to: at Welcome, something else happens first."""

    def __init__(self, at_welcome: Callable[[], Awaitable[Any]]) -> None:
        self._at_welcome = at_welcome
        self.wants: asyncio.Queue[link_pb2.Want] = asyncio.Queue()

    async def write(self, message: link_pb2.SyncResponse, /) -> None:
        """Take one message."""
        if message.HasField("welcome"):
            assert message.welcome.resume == link_pb2.Welcome.Resume.SAME
            await self._at_welcome()
        if message.HasField("want"):
            self.wants.put_nowait(message.want)


async def silence() -> AsyncIterator[link_pb2.SyncRequest]:
    """An agent that says nothing."""
    await asyncio.Event().wait()
    yield link_pb2.SyncRequest()


@pytest.mark.asyncio
async def test_what_is_wanted_while_welcome_is_written_is_sent(tmp_path: Path) -> None:
    """An edit in the middle of a reconnect is not taken for what the agent already has."""
    database = await Database.open(
        "", service="placement", migrations=MIGRATIONS, path=tmp_path / "placement.db"
    )
    clock = SystemClock()
    desired = Desired(Repository(database), clock)
    await put(desired, 1, "one")
    desired.accepted(CELL, PLANE, 1, "")
    desired.applied(CELL, PLANE, 1, (), complete=True)
    desired.reported(CELL, PLANE, 1, Health.READY, None, ())
    planes = Planes(Repository(database), clock, "test")
    hub = Hub(desired, planes, asyncio.Event())
    session = Session(
        data_plane=PLANE,
        epoch=1,
        desired=desired,
        planes=planes,
        reporter=cast("Any", None),
        hub=hub,
        clock=clock,
    )
    hello = link_pb2.Hello(
        min_protocol=PROTOCOL, max_protocol=PROTOCOL, root_digest=desired.root_digest(PLANE)
    )
    wire = Wire(at_welcome=lambda: put(desired, 2, "two"))
    first = link_pb2.SyncRequest(hello=hello)
    run = asyncio.create_task(session.run(first, silence(), wire))
    try:
        async with asyncio.timeout(5):
            want = await wire.wants.get()
    finally:
        run.cancel()
        await asyncio.wait({run})
        await database.close()

    assert (want.base_revision, want.revision) == (1, 2)
