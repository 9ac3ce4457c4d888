"""Operations: deletions that go on until every data plane has taken away what ended.

An operation is a resource, so that it outlives the process, is on the feed and in lists. Placement
says where a Cell that ended is left; what it says after a restart is the same, so that nothing but
the operation itself has to be kept. Those that ended are kept for a week.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from google.rpc import code_pb2

from cellplane.api.model.v1 import cell_pb2, operation_pb2
from cellplane.model.domain.kinds import Kind, organization_of
from cellplane.model.records import Record, Records
from cellplane.model.repository import Repository
from cellplane.rpc.identity import current_principal
from cellplane.store.database import Transaction
from cellplane.store.listing import read_page
from cellplane.store.resources import Resources

_KEPT: Final = timedelta(days=7)
_STRETCH: Final = 500
_RUNNING: Final = operation_pb2.Operation.RUNNING


class Operations:
    """Begins operations, and brings them to their end."""

    def __init__(self, resources: Resources, records: Records, repository: Repository) -> None:
        self._resources = resources
        self._records = records
        self._repository = repository

    async def places(self, tx: Transaction, cells: Collection[str]) -> dict[str, list[str]]:
        """Ids of the data planes that Cells are on, as far as was reported; none that never was."""
        rows = await self._repository.read_cells(tx, cells)
        seen = await self._repository.read_statuses(tx, cells)
        return {
            name: [p.data_plane for p in cell_pb2.Cell.FromString(seen[name]).data_planes]
            if name in seen
            else []
            for name, row in rows.items()
            if row.revision and not row.is_deleted
        }

    async def begin(
        self, tx: Transaction, target: str, ended: dict[str, list[str]]
    ) -> operation_pb2.Operation:
        """Keep an operation that waits for Cells to go from where they are."""
        organization = organization_of(target)
        await self._forget_old(tx, organization)
        operation = operation_pb2.Operation(
            name=f"{organization}/operations/o-{uuid.uuid4().hex[:20]}",
            target=target,
            creator=current_principal().spiffe,
            cells=[
                operation_pb2.CellRemoval(cell=cell, data_planes=planes)
                for cell, planes in sorted(ended.items())
            ],
        )
        now = self._records.clock.now()
        self._settle(operation, now)
        await self._records.write(tx, operation, None, now=now)
        return operation

    async def seen(self, tx: Transaction, cell: str, data_planes: Sequence[str]) -> None:
        """Note where a Cell that ended is left."""
        for record in await self._running(tx, organization_of(cell)):
            operation: operation_pb2.Operation = record.message
            before = operation.SerializeToString(deterministic=True)
            for removal in operation.cells:
                if removal.cell == cell:
                    removal.data_planes[:] = data_planes
                    removal.removed = not data_planes
            self._settle(operation, self._now(operation))
            if operation.SerializeToString(deterministic=True) != before:
                await self._records.write(tx, operation, record.stored)

    async def cancel(self, tx: Transaction, record: Record) -> None:
        """Stop waiting; one that ended stays as it is."""
        operation: operation_pb2.Operation = record.message
        if operation.state != _RUNNING:
            return
        operation.error.code = code_pb2.CANCELLED
        operation.error.message = (
            f"{operation.target} is deleted; that it is gone from its data planes was not awaited"
        )
        self._end(operation, operation_pb2.Operation.CANCELLED, "cancelled", self._now(operation))
        await self._records.write(tx, operation, record.stored)

    async def revive(self, tx: Transaction, cell: str) -> None:
        """A Cell is wanted again: nobody takes it away any more."""
        await self.seen(tx, cell, ())

    async def waited_for(self, tx: Transaction) -> list[str]:
        """Names of the Cells that operations wait for."""
        running = await self._running(tx, "")
        return sorted({c.cell for r in running for c in r.message.cells if not c.removed})

    def _now(self, operation: operation_pb2.Operation) -> datetime:
        """The time; never before the operation's own, also where the clock was put back."""
        begun = operation.create_time.ToDatetime(tzinfo=UTC)
        return max(self._records.clock.now(), begun)

    def _settle(self, operation: operation_pb2.Operation, now: datetime) -> None:
        left = [removal for removal in operation.cells if not removal.removed]
        if not left:
            self._end(operation, operation_pb2.Operation.SUCCEEDED, "done", now)
            operation.progress_percent = 100
            return
        operation.state = _RUNNING
        operation.reconciling = True
        operation.progress_percent = 100 - 100 * len(left) // len(operation.cells)
        where = sorted({plane for removal in left for plane in removal.data_planes})
        on = f" from {', '.join(where)}" if where else ""
        operation.step = f"waiting until {len(left)} of {len(operation.cells)} cells are gone{on}"

    def _end(
        self,
        operation: operation_pb2.Operation,
        state: operation_pb2.Operation.State.ValueType,
        step: str,
        now: datetime,
    ) -> None:
        operation.state = state
        operation.step = step
        operation.reconciling = False
        operation.end_time.FromDatetime(now)

    async def _running(self, tx: Transaction, organization: str) -> list[Record]:
        return [r for r in await self._all(tx, organization) if r.message.state == _RUNNING]

    async def _forget_old(self, tx: Transaction, organization: str) -> None:
        limit = self._records.clock.now() - _KEPT
        for record in await self._all(tx, organization):
            ended = record.message.state != _RUNNING
            if ended and record.stored.update_time < limit:
                await self._records.remove(tx, record.stored.name)

    async def _all(self, tx: Transaction, organization: str) -> list[Record]:
        found: list[Record] = []
        after = ""
        while True:
            rows = await read_page(
                tx,
                self._resources,
                kind=Kind.OPERATION.value,
                parent=organization,
                after=(after,) if after else (),
                limit=_STRETCH,
            )
            found += [
                Record(stored=row, message=operation_pb2.Operation.FromString(row.payload))
                for row in rows
            ]
            if len(rows) < _STRETCH:
                return found
            after = rows[-1].name
