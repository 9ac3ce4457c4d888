"""What is special about grants: a secret that is told once, and a key that is kept encrypted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from cellplane.api.placement.v1 import data_plane_pb2, join_grant_pb2
from cellplane.cell.problem import Findings, Invalid
from cellplane.placement import convert
from cellplane.placement.link.authority import AgentAuthority, GrantVault
from cellplane.placement.link.join import StoredGrant
from cellplane.placement.repository import Repository
from cellplane.runtime import grant as grants
from cellplane.runtime.clock import Clock
from cellplane.store.database import Transaction
from cellplane.store.resources import Resources, Stored

_TTL = timedelta(minutes=15)


class Granting:
    """The hooks of the collection of grants."""

    def __init__(
        self,
        *,
        repository: Repository,
        resources: Resources,
        authority: AgentAuthority,
        vault: GrantVault,
        clock: Clock,
        join_address: Callable[[], str],
        link_address: Callable[[], str],
    ) -> None:
        self._repository = repository
        self._resources = resources
        self._authority = authority
        self._vault = vault
        self._clock = clock
        self._join_address = join_address
        self._link_address = link_address
        self._tokens: dict[str, str] = {}
        """Of grants that are being created, by uid: until the answer is on its way."""

    def take_token(self, uid: str, *, keep: bool) -> str:
        """The token of a grant that was just created, once; empty if it was created before."""
        token = self._tokens.pop(uid, "")
        return token if keep else ""

    async def before_write(
        self, tx: Transaction, new: join_grant_pb2.JoinGrant, old: object
    ) -> None:
        """Find the data plane, and set the end of the grant."""
        del old
        findings = Findings()
        stored = await self._resources.get(tx, new.data_plane)
        same = new.data_plane.split("/")[:2] == new.name.split("/")[:2]
        if stored is None or stored.kind != "DataPlane" or not same:
            findings.at("data_plane").add(
                "DATA_PLANE_UNKNOWN",
                f'data plane "{new.data_plane}" does not exist in this organization: create it',
                value=new.data_plane,
            )
            raise Invalid(findings.problems[0].message, problems=findings.problems)
        ttl = new.ttl.ToTimedelta() if new.HasField("ttl") else _TTL
        new.expire_time.CopyFrom(convert.stamp_of(self._clock.now() + ttl))
        new.ClearField("ttl")

    async def after_write(
        self, tx: Transaction, new: join_grant_pb2.JoinGrant, old: object, stored: Stored
    ) -> None:
        """Make the secret, and keep the key that is derived from it."""
        del old, stored
        plane = await self._resources.get(tx, new.data_plane)
        if plane is None:
            return
        token = grants.new_token(new.name.rsplit("/", 1)[-1])
        key = grants.derive_key(token.secret)
        await self._repository.save_grant(
            tx,
            StoredGrant(
                name=new.name,
                uid=new.uid,
                data_plane=new.data_plane,
                data_plane_uid=data_plane_pb2.DataPlane.FromString(plane.payload).uid,
                sealed_key=self._vault.seal(new.uid, key),
                expire_time=convert.time_of(new.expire_time),
                readopt=new.readopt,
            ),
        )
        self._tokens[new.uid] = str(token)

    async def after_delete(self, tx: Transaction, old: join_grant_pb2.JoinGrant) -> None:
        """Forget the key."""
        await self._repository.forget_grant(tx, old.name)

    async def on_read(self, tx: Transaction, messages: Sequence[Any]) -> None:
        """Say when it was used, and where to."""
        used = await self._repository.read_uses(tx, [m.name for m in messages])
        for message in messages:
            message.authority_digest = self._authority.digest
            message.join_address = self._join_address()
            message.link_address = self._link_address()
            if message.name in used:
                message.use_time.CopyFrom(convert.stamp_of(used[message.name]))
