"""Runs the agent of one data plane: ``python -m cellplane.agent``."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import structlog

from cellplane.agent import join
from cellplane.agent.cells import Cells
from cellplane.agent.config import AgentSettings
from cellplane.agent.facts import FOLDER_CAPABILITIES
from cellplane.agent.join import Grant, Identity
from cellplane.agent.outbox import DueOutbox
from cellplane.agent.session import Link, over_grpc
from cellplane.agent.store import Store
from cellplane.agent.target import Facts, Target
from cellplane.cell.plane import Enforcement
from cellplane.cell.problem import CellplaneError, Invalid
from cellplane.runtime import logs
from cellplane.runtime.clock import SystemClock
from cellplane.runtime.files import write_atomic
from cellplane.runtime.flags import load_from
from cellplane.runtime.metrics import AdminServer, Readiness, new_registry
from cellplane.runtime.tasks import Loop, run_until_signal


async def _identity(settings: AgentSettings, target: Target, rng: random.Random) -> Identity:
    """Who the agent is already, or becomes now."""
    clock = SystemClock()
    directory = settings.state_dir / "identity"
    found = join.load(directory, authority_digest=settings.authority_digest, clock=clock)
    if found is None:
        if not (settings.grant and settings.join_address and settings.authority_digest):
            raise Invalid(
                "agent has not joined: pass --grant, --join-address, --authority-digest and a token"
            )
        given = Grant(
            name=settings.grant,
            token=settings.token_text(),
            join_address=settings.join_address,
            authority_digest=settings.authority_digest,
        )
        uid = await target.uid()
        found = await join.join(directory, given, cluster_uid=uid, clock=clock, rng=rng)
    if settings.link_address:
        found = replace(found, link_address=settings.link_address)
    return found


@asynccontextmanager
async def _target(settings: AgentSettings, rng: random.Random) -> AsyncIterator[Target]:
    stated = Enforcement[settings.enforcement.upper()] if settings.enforcement else None
    # Each is imported only where it is used: both bring large libraries with them.
    if settings.folder is not None:
        from cellplane.agent.folder import FolderTarget

        yield FolderTarget(
            settings.folder,
            Facts(
                enforcement=stated or Enforcement.EXTERNAL,
                capabilities=tuple(sorted(settings.capabilities or FOLDER_CAPABILITIES)),
                labels=settings.labels,
            ),
        )
        return
    from cellplane.agent.cluster import ClusterTarget
    from cellplane.kube import access
    from cellplane.kube.client import KubeClient

    async with KubeClient(await access.load(settings.kubeconfig, settings.context)) as client:
        yield ClusterTarget(
            client,
            enforcement=stated or Enforcement.UNSPECIFIED,
            capabilities=settings.capabilities,
            labels=settings.labels,
            clock=SystemClock(),
            rng=rng,
        )


async def _serve(settings: AgentSettings, stop: asyncio.Event) -> None:
    """Work until told to stop, however far it got; joining may take for ever."""
    work = asyncio.create_task(_work(settings), name="agent")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        work.cancel()
        stopping.cancel()
        await asyncio.wait({work, stopping})
    if not work.cancelled():
        work.result()


async def _work(settings: AgentSettings) -> None:
    rng, clock = random.Random(), SystemClock()  # noqa: S311 - jitter
    outbox = DueOutbox()
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(_target(settings, rng))
        identity = await _identity(settings, target, rng)
        store = await stack.enter_async_context(Store(settings.state_dir / "agent.db"))
        cells = Cells(
            target=target,
            store=store,
            outbox=outbox,
            clock=clock,
            rng=rng,
            plane=lambda: identity.plane,
        )
        await cells.load()
        link = Link(
            dial=over_grpc(identity), cells=cells, store=store, outbox=outbox, clock=clock, rng=rng
        )
        admin = await _admin(settings, link, stack)
        async with asyncio.TaskGroup() as group:
            group.create_task(cells.run(), name="cells")
            group.create_task(Loop(name="link", body=link.run).run(), name="link")
            group.create_task(join.keep_renewed(identity, clock=clock, rng=rng), name="certificate")
            group.create_task(_tell_ready(settings, identity, link, admin), name="ready")


async def _admin(settings: AgentSettings, link: Link, stack: AsyncExitStack) -> int:
    if not settings.admin_listen:
        return 0
    readiness = Readiness()

    async def connected() -> str:
        return "" if link.connected.is_set() else "not connected to the control plane"

    readiness.add("link", connected)
    server = AdminServer(new_registry(), readiness)
    port = await server.start(settings.admin_listen)
    stack.push_async_callback(server.stop)
    return port


async def _tell_ready(settings: AgentSettings, identity: Identity, link: Link, admin: int) -> None:
    await link.connected.wait()
    if settings.port_file is not None:
        about = {"pid": os.getpid(), "data_plane": identity.data_plane, "admin": admin}
        write_atomic(settings.port_file, json.dumps(about).encode(), mode=0o644)
    structlog.get_logger().info("agent.ready", data_plane=identity.data_plane)


def main() -> int:
    """Run until a signal; the exit code."""
    try:
        settings = load_from(AgentSettings, sys.argv[1:]).value
    except Invalid as error:
        for problem in error.problems:
            sys.stderr.write(f"error: {problem.message}\n")
        if not error.problems:
            sys.stderr.write(f"error: {error}\n")
        return 2
    logs.configure(settings.log_level, settings.log_format, settings.service)
    try:
        return run_until_signal(lambda stop: _serve(settings, stop))
    except CellplaneError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
