"""The data planes as they are now: who joined, what their agents said, and who is heard of.

Held in memory and loaded at the start. A sign of life costs no write; a state that changes does,
so that a restart of the control plane neither loses nor moves anything. Silence is measured on this
side only, by the monotonic clock, from the last sign or from the start of this process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

import structlog

from cellplane.cell.plane import DataPlaneProfile
from cellplane.placement import records
from cellplane.placement.records import DataPlane, Facts, Membership
from cellplane.placement.scheduler.snapshot import PlaneState
from cellplane.runtime.clock import Clock


class News(Enum):
    """What changed about a data plane."""

    PROFILE = "PROFILE"
    """What it is, can do, or how it is reached: its Cells may look different."""
    RULES = "RULES"
    """What decides which Cells it takes."""
    FACTS = "FACTS"
    """What was measured: matters to Cells that are to come only."""
    STATE = "STATE"
    """Whether its agent is heard of."""
    TAKEN = "TAKEN"
    """Its cluster is another data plane now."""
    GONE = "GONE"


@dataclass(slots=True, kw_only=True)
class Entry:
    """One data plane."""

    plane: DataPlane
    membership: Membership | None = None
    state: PlaneState = PlaneState.PENDING
    connected: bool = False
    heard: float = 0.0
    """Monotonic time of the last sign of life."""
    seen_time: datetime | None = None
    since: datetime | None = None
    """When it was connected, or lost its connection, last."""


class PlaneStore(Protocol):
    """Keeps what must outlive the process."""

    async def save_membership(
        self, name: str, membership: Membership, state: PlaneState, seen: datetime
    ) -> None:
        """Store what is known of one data plane's cluster."""
        ...

    async def forget_membership(self, name: str) -> None:
        """Forget which cluster a data plane is."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long silence is borne, in seconds."""

    suspect: float = 45.0
    """Three beats of 15 s."""
    lost: float = 60.0
    """After that, too."""


class Planes:
    """All data planes, by name."""

    def __init__(
        self,
        store: PlaneStore,
        clock: Clock,
        trust_domain: str,
        patience: Patience | None = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._trust_domain = trust_domain
        self._patience = patience or Patience()
        self._entries: dict[str, Entry] = {}
        self._by_uid: dict[str, str] = {}
        self._watchers: list[Callable[[str, News], None]] = []
        self._log = structlog.get_logger()

    def watch(self, watcher: Callable[[str, News], None]) -> None:
        """Call ``watcher(name, news)`` when something changes."""
        self._watchers.append(watcher)

    def load(
        self, known: Iterable[tuple[DataPlane, Membership | None, PlaneState, datetime | None]]
    ) -> None:
        """Take what was stored; silence counts from now."""
        for plane, membership, state, seen in known:
            entry = Entry(plane=plane, membership=membership, state=state, seen_time=seen)
            entry.heard = self._clock.monotonic()
            self._entries[plane.name] = entry
            self._by_uid[plane.uid] = plane.name

    def get(self, name: str) -> Entry | None:
        """One data plane."""
        return self._entries.get(name)

    def names(self) -> list[str]:
        """All data planes."""
        return list(self._entries)

    def by_uid(self, uid: str) -> Entry | None:
        """The data plane whose agent has that identity."""
        name = self._by_uid.get(uid)
        return self._entries.get(name) if name is not None else None

    def by_cluster(self, cluster_uid: str) -> Iterator[Entry]:
        """The data planes that a cluster has joined as."""
        for entry in self._entries.values():
            if entry.membership is not None and entry.membership.cluster_uid == cluster_uid:
                yield entry

    def of_organization(self, organization: str) -> list[Entry]:
        """All data planes of an organization."""
        return [e for e in self._entries.values() if e.plane.organization == organization]

    def profile(self, name: str) -> DataPlaneProfile | None:
        """What compilers need to know of a data plane."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        return records.profile_of(entry.plane, entry.membership, self._trust_domain)

    def put(self, plane: DataPlane) -> None:
        """A data plane was created, or changed by people."""
        entry = self._entries.get(plane.name)
        if entry is not None and entry.plane.uid == plane.uid:
            before = self.profile(plane.name)
            rules = entry.plane != plane
            entry.plane = plane
            if self.profile(plane.name) != before:
                self._tell(plane.name, News.PROFILE)
            elif rules:
                self._tell(plane.name, News.RULES)
            return
        self._entries[plane.name] = Entry(plane=plane, heard=self._clock.monotonic())
        self._by_uid[plane.uid] = plane.name
        self._tell(plane.name, News.RULES)

    def delete(self, name: str) -> None:
        """A data plane is gone."""
        entry = self._entries.pop(name, None)
        if entry is not None:
            self._by_uid.pop(entry.plane.uid, None)
            self._tell(name, News.GONE)

    async def join(self, name: str, membership: Membership) -> None:
        """An agent has joined."""
        entry = self._entries[name]
        before = entry.membership
        if before is not None and before.cluster_uid == membership.cluster_uid:
            membership = replace(membership, facts=before.facts)
        entry.membership = membership
        await self._save(entry)
        self._tell(name, News.PROFILE)

    async def leave(self, name: str) -> None:
        """Another data plane has its cluster now: it waits for an agent, as a new one does."""
        entry = self._entries.get(name)
        if entry is None or entry.membership is None:
            return
        await self._store.forget_membership(name)
        entry.membership, entry.state = None, PlaneState.PENDING
        self._tell(name, News.TAKEN)

    async def used(self, name: str, issued: datetime) -> bool:
        """Its agent uses a certificate of that time; false if it has used a newer one before."""
        entry = self._entries.get(name)
        if entry is None or entry.membership is None:
            return False
        newest = entry.membership.certificate_time
        if newest is not None and issued < newest:
            return False
        if newest is None or issued > newest:
            entry.membership = replace(entry.membership, certificate_time=issued)
            await self._save(entry)
        return True

    async def learn(self, name: str, facts: Facts, agent_version: str) -> None:
        """An agent said what its cluster is and has; the same facts again cost nothing."""
        entry = self._entries.get(name)
        if entry is None or entry.membership is None:
            return
        known = entry.membership
        if known.facts == facts and (not agent_version or known.agent_version == agent_version):
            return
        before = self.profile(name)
        version = agent_version or known.agent_version
        entry.membership = replace(known, facts=facts, agent_version=version)
        await self._save(entry)
        self._tell(name, News.PROFILE if self.profile(name) != before else News.FACTS)
        await self.heard(name)

    async def heard(self, name: str) -> None:
        """A sign of life. Ready again, or for the first time once its facts are known."""
        entry = self._entries.get(name)
        if entry is None:
            return
        entry.heard = self._clock.monotonic()
        entry.seen_time = self._clock.now()
        known = entry.membership is not None and entry.membership.facts is not None
        if known and entry.state is not PlaneState.READY:
            await self._move(entry, PlaneState.READY)

    def connect(self, name: str, *, connected: bool) -> None:
        """Its stream began, or ended."""
        entry = self._entries.get(name)
        if entry is not None and entry.connected is not connected:
            entry.connected = connected
            entry.since = self._clock.now()

    async def tick(self) -> None:
        """See who was silent for too long."""
        now = self._clock.monotonic()
        for entry in list(self._entries.values()):
            silent = now - entry.heard
            if entry.state is PlaneState.READY and silent >= self._patience.suspect:
                await self._move(entry, PlaneState.SUSPECT)
            elif (
                entry.state is PlaneState.SUSPECT
                and silent >= self._patience.suspect + self._patience.lost
            ):
                await self._move(entry, PlaneState.LOST)

    async def _move(self, entry: Entry, state: PlaneState) -> None:
        self._log.info(
            "data_plane.state", data_plane=entry.plane.name, was=entry.state.value, now=state.value
        )
        entry.state = state
        await self._save(entry)
        self._tell(entry.plane.name, News.STATE)

    async def _save(self, entry: Entry) -> None:
        if entry.membership is not None:
            seen = entry.seen_time or self._clock.now()
            await self._store.save_membership(entry.plane.name, entry.membership, entry.state, seen)

    def _tell(self, name: str, news: News) -> None:
        for watcher in self._watchers:
            watcher(name, news)


BEAT = timedelta(seconds=15)
"""How often each side of a link says that it is alive."""
