"""What a promotion's stand at its gates follows from, gathered in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from cellplane.api.model.v1 import cell_pb2, gate_pb2, promotion_pb2
from cellplane.api.type.v1 import condition_pb2
from cellplane.model.cells import observed
from cellplane.model.convert import Codecs
from cellplane.model.domain.gate import FreezeWindow, Gate
from cellplane.model.domain.gates import (
    Case,
    Decided,
    Source,
    Stand,
    Verdict,
    gates_of,
    path_between,
    stands,
)
from cellplane.model.domain.kinds import Kind, cell_name, project_of
from cellplane.model.domain.resources import Environment
from cellplane.model.promotions.frozen import zone
from cellplane.model.promotions.step import Steps
from cellplane.model.records import Records
from cellplane.model.repository import Repository
from cellplane.model.tables import live_promotions, soaks
from cellplane.store.database import Transaction

Promotion = promotion_pb2.Promotion
_GOOD = (condition_pb2.HEALTH_READY, condition_pb2.HEALTH_SUSPENDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How the releases of a promotion are in its target."""

    waiting: tuple[str, ...] = ()
    """Components that are not ready yet."""
    failure: str = ""
    """Why one of them cannot become ready."""
    replaced: str = ""
    """What the target has instead of one of them."""


class Facts:
    """Gathers what is known."""

    def __init__(
        self, codecs: Codecs, repository: Repository, records: Records, steps: Steps
    ) -> None:
        self._codecs = codecs
        self._repository = repository
        self._records = records
        self._steps = steps

    async def stands(self, tx: Transaction, promotion: Promotion) -> tuple[Stand, ...]:
        """How a promotion stands at its gates now."""
        return stands(await self.case(tx, promotion), self._records.clock.now(), zone)

    async def case(self, tx: Transaction, promotion: Promotion) -> Case:
        """Everything that its stand follows from."""
        gates: tuple[Gate, ...] = ()
        roles: Mapping[str, Sequence[str]] = {}
        sources: list[Source] = []
        ahead = ""
        if promotion.type == Promotion.PROMOTION:
            project = project_of(promotion.name)
            pipeline = await self._steps.pipeline(tx, project)
            source, target = promotion.source_environment, promotion.target_environment
            path = path_between(pipeline, source, target) if pipeline is not None else None
            if pipeline is not None and path is not None:
                gates = gates_of(path, target)
                roles = {role.role: role.members for role in pipeline.roles}
            if any(gate.health is not None for gate in gates):
                sources = await self._sources(tx, promotion)
            ahead = await self._ahead(tx, promotion)
        freezes: tuple[FreezeWindow, ...] = ()
        if promotion.type != Promotion.AUTOMATIC_ROLLBACK:
            freezes = await self.freezes(tx, promotion.target_environment)
        return Case(
            requester=promotion.creator,
            asked=_time(promotion.create_time)
            if promotion.HasField("create_time")
            else self._records.clock.now(),
            environment=promotion.source_environment,
            gates=gates,
            roles=roles,
            decisions=[_decided(decision) for decision in promotion.decisions],
            sources=sources,
            freezes=freezes,
            ahead=ahead,
        )

    async def freezes(self, tx: Transaction, environment: str) -> tuple[FreezeWindow, ...]:
        """When an environment does not change."""
        record = await self._records.get(tx, environment)
        found = self._codecs.resource(Kind.ENVIRONMENT, record.message) if record else None
        return found.freeze_windows if isinstance(found, Environment) else ()

    async def seen(self, tx: Transaction, promotion: Promotion) -> Seen:
        """How its releases are in the target."""
        cell = target_cell(promotion)
        environment = promotion.target_environment.rsplit("/", 1)[-1]
        wanted = {c.component: c.release for c in promotion.changes if c.release}
        there = await self._records.get_many(
            tx, {f"{component}/deployments/{environment}" for component in wanted}
        )
        deployed = {
            name.rpartition("/deployments/")[0]: record.message.release
            for name, record in there.items()
        }
        for component, release in wanted.items():
            if deployed.get(component) != release:
                has = deployed.get(component, "").rsplit("/", 1)[-1] or "no release"
                return Seen(replaced=f"{environment} has {has} of {_id(component)} now")
        status = await self.status(tx, cell)
        if observed(status) < promotion.cell_revision or any(
            plane.applied_revision < promotion.cell_revision for plane in status.data_planes
        ):
            return Seen(waiting=tuple(map(_id, wanted)))
        known = {c.component: c for c in status.components}
        waiting: list[str] = []
        for component, release in wanted.items():
            own = known.get(_id(component))
            if own is None or own.release != _id(release):
                waiting.append(_id(component))
            elif own.health == condition_pb2.HEALTH_FAILED:
                return Seen(failure=f"{_id(component)} failed in {environment}: {_why(own)}")
            elif own.health not in _GOOD:
                waiting.append(_id(component))
        return Seen(waiting=tuple(waiting))

    async def status(self, tx: Transaction, cell: str) -> cell_pb2.Cell:
        """What was last reported of a Cell."""
        known = (await self._repository.read_statuses(tx, [cell])).get(cell)
        return cell_pb2.Cell.FromString(known or b"")

    async def _sources(self, tx: Transaction, promotion: Promotion) -> list[Source]:
        environment = promotion.source_environment.rsplit("/", 1)[-1]
        cell = source_cell(promotion)
        names = [f"{c.component}/deployments/{environment}" for c in promotion.changes]
        there = await self._records.get_many(tx, names)
        rows = await tx.execute(sa.select(soaks).where(soaks.c.cell == cell))
        since = {(row.component, row.release): row.since for row in rows.all()}
        status = await self.status(tx, cell)
        known = {c.component: c for c in status.components}
        found: list[Source] = []
        for change, name in zip(promotion.changes, names, strict=True):
            own, release = known.get(_id(change.component)), _id(change.release)
            failed = (
                own is not None
                and own.release == release
                and own.health == condition_pb2.HEALTH_FAILED
            )
            found.append(
                Source(
                    component=change.component,
                    release=change.release,
                    deployed=there[name].message.release if name in there else "",
                    ready_since=since.get((_id(change.component), release)),
                    failure=_why(own) if failed and own is not None else "",
                )
            )
        return found

    async def _ahead(self, tx: Transaction, promotion: Promotion) -> str:
        query = sa.select(live_promotions.c.name).where(
            live_promotions.c.target_cell == target_cell(promotion),
            live_promotions.c.name != promotion.name,
        )
        names = sorted((await tx.execute(query)).scalars())
        others = await self._records.get_many(tx, names)
        return next(
            (n for n in names if n in others and others[n].message.state == Promotion.RUNNING), ""
        )


async def note_health(
    tx: Transaction, before: cell_pb2.Cell | None, after: cell_pb2.Cell, cell: str, now: datetime
) -> None:
    """Write down since when the releases of a Cell are ready, where that changed."""
    old = {} if before is None else _ready(before)
    new = _ready(after)
    if old == new:
        return
    ended = [component for component, release in old.items() if new.get(component) != release]
    begun = [component for component, release in new.items() if old.get(component) != release]
    touched = sorted({*ended, *begun})
    await tx.execute(sa.delete(soaks).where(soaks.c.cell == cell, soaks.c.component.in_(touched)))
    if begun:
        rows = [{"cell": cell, "component": c, "release": new[c], "since": now} for c in begun]
        await tx.execute(sa.insert(soaks), rows)


def _ready(status: cell_pb2.Cell) -> dict[str, str]:
    return {c.component: c.release for c in status.components if c.health in _GOOD}


def source_cell(promotion: Promotion) -> str:
    """Name of the Cell that its releases come from."""
    return str(cell_name(project_of(promotion.name), _id(promotion.source_environment)))


def target_cell(promotion: Promotion) -> str:
    """Name of the Cell that its releases go to."""
    return str(cell_name(project_of(promotion.name), _id(promotion.target_environment)))


def told(stand: Stand) -> gate_pb2.GateStatus:
    """A stand as it is answered."""
    status = gate_pb2.GateStatus(
        gate=stand.gate,
        type=gate_pb2.GateStatus.Type.Value(stand.type.value),
        state=gate_pb2.GateStatus.State.Value(stand.state.value),
        reason=stand.reason,
        actors=stand.actors,
    )
    if stand.expected is not None:
        status.expect_time.FromDatetime(stand.expected)
    return status


def _decided(decision: gate_pb2.GateDecision) -> Decided:
    return Decided(
        gate=decision.gate,
        verdict=Verdict(gate_pb2.GateDecision.Type.Name(decision.type)),
        principal=decision.principal,
        reason=decision.reason,
    )


def _why(component: Any) -> str:
    cause = component.cause
    return ": ".join(filter(None, (cause.reason, cause.message))) or "it cannot become ready"


def _time(stamp: Any) -> datetime:
    found: datetime = stamp.ToDatetime(tzinfo=UTC)
    return found


def _id(name: str) -> str:
    return name.rsplit("/", 1)[-1]
