"""Which releases of a component are kept, when a new one is made.

What is deployed anywhere, or what a promotion that is under way names, is never forgotten.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from cellplane.model.batch import Batch
from cellplane.model.domain.kinds import Kind, organization_of, parent_of, project_of
from cellplane.model.records import Records
from cellplane.model.tables import live_promotions
from cellplane.store.database import Transaction


async def forget_old(tx: Transaction, records: Records, batch: Batch, release: str) -> None:
    """Forget what the rule of the project, or of the organization, does not keep."""
    organization, project = organization_of(release), project_of(release)
    owner = batch.message(project)
    rule = _rule(owner)
    if rule is None:
        await batch.look_up(tx, [organization])
        rule = _rule(batch.message(organization))
    if rule is None:
        return
    component = parent_of(release)
    found = await records.below(tx, component, [Kind.RELEASE, Kind.DEPLOYMENT])
    releases = sorted(
        (r for r in found if r.kind is Kind.RELEASE),
        key=lambda r: (r.stored.create_time, r.stored.name == release),
        reverse=True,
    )
    old = releases[rule.keep_last :]
    if rule.HasField("keep_duration"):
        limit = records.clock.now() - rule.keep_duration.ToTimedelta()
        old = [r for r in old if r.stored.create_time < limit]
    if not old:
        return
    used = {r.message.release for r in found if r.kind is Kind.DEPLOYMENT}
    used |= {c.new.release for c in batch.of_kind(Kind.DEPLOYMENT) if c.new is not None}
    used |= await _under_way(tx, records, project)
    for record in old:
        if record.stored.name not in used:
            await records.remove(tx, record.stored.name)


async def _under_way(tx: Transaction, records: Records, project: str) -> set[str]:
    """Releases that promotions are about to deploy, or may still go back to."""
    query = sa.select(live_promotions.c.name).where(
        live_promotions.c.name >= f"{project}/", live_promotions.c.name < f"{project}0"
    )
    names = set((await tx.execute(query)).scalars())
    live = await records.get_many(tx, names)
    return {
        name
        for record in live.values()
        for change in record.message.changes
        for name in (change.release, change.previous_release)
    }


def _rule(owner: Any) -> Any:
    return owner.release_retention if owner and owner.HasField("release_retention") else None
