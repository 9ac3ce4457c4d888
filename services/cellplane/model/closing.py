"""Closes what a grant opened where a Cell is broken, and so keeps its last whole revision.

What resolves again closes by itself. This is for what does not: the path is taken out of the
revision that is in force, at the side that offers and at the side that connects, so that either is
enough where the other's data plane cannot be reached.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from cellplane.cell.cell import CellFrame, ResolvedComponent
from cellplane.model.batch import Batch
from cellplane.model.catalog.in_force import read_grants
from cellplane.model.convert import Codecs
from cellplane.model.domain.close import Path, close_consumer, close_provider
from cellplane.model.domain.kinds import cell_name, project_of
from cellplane.model.repository import CellRow, DeployedRow, Repository
from cellplane.model.whole import Whole
from cellplane.store.database import Transaction


class Closer:
    """Closes paths inside of transactions, after whatever resolves was settled."""

    def __init__(self, codecs: Codecs, repository: Repository, whole: Whole) -> None:
        self._codecs = codecs
        self._repository = repository
        self._whole = whole

    async def close(
        self, tx: Transaction, batch: Batch, path: Path, environments: Collection[str]
    ) -> None:
        """Close a path in each environment where no other grant opens it."""
        for environment in sorted(environments):
            held = await read_grants(tx, environment, {path.provider})
            if (path.provider, path.endpoint, path.consumer) in held:
                continue
            own = environment.rsplit("/", 1)[-1]
            provider = str(cell_name(project_of(path.provider), own))
            consumer = str(cell_name(path.consumer, own))
            cells = await self._repository.read_cells(tx, {provider, consumer})
            for name in sorted(cells):
                await self._close(tx, batch, environment, cells[name], path)

    async def _close(
        self, tx: Transaction, batch: Batch, environment: str, cell: CellRow, path: Path
    ) -> None:
        if cell.is_deleted or not cell.frame:
            return
        frame = self._codecs.frame_of(cell.frame)
        closed: dict[str, bytes] = {}
        for component, wanted in await self._repository.read_wanted(tx, cell.name, -1):
            if wanted is None:
                continue
            left = self._without(frame, component, self._codecs.resolved_of(wanted), cell, path)
            if left is not None:
                closed[component] = self._codecs.resolved_bytes(left)
        if closed:
            await self._write(tx, batch, environment, cell, frame, closed, path)

    def _without(
        self,
        frame: CellFrame,
        name: str,
        component: ResolvedComponent,
        cell: CellRow,
        path: Path,
    ) -> ResolvedComponent | None:
        """The component without the path; ``None`` if it has no part in it."""
        left = component
        if name == path.provider:
            left = close_provider(left, path)
        elif cell.project == path.consumer:
            left = close_consumer(frame, left, path)
        return None if left == component else left

    async def _write(
        self,
        tx: Transaction,
        batch: Batch,
        environment: str,
        cell: CellRow,
        frame: CellFrame,
        closed: Mapping[str, bytes],
        path: Path,
    ) -> None:
        revision = cell.revision + 1
        rows = await self._repository.read_deployed(tx, environment, closed)
        changed = [_closed(row, closed[row.component], revision) for row in rows.values()]
        await self._repository.write_deployed(tx, changed, rows.keys())
        gone = cell.project == path.consumer
        outbound = tuple(o for o in frame.outbound if not (gone and path.leads(o.connection)))
        owners = await self._whole.look_up(tx, batch, environment, {cell.name})
        if owners is not None:
            left = replace(frame, outbound=outbound)
            await self._whole.replace_frame(tx, owners, cell, left, revision)


def _closed(row: DeployedRow, wanted: bytes, revision: int) -> DeployedRow:
    waits = row.resolved != wanted if row.resolved is not None else row.is_dirty
    return replace(row, wanted=wanted, changed_revision=revision, is_dirty=waits)
