"""Deletions that are planned or waited for, and the operations that they are (AIP-151)."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from google.longrunning import operations_pb2
from google.protobuf.empty_pb2 import Empty

from cellplane.api.model.v1 import (
    deletion_pb2,
    deletion_pb2_grpc,
    operation_pb2,
    operation_pb2_grpc,
)
from cellplane.api.type.v1 import deletion_pb2 as plan_pb2
from cellplane.cell.problem import Conflict, Invalid, NotFound, Problem
from cellplane.model.delete import Deleter, Obstacle, Relation
from cellplane.model.domain.kinds import Kind, kind_of, project_of
from cellplane.model.operations import Operations
from cellplane.model.records import Record, Records
from cellplane.model.transactions import Transactions
from cellplane.model.writes import Methods, Writes, collection_of
from cellplane.resource.standard import etag_of, revision_of
from cellplane.store.database import Transaction
from cellplane.store.feed import Feed

_RELATIONS: Final = {
    Relation.BELONGS: plan_pb2.DeletionObstacle.BELONGS,
    Relation.REFERS: plan_pb2.DeletionObstacle.REFERS,
}
_LONGEST_WAIT: Final = 25.0
"""Seconds; below the limit of a call without a deadline, so that it is an answer, not an error."""
_HASTE: Final = 0.2
"""Seconds that an answer needs to reach a caller before its deadline."""


class DeletionService(deletion_pb2_grpc.DeletionServiceServicer):
    """See ``model/v1/deletion.proto``."""

    def __init__(
        self,
        transactions: Transactions,
        records: Records,
        deleter: Deleter,
        operations: Operations,
    ) -> None:
        self._transactions = transactions
        self._records = records
        self._deleter = deleter
        self._operations = operations

    async def PlanDeletion(  # noqa: N802 - the contract's name
        self, request: deletion_pb2.PlanDeletionRequest, context: Any
    ) -> deletion_pb2.PlanDeletionResponse:
        """Tell what a deletion would do."""
        del context
        _check(request.name)
        async with self._transactions.database.snapshot() as tx:
            record = await self._read(tx, request.name)
            plan = await self._deleter.plan(tx, record, force=request.force)
        return deletion_pb2.PlanDeletionResponse(
            deletions=plan.deletions,
            obstacles=[_obstacle(request.name, obstacle) for obstacle in plan.obstacles],
            cells=plan.cells,
        )

    async def StartDeletion(  # noqa: N802
        self, request: deletion_pb2.StartDeletionRequest, context: Any
    ) -> operations_pb2.Operation:
        """Delete, and answer what waits for the end of it."""
        del context
        kind = _check(request.name)
        if kind is Kind.ORGANIZATION:
            raise _wrong(request.name, "an organization keeps its operations: delete it directly")
        if kind is Kind.ACCESS_GRANT:
            raise _wrong(
                request.name, "no data plane is waited for with a grant: delete it directly"
            )

        async def work(tx: Transaction) -> operations_pb2.Operation:
            record = await self._read(tx, request.name)
            expected = revision_of(request.etag)
            if expected is not None and expected != record.stored.revision:
                raise Conflict(
                    f"{request.name} has changed since it was read: read it again, then decide",
                    metadata={"name": request.name},
                )
            before = await self._cells(tx, request.name)
            places = await self._operations.places(tx, before)
            await self._deleter.delete(tx, record, force=request.force)
            after = await self._cells(tx, request.name)
            ended = {cell: planes for cell, planes in places.items() if cell not in after}
            operation = await self._operations.begin(tx, request.name, ended)
            if request.validate_only:
                operation.state = operation_pb2.Operation.SUCCEEDED
            return to_longrunning(operation)

        return await self._transactions.run(request, work, operations_pb2.Operation)

    async def _read(self, tx: Transaction, name: str) -> Record:
        record = await self._records.get(tx, name)
        if record is None:
            raise NotFound(f"{name} does not exist", metadata={"name": name})
        return record

    async def _cells(self, tx: Transaction, name: str) -> set[str]:
        """Cells that may end with a resource: those of its project."""
        project = project_of(name)
        if kind_of(project) is not Kind.PROJECT:
            return set()
        return {r.stored.name for r in await self._records.below(tx, project, [Kind.CELL])}


class OperationService(operation_pb2_grpc.OperationServiceServicer):
    """See ``model/v1/operation.proto``."""

    def __init__(self, writes: Writes) -> None:
        self._methods: Methods[operation_pb2.Operation] = writes.reads(
            Kind.OPERATION, operation_pb2.Operation
        )

    async def GetOperation(  # noqa: N802 - the contract's name
        self, request: operation_pb2.GetOperationRequest, context: Any
    ) -> operation_pb2.Operation:
        """Read an operation."""
        del context
        return await self._methods.get(request)

    async def ListOperations(  # noqa: N802
        self, request: operation_pb2.ListOperationsRequest, context: Any
    ) -> operation_pb2.ListOperationsResponse:
        """List them, by name."""
        del context
        return await self._methods.list(request, operation_pb2.ListOperationsResponse())

    async def BatchGetOperations(  # noqa: N802
        self, request: operation_pb2.BatchGetOperationsRequest, context: Any
    ) -> operation_pb2.BatchGetOperationsResponse:
        """Read several."""
        del context
        return await self._methods.batch_get(request, operation_pb2.BatchGetOperationsResponse())


class LongRunning:
    """``google.longrunning.Operations``: the same operations, as clients of any API know them."""

    def __init__(
        self,
        transactions: Transactions,
        writes: Writes,
        records: Records,
        operations: Operations,
        feed: Feed,
    ) -> None:
        self._transactions = transactions
        self._methods: Methods[operation_pb2.Operation] = writes.reads(
            Kind.OPERATION, operation_pb2.Operation
        )
        self._records = records
        self._operations = operations
        self._feed = feed

    async def GetOperation(  # noqa: N802 - the contract's name
        self, request: operations_pb2.GetOperationRequest, context: Any
    ) -> operations_pb2.Operation:
        """Read an operation."""
        del context
        return to_longrunning(await self._now(request.name))

    async def ListOperations(  # noqa: N802
        self, request: operations_pb2.ListOperationsRequest, context: Any
    ) -> operations_pb2.ListOperationsResponse:
        """List them, by name."""
        del context
        page = await self._methods.list(
            operation_pb2.ListOperationsRequest(
                parent=request.name,
                filter=request.filter,
                page_size=request.page_size,
                page_token=request.page_token,
            ),
            operation_pb2.ListOperationsResponse(),
        )
        return operations_pb2.ListOperationsResponse(
            operations=[to_longrunning(operation) for operation in page.operations],
            next_page_token=page.next_page_token,
        )

    async def WaitOperation(  # noqa: N802
        self, request: operations_pb2.WaitOperationRequest, context: Any
    ) -> operations_pb2.Operation:
        """Wait until it is done, or for as long as was asked for; answers how it is then."""
        wait = _LONGEST_WAIT
        if request.HasField("timeout"):
            wait = min(wait, max(0.0, request.timeout.ToMilliseconds() / 1000))
        left = context.time_remaining()
        if left is not None:
            wait = min(wait, max(0.0, left - _HASTE))
        latest = await self._now(request.name)
        try:
            async with asyncio.timeout(wait):
                await self._until_done(latest)
        except TimeoutError:
            pass
        return to_longrunning(await self._now(request.name))

    async def CancelOperation(  # noqa: N802
        self, request: operations_pb2.CancelOperationRequest, context: Any
    ) -> Empty:
        """Stop waiting for it."""
        del context
        async with self._transactions.database.transaction() as tx:
            await self._operations.cancel(tx, await self._read(tx, request.name))
        return Empty()

    async def DeleteOperation(  # noqa: N802
        self, request: operations_pb2.DeleteOperationRequest, context: Any
    ) -> Empty:
        """Forget it; what it is about goes on."""
        del context
        async with self._transactions.database.transaction() as tx:
            record = await self._read(tx, request.name)
            await self._records.remove(tx, record.stored.name)
        return Empty()

    async def _now(self, name: str) -> operation_pb2.Operation:
        async with self._transactions.database.snapshot() as tx:
            record = await self._read(tx, name)
        operation: operation_pb2.Operation = record.message
        operation.etag = etag_of(record.stored.revision)
        return operation

    async def _until_done(self, operation: operation_pb2.Operation) -> None:
        steps = self._feed.watch(parent=operation.name, kinds=(Kind.OPERATION.value,))
        async for step in steps:
            if step.name != operation.name:
                continue
            latest = operation_pb2.Operation.FromString(step.payload)
            if _is_done(latest) or step.type.name == "DELETED":
                return

    async def _read(self, tx: Transaction, name: str) -> Record:
        collection_of(Kind.OPERATION).parse(name)
        record = await self._records.get(tx, name)
        if record is None:
            raise NotFound(f"{name} does not exist", metadata={"name": name})
        return record


def to_longrunning(operation: operation_pb2.Operation) -> operations_pb2.Operation:
    """An operation as ``google.longrunning`` has it; the whole resource is its metadata."""
    answer = operations_pb2.Operation(name=operation.name, done=_is_done(operation))
    answer.metadata.Pack(operation)
    if operation.HasField("error"):
        answer.error.CopyFrom(operation.error)
    elif answer.done:
        answer.response.Pack(deletion_pb2.StartDeletionResponse(cells=operation.cells))
    return answer


def _is_done(operation: operation_pb2.Operation) -> bool:
    return operation.state != operation_pb2.Operation.RUNNING


def _obstacle(name: str, obstacle: Obstacle) -> plan_pb2.DeletionObstacle:
    refers = obstacle.relation is Relation.REFERS
    inside = f" ({obstacle.target})" if refers and obstacle.target != name else ""
    message = (
        f"{obstacle.resource} refers to it{inside} by {obstacle.field}: change or delete it first"
        if refers
        else f"{obstacle.resource} belongs to it: delete it first, or use force"
    )
    return plan_pb2.DeletionObstacle(
        resource=obstacle.resource,
        relation=_RELATIONS[obstacle.relation],
        field=obstacle.field,
        message=message,
    )


_DELETABLE: Final = frozenset(
    {
        Kind.ORGANIZATION,
        Kind.ENVIRONMENT,
        Kind.DEPLOYMENT_PIPELINE,
        Kind.PROJECT,
        Kind.SECRET_REFERENCE,
        Kind.COMPONENT,
        Kind.DEPLOYMENT,
        Kind.ACCESS_GRANT,
        Kind.EVENT_SUBSCRIPTION,
    }
)


def _check(name: str) -> Kind:
    kind = kind_of(name)
    if kind is None:
        raise _wrong(name, "it is no resource: write one such as organizations/acme/projects/shop")
    if kind not in _DELETABLE:
        raise _wrong(name, f"a {kind.value} is not deleted by anybody: it goes with what made it")
    collection_of(kind).parse(name)
    return kind


def _wrong(name: str, message: str) -> Invalid:
    problem = Problem(
        reason="NAME_INVALID", message=f'name "{name}": {message}', field="name", value=name
    )
    return Invalid(problem.message, problems=[problem], metadata={"name": name})
