"""Promotions and the history of deployments, on the wire."""
# ruff: noqa: ARG002, N802

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from cellplane.api.model.v1 import (
    deployment_change_pb2,
    deployment_change_pb2_grpc,
    gate_pb2,
    promotion_pb2,
    promotion_pb2_grpc,
)
from cellplane.cell.problem import Invalid, NotFound, Problem
from cellplane.model.domain.kinds import Kind
from cellplane.model.promotions.history import SEGMENT, History, HistorySource
from cellplane.model.promotions.lifecycle import Promotions
from cellplane.model.promotions.plan import Planner
from cellplane.model.records import Record
from cellplane.model.transactions import Transactions
from cellplane.model.writes import Writes, collection_of
from cellplane.resource.lists import page, read_query
from cellplane.resource.standard import etag_of
from cellplane.rpc.pagination import PageTokens
from cellplane.store.database import Database, Transaction

Promotion = promotion_pb2.Promotion
_Decision = gate_pb2.GateDecision
_COLLECTION = collection_of(Kind.PROMOTION)


class PromotionService(promotion_pb2_grpc.PromotionServiceServicer):
    """See ``model/v1/promotion.proto``."""

    def __init__(
        self,
        writes: Writes,
        promotions: Promotions,
        transactions: Transactions,
        planner: Planner,
    ) -> None:
        self._methods = writes.reads(Kind.PROMOTION, Promotion)
        self.promotions = promotions
        self._transactions = transactions
        self._planner = planner

    async def CreatePromotion(
        self, request: promotion_pb2.CreatePromotionRequest, context: Any
    ) -> Promotion:
        """Promote releases from one environment to the next."""
        _COLLECTION.parse_parent(request.parent, across=False)
        return await self._run(
            request,
            lambda tx: self.promotions.create(
                tx, request.parent, request.promotion_id, request.promotion
            ),
        )

    async def GetPromotion(
        self, request: promotion_pb2.GetPromotionRequest, context: Any
    ) -> Promotion:
        """Read a promotion."""
        return await self._methods.get(request)

    async def ListPromotions(
        self, request: promotion_pb2.ListPromotionsRequest, context: Any
    ) -> promotion_pb2.ListPromotionsResponse:
        """List them, by name."""
        return await self._methods.list(request, promotion_pb2.ListPromotionsResponse())

    async def BatchGetPromotions(
        self, request: promotion_pb2.BatchGetPromotionsRequest, context: Any
    ) -> promotion_pb2.BatchGetPromotionsResponse:
        """Read several."""
        return await self._methods.batch_get(request, promotion_pb2.BatchGetPromotionsResponse())

    async def PlanPromotion(
        self, request: promotion_pb2.PlanPromotionRequest, context: Any
    ) -> promotion_pb2.PlanPromotionResponse:
        """Tell what a promotion would do."""
        _COLLECTION.parse_parent(request.parent, across=False)
        async with self._transactions.database.transaction() as tx:
            answer = await self._planner.plan(tx, request.parent, request.promotion)
            tx.discard()
        return answer

    async def ApprovePromotion(
        self, request: promotion_pb2.ApprovePromotionRequest, context: Any
    ) -> Promotion:
        """Approve."""
        return await self._decide(
            request, _Decision(gate=request.gate, type=_Decision.APPROVED, reason=request.reason)
        )

    async def RefusePromotion(
        self, request: promotion_pb2.RefusePromotionRequest, context: Any
    ) -> Promotion:
        """Refuse."""
        return await self._decide(
            request, _Decision(gate=request.gate, type=_Decision.REFUSED, reason=request.reason)
        )

    async def ReportPromotionCheck(
        self, request: promotion_pb2.ReportPromotionCheckRequest, context: Any
    ) -> Promotion:
        """Note how a check ended."""
        outcome = _Decision.PASSED if request.passed else _Decision.FAILED
        decision = _Decision(
            gate=request.gate, type=outcome, reason=request.reason, uri=request.uri
        )
        return await self._decide(request, decision)

    async def OverridePromotionFreeze(
        self, request: promotion_pb2.OverridePromotionFreezeRequest, context: Any
    ) -> Promotion:
        """Let it through a freeze."""
        return await self._decide(
            request, _Decision(type=_Decision.OVERRIDDEN, reason=request.reason)
        )

    async def CancelPromotion(
        self, request: promotion_pb2.CancelPromotionRequest, context: Any
    ) -> Promotion:
        """End it."""
        _COLLECTION.parse(request.name)
        return await self._run(
            request,
            lambda tx: self.promotions.cancel(tx, request.name, request.etag, request.reason),
        )

    async def RollBackEnvironment(
        self, request: promotion_pb2.RollBackEnvironmentRequest, context: Any
    ) -> promotion_pb2.RollBackEnvironmentResponse:
        """Step back."""
        _COLLECTION.parse_parent(request.parent, across=False)

        async def work(tx: Transaction) -> promotion_pb2.RollBackEnvironmentResponse:
            record = await self.promotions.roll_back(tx, request.parent, request)
            return promotion_pb2.RollBackEnvironmentResponse(promotion=_answer(record))

        return await self._transactions.run(
            request, work, promotion_pb2.RollBackEnvironmentResponse
        )

    async def _decide(self, request: Any, decision: gate_pb2.GateDecision) -> Promotion:
        _COLLECTION.parse(request.name)
        return await self._run(
            request,
            lambda tx: self.promotions.decide(tx, request.name, request.etag, decision),
        )

    async def _run(
        self, request: Any, work: Callable[[Transaction], Awaitable[Record]]
    ) -> Promotion:
        async def answer(tx: Transaction) -> Promotion:
            return _answer(await work(tx))

        return await self._transactions.run(request, answer, Promotion)


def _answer(record: Record) -> Promotion:
    promotion: Promotion = record.message
    promotion.etag = etag_of(record.stored.revision)
    return promotion


class DeploymentChangeService(deployment_change_pb2_grpc.DeploymentChangeServiceServicer):
    """See ``model/v1/deployment_change.proto``."""

    def __init__(self, database: Database, history: History, tokens: PageTokens) -> None:
        self._database = database
        self._history = history
        self._tokens = tokens

    async def GetDeploymentChange(
        self, request: deployment_change_pb2.GetDeploymentChangeRequest, context: Any
    ) -> deployment_change_pb2.DeploymentChange:
        """Read one change."""
        component, _, number = request.name.rpartition(SEGMENT)
        collection_of(Kind.COMPONENT).parse(component)
        if not number.isdecimal():
            problem = Problem(
                reason="NAME_INVALID",
                message=f'"{request.name}" is not a name: its last segment is a number',
                field="name",
                value=request.name,
            )
            raise Invalid(problem.message, problems=[problem], reason="REQUEST_INVALID")
        async with self._database.snapshot() as tx:
            found = await self._history.one(tx, component, int(number))
        if found is None:
            raise NotFound(f"{request.name} does not exist", metadata={"name": request.name})
        return found

    async def ListDeploymentChanges(
        self, request: deployment_change_pb2.ListDeploymentChangesRequest, context: Any
    ) -> deployment_change_pb2.ListDeploymentChangesResponse:
        """List changes, the newest first."""
        collection_of(Kind.DEPLOYMENT).parse_parent(request.parent, across=True)
        query = read_query(request, deployment_change_pb2.DeploymentChange.DESCRIPTOR)
        async with self._database.snapshot() as tx:
            source = HistorySource(history=self._history, tx=tx, parent=request.parent)
            found, token = await page(source, request, query, self._tokens, parent=request.parent)
        answer = deployment_change_pb2.ListDeploymentChangesResponse(next_page_token=token)
        answer.deployment_changes.extend(found)
        return answer
