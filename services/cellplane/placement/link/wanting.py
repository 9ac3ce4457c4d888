"""What one agent is to get, and what it has: the bases, and at most one unanswered Want of a Cell.

Whatever is wanted while a Want is unanswered is one Want afterwards, made from what is wanted then.
The base of a Want is what the agent has said that it has; where that is not known, both sides
compare. Removals that the brake holds are not sent; other Cells go on.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from cellplane.api.agent.v1 import link_pb2
from cellplane.placement.desired import Desired
from cellplane.placement.link import messages
from cellplane.placement.rollout.bundle import Bundle, since
from cellplane.placement.slots import Slot
from cellplane.runtime.linkdigest import BLOB_LIMIT, root_digest

_MISMATCHES = 3
"""So often in a row a refused base is answered by comparing; then only a new revision helps."""

Write = Callable[[link_pb2.SyncResponse], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A Want that is not answered yet."""

    nonce: str
    revision: int
    digest: str


class Wanting:
    """The Wants of one stream."""

    def __init__(
        self, data_plane: str, desired: Desired, stir: Callable[[], None], log: Any
    ) -> None:
        """``stir`` is called when there is something to write."""
        self._data_plane = data_plane
        self._desired = desired
        self._stir = stir
        self._log = log
        self._bases: dict[str, int] = {}
        """What the agent has, by Cell; what is not named it does not have."""
        self._pending: dict[str, Pending] = {}
        self._due: dict[str, None] = {}
        self._braked: dict[str, None] = {}
        """Cells whose removals wait."""
        self._compared = False
        self._ask_compare = False
        self._mismatches: dict[str, int] = {}

    def want(self, cell: str) -> None:
        """Something is wanted of a Cell."""
        self._due[cell] = None
        self._stir()

    def agree(self, known: list[tuple[str, int, str]]) -> None:
        """Both have the same: these Cells, at these revisions, with these digests."""
        self._compared = True
        for cell, revision, digest in known:
            self._agree(cell, revision, digest)
        self._stir()

    def resume(self, root: str) -> bool:
        """Go on from what the agent was known to have, if its digest says that it still has it."""
        slots = self._desired.delivered(self._data_plane)
        known = [
            (s.cell, s.observed.accepted_revision, s.observed.accepted_digest)
            for s in slots
            if s.observed.accepted_revision
        ]
        if not root or root_digest(known) != root:
            return False
        if any(not s.settled and s.observed.accepted_revision == s.bundle.revision for s in slots):
            # Its last words may be lost: a comparison has it say them again.
            return False
        self._compared = True
        self._bases = {cell: revision for cell, revision, _ in known}
        for slot in slots:
            if self._bases.get(slot.cell, 0) != slot.bundle.revision:
                self._due[slot.cell] = None
        self._stir()
        return True

    def take_inventory(self, inventory: link_pb2.Inventory) -> None:
        """Compare what the agent has with what it is to have."""
        stored = {c.cell: c for c in inventory.cells}
        self._bases.clear()
        self._pending.clear()
        for slot in self._desired.delivered(self._data_plane):
            known = stored.pop(slot.cell, None)
            seen = slot.observed
            if known is None:
                self._desired.accepted(slot.cell, self._data_plane, 0, "")
            elif (known.revision, known.digest) == (slot.bundle.revision, slot.digest):
                self._agree(slot.cell, slot.bundle.revision, slot.digest)
                if known.applied and not slot.bundle.removed:
                    self._desired.applied(
                        slot.cell, self._data_plane, known.revision, (), complete=True
                    )
                continue
            elif (known.revision, known.digest) == (seen.accepted_revision, seen.accepted_digest):
                self._bases[slot.cell] = known.revision
            self._due[slot.cell] = None
        for cell, has in stored.items():
            # Absence never deletes: somebody has to look at these.
            self._log.warning("link.unknown_cell", cell=cell, revision=has.revision)
        self._compared = True
        self._stir()

    def take_reply(self, reply: link_pb2.Reply) -> None:
        """The agent answers a Want."""
        pending = self._pending.get(reply.cell)
        if pending is None or pending.nonce != reply.nonce:
            return
        del self._pending[reply.cell]
        verdicts = link_pb2.Reply.Verdict
        match reply.verdict:
            case verdicts.ACCEPTED:
                self._bases[reply.cell] = pending.revision
                self._mismatches.pop(reply.cell, None)
                self._desired.accepted(
                    reply.cell, self._data_plane, pending.revision, pending.digest
                )
                # Fewer removals are on their way now, so that the brake may let others go.
                self._due |= self._braked
                self._braked.clear()
                self.want(reply.cell)
            case verdicts.REJECTED:
                failures = tuple(messages.failure_of(r) for r in reply.results)
                self._log.warning("link.rejected", cell=reply.cell, revision=reply.revision)
                self._desired.rejected(reply.cell, self._data_plane, pending.revision, failures)
                slot = self._desired.slot(reply.cell, self._data_plane)
                if slot is not None and slot.bundle.revision != pending.revision:
                    self.want(reply.cell)
            case _:
                self._log.info("link.base_mismatch", cell=reply.cell, stored=reply.stored_revision)
                count = self._mismatches.get(reply.cell, 0) + 1
                self._mismatches[reply.cell] = count
                if count <= _MISMATCHES:
                    self._compared = False
                    self._ask_compare = True
                    self._stir()

    def forget(self, cell: str) -> None:
        """The agent has nothing of a Cell any more."""
        self._bases.pop(cell, None)

    async def write(self, write: Write) -> None:
        """Say what is due."""
        if self._ask_compare:
            self._ask_compare = False
            await write(link_pb2.SyncResponse(compare=link_pb2.Compare()))
        while self._due and self._compared:
            cell = next(iter(self._due))
            del self._due[cell]
            slot = self._desired.slot(cell, self._data_plane)
            if slot is None or not slot.bundle.revision or cell in self._pending:
                continue
            if self._bases.get(cell, 0) == slot.bundle.revision:
                continue
            if self._desired.is_braked(slot):
                self._log.warning("link.removals_held", cell=cell, revision=slot.bundle.revision)
                self._braked[cell] = None
                continue
            await self._write_want(slot, write)

    def _agree(self, cell: str, revision: int, digest: str) -> None:
        self._bases[cell] = revision
        self._desired.accepted(cell, self._data_plane, revision, digest)

    async def _write_want(self, slot: Slot, write: Write) -> None:
        bundle, digest = slot.bundle, slot.digest
        base = self._bases.get(slot.cell, 0)
        delta = since(bundle, base)
        digests = [o.digest for o in delta.changed]
        contents = await self._desired.contents(digests)
        missing = [d for d in digests if d not in contents]
        if missing:
            # Replaced while it was read: what replaced it is due already.
            self._log.warning("link.contents_missing", cell=slot.cell, count=len(missing))
            if slot.bundle is not bundle:
                self._due[slot.cell] = None
            return
        nonce = uuid.uuid4().hex
        self._pending[slot.cell] = Pending(nonce=nonce, revision=bundle.revision, digest=digest)
        for blob in blobs(list(dict.fromkeys(digests)), contents):
            await write(link_pb2.SyncResponse(blob=blob))
        want = want_of(slot, bundle, digest, base, nonce)
        want.objects.extend(messages.object_to_wire(o) for o in delta.changed)
        want.removals.extend(messages.key_to_wire(k) for k in delta.removals)
        await write(link_pb2.SyncResponse(want=want))


def want_of(slot: Slot, bundle: Bundle, digest: str, base: int, nonce: str) -> link_pb2.Want:
    """A Want without its objects."""
    return link_pb2.Want(
        cell=slot.cell,
        revision=bundle.revision,
        base_revision=base,
        nonce=nonce,
        digest=digest,
        namespace=slot.namespace,
        removed=bundle.removed,
    )


def blobs(digests: list[str], contents: dict[str, bytes]) -> list[link_pb2.Blob]:
    """Contents, in messages of a limited size."""
    found: list[link_pb2.Blob] = []
    size = BLOB_LIMIT
    for digest in digests:
        content = contents[digest]
        if size + len(content) > BLOB_LIMIT:
            found.append(link_pb2.Blob())
            size = 0
        found[-1].contents.append(content)
        size += len(content)
    return found
