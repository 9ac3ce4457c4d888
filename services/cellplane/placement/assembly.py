"""How the parts of placement belong together; adapters come from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cellplane.placement.clients import Compilers, Model, Observability
from cellplane.placement.deciding import LIMITS
from cellplane.placement.desired import Desired
from cellplane.placement.engine import Engine
from cellplane.placement.failpoints import Reached
from cellplane.placement.link.authority import AgentAuthority, GrantVault
from cellplane.placement.link.hub import Hub
from cellplane.placement.link.join import Joining
from cellplane.placement.link.session import Session
from cellplane.placement.planes import Patience, Planes
from cellplane.placement.platform import Platform
from cellplane.placement.records import DataPlane
from cellplane.placement.reporter import Reporter
from cellplane.placement.repository import Repository
from cellplane.placement.rollout_store import RolloutStore
from cellplane.placement.scheduler.snapshot import PlaneState
from cellplane.runtime.clock import Clock
from cellplane.runtime.tasks import Backoff, Loop

_TICK = 1.0
"""Seconds between looks at who was silent for too long; costs no I/O."""
_FEED = Backoff(initial=0.05, maximum=2.0)
"""The first retries are quick: an edit is waiting behind them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """What the parts need of the world."""

    repository: Repository
    rollouts: RolloutStore
    model: Model
    observability: Observability
    compilers: Mapping[str, Any]
    """Stubs of the services that compile, by name."""
    platform_compilers: Mapping[str, Any]
    """Stubs of those that compile what data planes need beside Cells, by name."""
    authority: AgentAuthority
    vault: GrantVault
    clock: Clock
    trust_domain: str
    patience: Patience
    drain_seconds: float
    """How long calls may still come to what is left."""
    hold_down_seconds: float
    """How long a data plane must be ready again before Cells fail back to it."""
    reached: Reached
    """Is told the steps of moves."""
    draining: asyncio.Event
    """Set when this process is about to stop."""


class Placement:
    """The running parts."""

    def __init__(self, adapters: Adapters, epoch: int) -> None:
        """``epoch`` is committed already."""
        self._adapters = adapters
        self.epoch = epoch
        clock = adapters.clock
        repository = adapters.repository
        self.planes = Planes(repository, clock, adapters.trust_domain, adapters.patience)
        self.desired = Desired(repository, clock, unbraked=self._is_emptied)
        self.engine = Engine(
            model=adapters.model,
            compilers=Compilers(adapters.compilers),
            planes=self.planes,
            desired=self.desired,
            store=repository,
            clock=clock,
            rollouts=adapters.rollouts,
            drain_seconds=adapters.drain_seconds,
            limits=replace(LIMITS, hold_down_seconds=adapters.hold_down_seconds),
            reached=adapters.reached,
        )
        self.platform = Platform(
            compilers=adapters.platform_compilers, planes=self.planes, desired=self.desired
        )
        self.reporter = Reporter(
            model=adapters.model,
            observability=adapters.observability,
            engine=self.engine,
            planes=self.planes,
            desired=self.desired,
            clock=clock,
        )
        self.hub = Hub(self.desired, self.planes, adapters.draining)
        self.joining = Joining(
            authority=adapters.authority,
            vault=adapters.vault,
            store=repository,
            planes=self.planes,
            clock=clock,
            on_new_cluster=self.desired.forget_observed,
        )

    def _is_emptied(self, data_plane: str) -> bool:
        """Whether somebody asked for everything to leave a data plane."""
        entry = self.planes.get(data_plane)
        return entry is not None and entry.plane.drained

    async def load(self, data_planes: Iterable[DataPlane]) -> None:
        """Take what was stored; nothing happens yet."""
        repository = self._adapters.repository
        joined = await repository.read_memberships()
        for plane in data_planes:
            membership, state, seen = joined.get(plane.name, (None, PlaneState.PENDING, None))
            self.planes.load([(plane, membership, state, seen)])
        self.desired.load(await repository.read_slots(), await repository.read_floors())
        self.engine.load(await repository.read_decisions())
        self.engine.rolling.load(await self._adapters.rollouts.read())
        self.platform.begin()

    def session(self, data_plane: str) -> Session:
        """The session of a new stream."""
        return Session(
            data_plane=data_plane,
            epoch=self.epoch,
            desired=self.desired,
            planes=self.planes,
            reporter=self.reporter,
            hub=self.hub,
            clock=self._adapters.clock,
        )

    def loops(self) -> list[Loop]:
        """What runs in the background until cancelled."""
        return [
            Loop(name="cells", body=self.engine.workers.run),
            Loop(name="platform", body=self.platform.workers.run),
            Loop(name="statuses", body=self.reporter.statuses.run),
            Loop(name="healths", body=self.reporter.healths.run),
            Loop(name="feed", body=self.engine.follow, backoff=_FEED),
            Loop(name="observed", body=self.desired.keep),
            Loop(name="liveness", body=self._tick, every=_TICK),
        ]

    async def _tick(self) -> None:
        """See who is silent, and what follows from the time that went by."""
        await self.planes.tick()
        self.engine.look()
