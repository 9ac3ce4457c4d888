"""How a cluster becomes a data plane: one grant, one proof, one certificate.

Whoever has no valid proof learns nothing about the grant, not even whether it exists. The use of a
grant is one atomic step, after everything else was found right and before anything is answered.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from cellplane.cell.problem import FailedPrecondition, PermissionDenied
from cellplane.placement.link.authority import AgentAuthority, GrantVault, Signed
from cellplane.placement.link.hub import banned
from cellplane.placement.planes import Entry, Planes
from cellplane.placement.records import Membership
from cellplane.runtime import grant as grants
from cellplane.runtime.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredGrant:
    """A grant, as the server keeps it."""

    name: str
    uid: str
    data_plane: str
    """Resource name."""
    data_plane_uid: str
    sealed_key: bytes
    expire_time: datetime
    use_time: datetime | None = None
    readopt: bool = False
    """Whether the cluster may be another data plane already, which then loses it."""


class GrantStore(Protocol):
    """Keeps grants."""

    async def read_grant(self, name: str) -> StoredGrant | None:
        """A grant by its resource name."""
        ...

    async def use_grant(self, name: str, uid: str, time: datetime) -> bool:
        """Use a grant; false if it was used, or is gone, in the meantime."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """What an agent asks with; see ``JoinRequest``."""

    grant: str
    certificate_request_pem: bytes
    cluster_uid: str
    proof: bytes
    agent_version: str


class Joining:
    """Takes agents in."""

    def __init__(
        self,
        *,
        authority: AgentAuthority,
        vault: GrantVault,
        store: GrantStore,
        planes: Planes,
        clock: Clock,
        on_new_cluster: _OnNewCluster,
    ) -> None:
        """``on_new_cluster(data plane)`` is called when another cluster takes a plane over."""
        self._authority = authority
        self._vault = vault
        self._store = store
        self._planes = planes
        self._clock = clock
        self._on_new_cluster = on_new_cluster
        # Of an unknown grant, so that it takes as long as a known one with a wrong proof.
        self._nobody = secrets.token_bytes(grants.KEY_BYTES)
        self._log = structlog.get_logger()

    async def join(self, application: Application) -> tuple[Entry, Signed]:
        """Check everything, use the grant, and sign.

        Raises:
            PermissionDenied: there is no such grant, or the proof is not its own.
            FailedPrecondition: the grant is used up or too old, or the cluster is another's.
            Invalid: the request for a certificate asks for anything but a key.
        """
        grant = await self._prove(application)
        now = self._clock.now()
        if grant.use_time is not None:
            raise _used(grant)
        if grant.expire_time <= now:
            raise FailedPrecondition(
                f"grant {grant.name} expired at {grant.expire_time.isoformat()}: create a new one",
                reason="GRANT_EXPIRED",
                metadata={"grant": grant.name},
            )
        entry = self._planes.get(grant.data_plane)
        if entry is None or entry.plane.uid != grant.data_plane_uid:
            raise FailedPrecondition(
                f"data plane {grant.data_plane} of the grant is gone: create it, and a new grant",
                reason="DATA_PLANE_GONE",
                metadata={"data_plane": grant.data_plane},
            )
        if entry.plane.banned:
            raise banned(entry.plane.name)
        others = self._others(entry, grant, application.cluster_uid)
        signed = self._authority.sign(
            application.certificate_request_pem, entry.plane.organization, entry.plane.uid
        )
        if not await self._store.use_grant(grant.name, grant.uid, now):
            raise _used(grant)
        for other in others:
            self._log.warning("agent.readopted", data_plane=entry.plane.name, was=other)
            await self._planes.leave(other)
            self._on_new_cluster(other)
        before = entry.membership
        if before is not None and before.cluster_uid != application.cluster_uid:
            self._on_new_cluster(entry.plane.name)
        await self._planes.join(
            entry.plane.name,
            Membership(
                cluster_uid=application.cluster_uid,
                join_time=now,
                agent_version=application.agent_version,
            ),
        )
        self._log.info("agent.joined", data_plane=entry.plane.name, cluster=application.cluster_uid)
        return entry, signed

    async def _prove(self, application: Application) -> StoredGrant:
        grant = await self._store.read_grant(application.grant)
        key = self._nobody if grant is None else self._vault.open(grant.uid, grant.sealed_key)
        proven = grants.is_proof(
            application.proof,
            key,
            certificate_request_pem=application.certificate_request_pem,
            authority_pem=self._authority.pem,
            cluster_uid=application.cluster_uid,
        )
        if grant is None or not proven:
            self._log.warning("agent.join_refused", grant=application.grant)
            raise PermissionDenied(
                "grant and proof do not belong together: check the token and the authority digest",
                reason="GRANT_REFUSED",
            )
        return grant

    def _others(self, entry: Entry, grant: StoredGrant, cluster_uid: str) -> list[str]:
        """The data planes that lose the cluster. Raises where they may not."""
        found: list[str] = []
        for other in self._planes.by_cluster(cluster_uid):
            if other.plane.name == entry.plane.name:
                continue
            same = other.plane.organization == entry.plane.organization
            if same and grant.readopt:
                found.append(other.plane.name)
                continue
            who = f"data plane {other.plane.name}" if same else "another data plane"
            way = "grant it with readopt, or delete that one first" if same else "delete that first"
            raise FailedPrecondition(
                f"cluster {cluster_uid} is {who} already: {way}",
                reason="CLUSTER_JOINED",
                metadata={"cluster_uid": cluster_uid},
            )
        return found


class _OnNewCluster(Protocol):
    def __call__(self, data_plane: str, /) -> None: ...


def _used(grant: StoredGrant) -> FailedPrecondition:
    return FailedPrecondition(
        f"grant {grant.name} was used already: create a new one",
        reason="GRANT_USED",
        metadata={"grant": grant.name},
    )
