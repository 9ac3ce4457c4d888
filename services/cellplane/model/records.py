"""Resources as messages: what the store keeps as bytes, with the fields that only the server sets.

Every write goes through ``write``, so that names, uids and times are the same in the row and in the
message. Etags are not stored: they follow from the row's revision.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from google.protobuf.message import Message

from cellplane.model.convert import MESSAGES, write
from cellplane.model.domain.kinds import Kind
from cellplane.resource.filter.document import document_of
from cellplane.rpc.identity import current_principal
from cellplane.runtime.clock import Clock
from cellplane.store.database import Transaction
from cellplane.store.resources import Resources, Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One resource: its row and its message."""

    stored: Stored
    message: Any

    @property
    def kind(self) -> Kind:
        """What it is."""
        return Kind(self.stored.kind)


class Records:
    """Reads and writes messages."""

    def __init__(self, resources: Resources, clock: Clock) -> None:
        self._resources = resources
        self.clock = clock

    async def get(self, tx: Transaction, name: str) -> Record | None:
        """One resource."""
        stored = await self._resources.get(tx, name)
        return None if stored is None else _record(stored)

    async def get_many(self, tx: Transaction, names: Collection[str]) -> dict[str, Record]:
        """Those of these that exist, by name."""
        if not names:
            return {}
        found = await self._resources.get_many(tx, sorted(names))
        return {name: _record(stored) for name, stored in found.items()}

    async def below(self, tx: Transaction, name: str, kinds: Iterable[Kind] = ()) -> list[Record]:
        """Everything below a name, by name."""
        found = await self._resources.below(tx, name, sorted(kind.value for kind in kinds))
        return [_record(stored) for stored in found if stored.name != name]

    async def write(
        self,
        tx: Transaction,
        message: Any,
        before: Stored | None,
        *,
        now: datetime | None = None,
    ) -> Stored:
        """Write a resource in place of *before*, or a new one; *now* where it is written inside."""
        now = now or self.clock.now()
        message.uid = before.uid if before is not None else str(uuid.uuid4())
        message.create_time.FromDatetime(before.create_time if before is not None else now)
        message.update_time.FromDatetime(now)
        message.ClearField("etag")
        document = document_of(message)
        return await self._resources.put(
            tx,
            Stored(
                name=message.name,
                kind=type(message).DESCRIPTOR.name,
                uid=message.uid,
                create_time=before.create_time if before is not None else now,
                update_time=now,
                payload=write(message),
                fields=document.fields,
                lists=document.lists,
            ),
            expected_revision=0 if before is None else before.revision,
            actor=current_principal().spiffe,
        )

    async def remove(self, tx: Transaction, name: str) -> None:
        """Remove a resource."""
        await self._resources.delete(
            tx, name, time=self.clock.now(), actor=current_principal().spiffe
        )


def _record(stored: Stored) -> Record:
    message: Message = MESSAGES[Kind(stored.kind)].FromString(stored.payload)
    return Record(stored=stored, message=message)
