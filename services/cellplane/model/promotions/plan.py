"""What a promotion would do: tried in a transaction that leaves nothing, and compared."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import ParseDict

from cellplane.api.model.v1 import promotion_pb2, resource_change_pb2
from cellplane.api.type.v1 import problem_pb2, resolved_cell_pb2
from cellplane.cell.problem import FailedPrecondition
from cellplane.model.promotions.facts import target_cell, told
from cellplane.model.promotions.lifecycle import Promotions
from cellplane.model.records import Records
from cellplane.model.repository import Repository
from cellplane.model.service_cells import resolved_of
from cellplane.resource.differences import differences
from cellplane.store.database import Transaction

Promotion = promotion_pb2.Promotion
_ENDPOINTS = "endpoints"


class Planner:
    """Plans inside of a transaction that its caller discards."""

    def __init__(self, promotions: Promotions, repository: Repository, records: Records) -> None:
        self._promotions = promotions
        self._repository = repository
        self._records = records

    async def plan(
        self, tx: Transaction, project: str, asked: Promotion
    ) -> promotion_pb2.PlanPromotionResponse:
        """What it would change, which gates it would meet, and what would refuse it."""
        promotion = await self._promotions.draft(tx, project, "", asked)
        promotion.gates.extend(map(told, await self._promotions.facts.stands(tx, promotion)))
        answer = promotion_pb2.PlanPromotionResponse(promotion=promotion)
        await self._components(tx, promotion, answer)
        cell = target_cell(promotion)
        before = await self._cell(tx, cell)
        if before is not None:
            answer.current_cell.CopyFrom(before)
        if promotion.changes:
            try:
                await self._promotions.steps.deploy(tx, promotion)
            except FailedPrecondition as refused:
                answer.problems.extend(_problem(p) for p in refused.preconditions)
                return answer
        after = await self._cell(tx, cell)
        if after is not None:
            answer.planned_cell.CopyFrom(after)
        return answer

    async def _cell(self, tx: Transaction, cell: str) -> resolved_cell_pb2.ResolvedCell | None:
        row = (await self._repository.read_cells(tx, [cell])).get(cell)
        if row is None or row.is_deleted or row.frame is None:
            return None
        return await resolved_of(tx, self._repository, row, 0)

    async def _components(
        self, tx: Transaction, promotion: Promotion, answer: promotion_pb2.PlanPromotionResponse
    ) -> None:
        names = {n for c in promotion.changes for n in (c.previous_release, c.release) if n}
        releases = await self._records.get_many(tx, names)
        for change in promotion.changes:
            own = answer.components.add(component=change.component)
            old, new = releases.get(change.previous_release), releases.get(change.release)
            found = differences(
                old.message.snapshot if old else None, new.message.snapshot if new else None
            )
            for one in found:
                is_endpoint = one.path.startswith(_ENDPOINTS)
                _add(own.endpoints if is_endpoint else own.settings, one.path, one)
            for one in differences(change.previous_overrides, change.overrides):
                _add(own.settings, f"overrides.{one.path}", one)


def _add(fields: Any, path: str, one: Any) -> None:
    field: resource_change_pb2.FieldChange = fields.add(path=path)
    if one.old is not None:
        ParseDict(one.old, field.old_value)
    if one.new is not None:
        ParseDict(one.new, field.new_value)


def _problem(precondition: Any) -> problem_pb2.Problem:
    resource, _, field = precondition.subject.partition(" ")
    return problem_pb2.Problem(
        reason=precondition.type,
        resource=resource,
        field=field,
        message=precondition.description,
        severity=problem_pb2.Problem.ERROR,
    )
