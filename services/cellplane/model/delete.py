"""Deleting: what belongs to a resource goes with it only if that is asked for.

What is outside of it and writes its name, or a name inside of it, is never broken, not even by
force.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from cellplane.cell.problem import FailedPrecondition, Precondition
from cellplane.model.batch import Batch, Change
from cellplane.model.convert import Codecs
from cellplane.model.domain.kinds import Kind
from cellplane.model.effects import Effects
from cellplane.model.previews import Previews
from cellplane.model.records import Record, Records
from cellplane.model.repository import Repository
from cellplane.store.database import Transaction

_HISTORY = frozenset(
    {
        Kind.RELEASE,
        Kind.COMPONENT_TYPE_VERSION,
        Kind.TRAIT_VERSION,
        Kind.PROMOTION,
        Kind.CELL,
        Kind.OPERATION,
        Kind.CATALOG_ENTRY,
        Kind.API_SCHEMA,
        Kind.ACCESS_GRANT,
    }
)
"""What stands in nobody's way: it follows from something else, or is a record of it."""
_NAMED = 10


class Relation(Enum):
    """How a resource hangs on another."""

    BELONGS = "BELONGS"
    """It is inside, and goes with it by force."""
    REFERS = "REFERS"
    """It is elsewhere and writes its name; force does not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Something that keeps a resource from being deleted."""

    resource: str
    relation: Relation
    field: str = ""
    """Of the resource that refers."""
    target: str = ""
    """What it refers to."""

    @property
    def message(self) -> str:
        """What stands in the way, and the way out."""
        if self.relation is Relation.BELONGS:
            return "belong to it: delete them first, or use force"
        return (
            "refer to it: change or delete them first; `cellplane impact` tells who else would "
            "break"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a deletion would do."""

    record: Record
    below: Sequence[Record]
    obstacles: Sequence[Obstacle]

    @property
    def deletions(self) -> list[str]:
        """Names of all that would go, the resource first."""
        return [self.record.stored.name, *(r.stored.name for r in self.below)]

    @property
    def cells(self) -> list[str]:
        """Names of the Cells that would end with it."""
        return [r.stored.name for r in self.below if r.kind is Kind.CELL]


class Deleter:
    """Deletes resources inside of transactions."""

    def __init__(
        self,
        codecs: Codecs,
        repository: Repository,
        records: Records,
        effects: Effects,
        previews: Previews,
    ) -> None:
        self._codecs = codecs
        self._repository = repository
        self._records = records
        self._effects = effects
        self._previews = previews

    async def plan(self, tx: Transaction, record: Record, *, force: bool) -> Plan:
        """What deleting a resource would do, with everything that stands in the way."""
        name = record.stored.name
        below = await self._records.below(tx, name)
        obstacles: list[Obstacle] = []
        if not force:
            obstacles += [
                Obstacle(resource=r.stored.name, relation=Relation.BELONGS)
                for r in below
                if r.kind not in _HISTORY
            ]
        going = {name, *(r.stored.name for r in below)}
        obstacles += [
            Obstacle(
                resource=mention.source,
                relation=Relation.REFERS,
                field=mention.field,
                target=mention.target,
            )
            for mention in await self._repository.read_mentions(tx, going)
            if mention.source not in going
        ]
        return Plan(record=record, below=below, obstacles=obstacles)

    async def delete(self, tx: Transaction, record: Record, *, force: bool) -> None:
        """Delete a resource, and with *force* what belongs to it.

        Raises:
            FailedPrecondition: something belongs to it, or something outside refers to it.
        """
        plan = await self.plan(tx, record, force=force)
        if plan.obstacles:
            raise _in_the_way(record.stored.name, plan.obstacles)
        previews = [r for r in (record, *plan.below) if r.kind is Kind.PREVIEW]
        for one in previews:
            await self._previews.end(tx, one)
        if previews:
            plan = replace(plan, below=await self._records.below(tx, record.stored.name))
        # A Cell goes with the last of its deployments, while its environment is still there; an
        # entry of the catalog with the last that offers it.
        derived = (Kind.CELL, Kind.CATALOG_ENTRY)
        removed = [record, *(r for r in plan.below if r.kind not in derived)]
        await self._remove(tx, [r for r in removed if r.kind is Kind.DEPLOYMENT])
        await self._remove(tx, [r for r in removed if r.kind is not Kind.DEPLOYMENT])

    async def _remove(self, tx: Transaction, records: Sequence[Record]) -> None:
        for record in sorted(records, key=lambda r: -r.stored.name.count("/")):
            await self._records.remove(tx, record.stored.name)
        changes = [Change(kind=r.kind, name=r.stored.name, old=r.message) for r in records]
        await self._effects.apply(tx, Batch(self._codecs, self._records, changes))


def _in_the_way(name: str, obstacles: Sequence[Obstacle]) -> FailedPrecondition:
    """Name everything that stands in the way, as far as a message bears it."""
    parts: list[str] = []
    preconditions: list[Precondition] = []
    for relation in Relation:
        found = {o.resource: o for o in obstacles if o.relation is relation}
        named = sorted(found)[:_NAMED]
        if not named:
            continue
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        message = found[named[0]].message
        parts.append(f"{', '.join(named)}{more} {message}")
        preconditions += [
            Precondition(type="RESOURCE_IN_USE", subject=other, description=message)
            for other in named
        ]
    return FailedPrecondition(
        f"{name} cannot be deleted: {'; '.join(parts)}",
        reason="RESOURCE_IN_USE",
        preconditions=preconditions,
        metadata={"name": name, "referrers": ", ".join(p.subject for p in preconditions)},
    )
