"""Where placement's own state outlives the process. Each method is one transaction.

Times are stored in UTC. A bundle is stored by what changed of it; contents once by digest, and they
go with the last object that has them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from cellplane.placement.leading import Leading
from cellplane.placement.link import messages
from cellplane.placement.link.join import StoredGrant
from cellplane.placement.records import Decided, Membership
from cellplane.placement.rollout.bundle import Bundle, Held
from cellplane.placement.rollout.diff import Delta
from cellplane.placement.rows import (
    aware,
    decided_of,
    decided_to_json,
    held_of,
    observed_of,
    row_of,
)
from cellplane.placement.scheduler.snapshot import PlaneState
from cellplane.placement.slots import Slot
from cellplane.placement.status.observed import Observed
from cellplane.placement.tables import (
    bundles,
    confirmations,
    decisions,
    floors,
    grants,
    memberships,
    objects,
    observations,
)
from cellplane.placement.tables import contents as blobs
from cellplane.store.database import Transaction

_SAVE_DECISION = sa.text(
    "INSERT INTO decisions (cell, body) VALUES (:cell, :body) "
    "ON CONFLICT (cell) DO UPDATE SET body = excluded.body"
)
_written = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_MANY = 500
"""Values in one ``IN`` at most."""


class Repository(Leading):
    """Placement's own tables."""

    async def read_memberships(self) -> dict[str, tuple[Membership, PlaneState, datetime]]:
        """Every cluster that joined, by data plane."""
        async with self._database.snapshot() as tx:
            rows = (await tx.execute(sa.select(memberships))).mappings().all()
        return {
            r["data_plane"]: (
                Membership(
                    cluster_uid=r["cluster_uid"],
                    join_time=aware(r["join_time"]),
                    agent_version=r["agent_version"],
                    facts=messages.facts_of_bytes(r["facts"]),
                    certificate_time=aware(r["certificate_time"])
                    if r["certificate_time"]
                    else None,
                ),
                PlaneState(r["state"]),
                aware(r["seen_time"]),
            )
            for r in rows
        }

    async def save_membership(
        self, name: str, membership: Membership, state: PlaneState, seen: datetime
    ) -> None:
        """Store what is known of one data plane's cluster."""
        row = {
            "data_plane": name,
            "cluster_uid": membership.cluster_uid,
            "join_time": membership.join_time,
            "agent_version": membership.agent_version,
            "facts": messages.facts_to_bytes(membership.facts),
            "state": state.value,
            "seen_time": seen,
            "certificate_time": membership.certificate_time,
        }
        async with self._transaction() as tx:
            await _replace(tx, memberships, [row], ("data_plane",))

    async def forget_membership(self, name: str) -> None:
        """Forget which cluster a data plane is."""
        async with self._transaction() as tx:
            await tx.execute(sa.delete(memberships).where(memberships.c.data_plane == name))

    async def save_grant(self, tx: Transaction, grant: StoredGrant) -> None:
        """Store a grant, in the transaction that creates its resource."""
        await self.fence(tx)
        await tx.execute(sa.insert(grants), [asdict(grant)])

    async def forget_grant(self, tx: Transaction, name: str) -> None:
        """Forget a grant, in the transaction that deletes its resource."""
        await self.fence(tx)
        await tx.execute(sa.delete(grants).where(grants.c.name == name))

    async def forget_data_plane(self, tx: Transaction, name: str) -> None:
        """Forget all of a data plane, in the transaction that deletes its resource."""
        await self.fence(tx)
        await tx.execute(sa.delete(memberships).where(memberships.c.data_plane == name))
        await tx.execute(sa.delete(grants).where(grants.c.data_plane == name))
        await tx.execute(sa.delete(floors).where(floors.c.data_plane == name))

    async def read_uses(self, tx: Transaction, names: Sequence[str]) -> dict[str, datetime]:
        """When grants were used, by name, as far as they were."""
        query = sa.select(grants.c.name, grants.c.use_time).where(
            grants.c.name.in_(names), grants.c.use_time.is_not(None)
        )
        return {row.name: aware(row.use_time) for row in await tx.execute(query)}

    async def read_grant(self, name: str) -> StoredGrant | None:
        """A grant by its resource name."""
        query = sa.select(grants).where(grants.c.name == name)
        async with self._database.snapshot() as tx:
            row = (await tx.execute(query)).one_or_none()
        if row is None:
            return None
        return StoredGrant(
            name=row.name,
            uid=row.uid,
            data_plane=row.data_plane,
            data_plane_uid=row.data_plane_uid,
            sealed_key=row.sealed_key,
            expire_time=aware(row.expire_time),
            use_time=aware(row.use_time) if row.use_time is not None else None,
            readopt=row.readopt,
        )

    async def use_grant(self, name: str, uid: str, time: datetime) -> bool:
        """Use a grant; false if it was used, or is gone, in the meantime."""
        statement = (
            sa.update(grants)
            .where(grants.c.name == name, grants.c.uid == uid, grants.c.use_time.is_(None))
            .values(use_time=time)
        )
        async with self._transaction() as tx:
            result: Any = await tx.execute(statement)
            return bool(result.rowcount == 1)

    async def read_decisions(self) -> list[tuple[str, Decided]]:
        """Every decision, by Cell."""
        async with self._database.snapshot() as tx:
            rows = (await tx.execute(sa.select(decisions))).all()
        return [(row.cell, decided_of(json.loads(row.body))) for row in rows]

    async def save_decisions(self, decided: Mapping[str, Decided]) -> None:
        """Store where Cells are to be, all or none."""
        rows = [{"cell": c, "body": _written(decided_to_json(d))} for c, d in decided.items()]
        async with self._transaction() as tx:
            await tx.execute(_SAVE_DECISION, rows)

    async def forget_decision(self, cell: str) -> None:
        """Forget a Cell."""
        async with self._transaction() as tx:
            await tx.execute(sa.delete(decisions).where(decisions.c.cell == cell))

    async def read_slots(self) -> list[Slot]:
        """What every data plane is to have, and how far it got."""
        async with self._database.snapshot() as tx:
            heads = (await tx.execute(sa.select(bundles))).mappings().all()
            rows = (await tx.execute(sa.select(objects))).mappings().all()
            seen = (await tx.execute(sa.select(observations))).mappings().all()
            meant = (await tx.execute(sa.select(confirmations))).all()
        held: dict[tuple[str, str], list[tuple[Held, bool]]] = {}
        for r in rows:
            held.setdefault((r["cell"], r["data_plane"]), []).append((held_of(r), r["removed"]))
        observed = {(r["cell"], r["data_plane"]): observed_of(r) for r in seen}
        confirmed = {(r.cell, r.data_plane): r.revision for r in meant}
        slots: list[Slot] = []
        for head in heads:
            key = head["cell"], head["data_plane"]
            entries = held.get(key, [])
            bundle = Bundle(
                revision=head["revision"],
                cell_revision=head["cell_revision"],
                objects={h.object.key: h for h, removed in entries if not removed},
                removals={h.object.key: h for h, removed in entries if removed},
                removed=head["removed"],
            )
            slots.append(
                Slot(
                    cell=head["cell"],
                    data_plane=head["data_plane"],
                    namespace=head["namespace"],
                    bundle=bundle,
                    digest=head["digest"],
                    observed=observed.get(key, Observed()),
                    create_time=aware(head["create_time"]),
                    confirmed_revision=confirmed.get(key, 0),
                )
            )
        return slots

    async def save_bundle(
        self, slot: Slot, bundle: Bundle, digest: str, delta: Delta, contents: Mapping[str, bytes]
    ) -> None:
        """Store a new revision: the row, the objects that changed, what they hold."""
        head = {
            "cell": slot.cell,
            "data_plane": slot.data_plane,
            "namespace": slot.namespace,
            "revision": bundle.revision,
            "cell_revision": bundle.cell_revision,
            "digest": digest,
            "removed": bundle.removed,
            "create_time": slot.create_time,
        }
        changed = [bundle.objects[o.key] for o in delta.changed]
        gone = [bundle.removals[key] for key in delta.removals]
        rows = [
            *(row_of(slot, held, removed=False) for held in changed),
            *(row_of(slot, held, removed=True) for held in gone),
        ]
        old = {
            slot.bundle.objects[h.object.key].object.digest
            for h in (*changed, *gone)
            if h.object.key in slot.bundle.objects
        }
        async with self._transaction() as tx:
            await _replace(tx, bundles, [head], ("cell", "data_plane"))
            if rows:
                await _replace(tx, objects, rows, _OBJECT_KEY)
            await _add_contents(tx, contents)
            await _sweep(tx, old - {h.object.digest for h in changed})

    async def read_floors(self) -> dict[str, int]:
        """The highest revision that each data plane has forgotten."""
        async with self._database.snapshot() as tx:
            rows = (await tx.execute(sa.select(floors))).all()
        return {row.data_plane: row.revision for row in rows}

    async def forget_bundle(self, cell: str, data_plane: str, revision: int) -> None:
        """Forget a Cell on a data plane, but not how far its data plane's revisions went."""
        async with self._transaction() as tx:
            query = sa.select(floors.c.revision).where(floors.c.data_plane == data_plane)
            floor = (await tx.execute(query)).scalar_one_or_none() or 0
            row = {"data_plane": data_plane, "revision": max(floor, revision)}
            await _replace(tx, floors, [row], ("data_plane",))
            mine = (objects.c.cell == cell, objects.c.data_plane == data_plane)
            digests = (await tx.execute(sa.select(objects.c.digest).where(*mine))).scalars().all()
            for table in (bundles, objects, observations, confirmations):
                await tx.execute(
                    sa.delete(table).where(table.c.cell == cell, table.c.data_plane == data_plane)
                )
            await _sweep(tx, set(digests))

    async def save_confirmations(self, slots: Iterable[Slot]) -> None:
        """Store that the removals of these, as they are now, are meant."""
        rows = [
            {"cell": s.cell, "data_plane": s.data_plane, "revision": s.bundle.revision}
            for s in slots
        ]
        async with self._transaction() as tx:
            await _replace(tx, confirmations, rows, ("cell", "data_plane"))

    async def save_observed(self, slots: Iterable[Slot]) -> None:
        """Store how far these got; removals that were applied are forgotten with it."""
        rows: list[dict[str, Any]] = []
        done: list[dict[str, Any]] = []
        for slot in slots:
            seen = slot.observed
            report, failures = messages.observed_to_bytes(seen)
            rows.append(
                {
                    "cell": slot.cell,
                    "data_plane": slot.data_plane,
                    "accepted_revision": seen.accepted_revision,
                    "accepted_digest": seen.accepted_digest,
                    "applied_revision": seen.applied_revision,
                    "ready_revision": seen.ready_revision,
                    "rejected_revision": seen.rejected_revision,
                    "failed_revision": seen.failed_revision,
                    "report": report,
                    "failures": failures,
                }
            )
            done.append({"c": slot.cell, "p": slot.data_plane, "r": seen.applied_revision})
        async with self._transaction() as tx:
            await _replace(tx, observations, rows, ("cell", "data_plane"))
            await tx.execute(
                sa.delete(objects).where(
                    objects.c.cell == sa.bindparam("c"),
                    objects.c.data_plane == sa.bindparam("p"),
                    objects.c.removed.is_(True),
                    objects.c.revision <= sa.bindparam("r"),
                ),
                done,
            )

    async def read_contents(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Contents of objects by digest."""
        wanted = list(digests)
        found: dict[str, bytes] = {}
        async with self._database.snapshot() as tx:
            for some in _chunks(wanted):
                query = sa.select(blobs).where(blobs.c.digest.in_(some))
                for row in await tx.execute(query):
                    found[row.digest] = row.content
        return found


_OBJECT_KEY = ("cell", "data_plane", "api_version", "kind", "namespace", "object")


async def _replace(
    tx: Transaction, table: sa.Table, rows: list[dict[str, Any]], key: Sequence[str]
) -> None:
    """Insert rows, in place of those with the same key."""
    same = [table.c[name] == sa.bindparam(f"k_{name}") for name in key]
    await tx.execute(
        sa.delete(table).where(*same), [{f"k_{n}": row[n] for n in key} for row in rows]
    )
    await tx.execute(sa.insert(table), rows)


async def _add_contents(tx: Transaction, fresh: Mapping[str, bytes]) -> None:
    for some in _chunks(list(fresh)):
        query = sa.select(blobs.c.digest).where(blobs.c.digest.in_(some))
        known = set((await tx.execute(query)).scalars().all())
        rows = [{"digest": d, "content": fresh[d]} for d in some if d not in known]
        if rows:
            await tx.execute(sa.insert(blobs), rows)


async def _sweep(tx: Transaction, digests: set[str]) -> None:
    """Delete those of these contents that no object has any more."""
    used = sa.select(objects.c.digest).where(
        objects.c.digest == blobs.c.digest, objects.c.removed.is_(False)
    )
    for some in _chunks(sorted(digests)):
        await tx.execute(sa.delete(blobs).where(blobs.c.digest.in_(some), ~used.exists()))


def _chunks(values: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(values), _MANY):
        yield values[start : start + _MANY]
