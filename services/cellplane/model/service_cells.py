"""Cells on the wire: what is wanted of them, and what was seen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from cellplane.api.model.v1 import cell_pb2, cell_pb2_grpc
from cellplane.api.type.v1 import placement_pb2, resolved_cell_pb2
from cellplane.cell.names import CellName, last_segment
from cellplane.cell.problem import FailedPrecondition, Invalid, NotFound, Precondition, Problem
from cellplane.model.cell_feed import CellFeed, CellStep, StepType
from cellplane.model.cells import is_same_to_a_user, status_of, view
from cellplane.model.convert import write
from cellplane.model.domain.kinds import Kind, pattern
from cellplane.model.operations import Operations
from cellplane.model.promotions.facts import note_health
from cellplane.model.records import Record, Records
from cellplane.model.repository import CellRow, Repository
from cellplane.model.writes import collection_of
from cellplane.resource.batches import batch
from cellplane.resource.lists import page, read_query
from cellplane.resource.standard import etag_of
from cellplane.resource.stored import StoredSource, computed_fields
from cellplane.rpc.pagination import PageTokens
from cellplane.store.database import Database, Transaction
from cellplane.store.resources import Resources, Stored

_STEPS: Mapping[StepType, cell_pb2.WatchCellsResponse.Type.ValueType] = {
    StepType.WANTED: cell_pb2.WatchCellsResponse.WANTED,
    StepType.DELETED: cell_pb2.WatchCellsResponse.DELETED,
    StepType.SYNCED: cell_pb2.WatchCellsResponse.SYNCED,
    StepType.BOOKMARK: cell_pb2.WatchCellsResponse.BOOKMARK,
}
_CELLS = collection_of(Kind.CELL)
_COMPUTED = computed_fields(cell_pb2.Cell) - {"project", "environment", "namespace"} | {"etag"}


class Cells:
    """Reads of Cells as users see them."""

    def __init__(self, database: Database, resources: Resources, repository: Repository) -> None:
        self._database = database
        self._resources = resources
        self._repository = repository

    async def read(self, tx: Transaction, name: str) -> cell_pb2.Cell:
        """One Cell; raises ``NotFound``."""
        stored = await self._resources.get(tx, name)
        if stored is None:
            raise NotFound(
                f"{name} does not exist: deploy a component to its environment first",
                metadata={"name": name},
            )
        return (await self.views(tx, [stored]))[0]

    async def views(self, tx: Transaction, found: Sequence[Stored]) -> list[cell_pb2.Cell]:
        """Cells with what was seen of them."""
        statuses = await self._repository.read_statuses(tx, [s.name for s in found])
        cells = []
        for stored in found:
            status = statuses.get(stored.name)
            cell = view(
                cell_pb2.Cell.FromString(stored.payload),
                None if status is None else cell_pb2.Cell.FromString(status),
            )
            cell.etag = etag_of(stored.revision)
            cells.append(cell)
        return cells


class CellService(cell_pb2_grpc.CellServiceServicer):
    """See ``model/v1/cell.proto``."""

    def __init__(
        self,
        database: Database,
        resources: Resources,
        records: Records,
        repository: Repository,
        feed: CellFeed,
        tokens: PageTokens,
        operations: Operations,
    ) -> None:
        self._database = database
        self._resources = resources
        self._records = records
        self._repository = repository
        self._feed = feed
        self._tokens = tokens
        self._operations = operations
        self._cells = Cells(database, resources, repository)

    async def GetCell(  # noqa: N802 - the contract's name
        self, request: cell_pb2.GetCellRequest, context: Any
    ) -> cell_pb2.Cell:
        """Read a Cell."""
        del context
        _check_name(request.name)
        async with self._database.snapshot() as tx:
            return await self._cells.read(tx, request.name)

    async def ListCells(  # noqa: N802
        self, request: cell_pb2.ListCellsRequest, context: Any
    ) -> cell_pb2.ListCellsResponse:
        """List Cells, by name."""
        del context
        _CELLS.parse_parent(request.parent, across=True)
        query = read_query(request, cell_pb2.Cell.DESCRIPTOR)
        async with self._database.snapshot() as tx:
            source = StoredSource(
                tx=tx,
                database=self._database,
                resources=self._resources,
                collection=_CELLS,
                parent=request.parent,
                query=query,
                view=lambda rows: self._cells.views(tx, rows),
                computed=_COMPUTED,
            )
            cells, token = await page(source, request, query, self._tokens, parent=request.parent)
        return cell_pb2.ListCellsResponse(cells=cells, next_page_token=token)

    async def BatchGetCells(  # noqa: N802
        self, request: cell_pb2.BatchGetCellsRequest, context: Any
    ) -> cell_pb2.BatchGetCellsResponse:
        """Read several Cells."""
        del context
        async with self._database.snapshot() as tx:
            found = await batch(tx, self._resources, _CELLS, request)
            return cell_pb2.BatchGetCellsResponse(cells=await self._cells.views(tx, found))

    async def GetResolvedCell(  # noqa: N802
        self, request: cell_pb2.GetResolvedCellRequest, context: Any
    ) -> resolved_cell_pb2.ResolvedCell:
        """Read a whole Cell, or what has changed of it since a revision."""
        del context
        _check_name(request.name)
        async with self._database.snapshot() as tx:
            row = (await self._repository.read_cells(tx, [request.name])).get(request.name)
            if row is None or row.is_deleted:
                await self._cells.read(tx, request.name)
            if row is None or row.frame is None:
                raise _not_whole(request.name)
            base = request.base_revision
            if not row.floor <= base <= row.revision:
                base = 0
            return await resolved_of(tx, self._repository, row, base)

    async def WatchCells(  # noqa: N802
        self, request: cell_pb2.WatchCellsRequest, context: Any
    ) -> AsyncIterator[cell_pb2.WatchCellsResponse]:
        """Tell of every wanted Cell and of each change."""
        del context
        async for step in self._feed.watch(request.resume_token):
            yield _step(step)

    async def ReportCellStatus(  # noqa: N802
        self, request: cell_pb2.ReportCellStatusRequest, context: Any
    ) -> cell_pb2.ReportCellStatusResponse:
        """Note what was observed; the Cell changes only if a user sees a difference."""
        del context
        _check_name(request.name)
        status = status_of(request.cell)
        async with self._database.transaction() as tx:
            record = await self._records.get(tx, request.name)
            if record is None:
                left = [plane.data_plane for plane in request.cell.data_planes]
                await self._operations.seen(tx, request.name, left)
            else:
                await self._note(tx, record, status)
        if record is None:
            raise NotFound(f"{request.name} does not exist", metadata={"name": request.name})
        return cell_pb2.ReportCellStatusResponse()

    async def _note(self, tx: Transaction, record: Record, status: cell_pb2.Cell) -> None:
        name = record.stored.name
        known = (await self._repository.read_statuses(tx, [name])).get(name)
        before = None if known is None else cell_pb2.Cell.FromString(known)
        if before is None:
            await self._operations.revive(tx, name)
        if before == status:
            return
        await self._repository.write_status(tx, name, write(status))
        await note_health(tx, before, status, name, self._records.clock.now())
        if not is_same_to_a_user(view(record.message, before), view(record.message, status)):
            await self._records.write(tx, record.message, record.stored)


async def resolved_of(
    tx: Transaction, repository: Repository, row: CellRow, base: int
) -> resolved_cell_pb2.ResolvedCell:
    """A Cell that is whole, or what has changed of it since a revision."""
    answer = resolved_cell_pb2.ResolvedCell(
        cell=row.name, revision=row.revision, base_revision=base
    )
    if not base or row.frame_revision > base:
        answer.frame.ParseFromString(row.frame or b"")
    for name, wanted in await repository.read_wanted(tx, row.name, base):
        if wanted is not None:
            answer.components.add().ParseFromString(wanted)
        elif base:
            answer.removed_components.append(last_segment(name))
    return answer


def _step(step: CellStep) -> cell_pb2.WatchCellsResponse:
    answer = cell_pb2.WatchCellsResponse(type=_STEPS[step.type], resume_token=step.token)
    if step.row is not None:
        answer.cell = step.row.name
        answer.revision = step.row.revision
        if step.type is StepType.WANTED:
            answer.placement.CopyFrom(
                placement_pb2.PlacementRequirement.FromString(step.row.requirement or b"")
            )
            answer.target_projects.extend(step.row.target_projects)
    return answer


def _check_name(name: str) -> None:
    if CellName.parse(name) is None:
        problem = Problem(
            reason="NAME_INVALID",
            message=f'"{name}" is not the name of a Cell: write {pattern(Kind.CELL)}',
            field="name",
            value=name,
        )
        raise Invalid(problem.message, problems=[problem], reason=problem.reason)


def _not_whole(name: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{name} has no whole revision yet: its problems say what is missing",
        reason="CELL_NOT_RESOLVED",
        preconditions=[
            Precondition(
                type="CELL_NOT_RESOLVED", subject=name, description="mend what its problems name"
            )
        ],
    )
