"""Makes Cells whole: takes what is resolved into a new revision, or says what is in the way.

A revision is one step of the feed of Cells, in the transaction that stores what it stands for. A
Cell begins with its first deployed component and ends with its last; another life of the same name
counts on, so that a delta never mixes two lives.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from cellplane.api.model.v1 import cell_pb2
from cellplane.api.type.v1 import problem_pb2
from cellplane.cell.cell import CellFrame, OutboundConnection, ResolvedComponent
from cellplane.cell.names import CellName, last_segment
from cellplane.cell.plane import EXTERNAL_SECRETS
from cellplane.cell.problem import Problem
from cellplane.cell.requirement import PlacementRequirement, narrow
from cellplane.model.batch import Batch
from cellplane.model.cells import compliant_condition, resolved_condition
from cellplane.model.compliance import Compliance
from cellplane.model.convert import Codecs
from cellplane.model.domain.kinds import Kind, organization_of
from cellplane.model.domain.resolve import frame as make_frame
from cellplane.model.domain.resolve import outbound_of
from cellplane.model.domain.resources import Environment, Organization, Project
from cellplane.model.records import Record, Records
from cellplane.model.repository import CellRow, DeployedRow, Repository
from cellplane.store.database import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """What Cells of one environment belong to, as it is after a batch."""

    organization: Organization
    environment: Environment
    batch: Batch


class Whole:
    """Settles Cells inside of transactions."""

    def __init__(
        self,
        codecs: Codecs,
        repository: Repository,
        records: Records,
        compliance: Compliance,
        on_change: Callable[[], None],
    ) -> None:
        self._codecs = codecs
        self._repository = repository
        self._records = records
        self._compliance = compliance
        self._on_change = on_change

    async def look_up(
        self, tx: Transaction, batch: Batch, environment: str, cells: Collection[str]
    ) -> Owners | None:
        """Read what the Cells of an environment belong to, and these Cells; ``None`` without it."""
        organization = organization_of(environment)
        await batch.look_up(tx, {environment, organization, *cells, *map(_project_of, cells)})
        own = batch.resource(Kind.ENVIRONMENT, environment)
        owner = batch.resource(Kind.ORGANIZATION, organization)
        if not isinstance(own, Environment) or not isinstance(owner, Organization):
            return None
        return Owners(organization=owner, environment=own, batch=batch)

    async def settle(
        self,
        tx: Transaction,
        owners: Owners,
        cells: Collection[str],
        changed: Sequence[DeployedRow],
    ) -> None:
        """Bring Cells to their next revision, if they are whole.

        Args:
            tx: The transaction.
            owners: What was looked up before.
            cells: Cells whose frame or requirement may differ.
            changed: Components that differ, as they are stored now.
        """
        by_cell: dict[str, list[DeployedRow]] = {name: [] for name in cells}
        for one in changed:
            by_cell.setdefault(one.cell, []).append(one)
        if not by_cell:
            return
        await owners.batch.look_up(tx, {*by_cell, *map(_project_of, by_cell)})
        rows = await self._repository.read_cells(tx, by_cell)
        for name in sorted(by_cell):
            await self._settle(tx, owners, name, rows.get(name), by_cell[name])

    async def replace_frame(
        self, tx: Transaction, owners: Owners, row: CellRow, frame: CellFrame, revision: int
    ) -> None:
        """Write a revision of a Cell that is not whole: what was in force, less what is closed."""
        stored = self._codecs.frame_bytes(frame)
        wanted = replace(
            row,
            revision=revision,
            frame=stored,
            frame_revision=row.frame_revision if stored == row.frame else revision,
            target_projects=_targets(frame),
            sequence=await self._repository.next_sequence(tx),
        )
        await self._repository.write_cell(tx, wanted, is_new=False)
        tx.after_commit(self._on_change)
        problems: list[problem_pb2.Problem] = []
        for one in await self._repository.read_problems(tx, row.name):
            problems.extend(cell_pb2.Cell.FromString(one).problems)
        await owners.batch.look_up(tx, {row.name})
        # What is closed changes no component, so the platform's rules say what they said.
        violations = await self._compliance.violations(
            tx, (owners.organization, owners.environment), row.name
        )
        await self._show(tx, wanted, owners.batch.stored(row.name), problems, violations)

    async def _settle(
        self,
        tx: Transaction,
        owners: Owners,
        name: str,
        old: CellRow | None,
        changed: Sequence[DeployedRow],
    ) -> None:
        record = owners.batch.stored(name)
        row = old or CellRow(
            name=name, project=_project_of(name), environment=owners.environment.name
        )
        census = await self._repository.census(tx, name)
        if not census.deployed:
            await self._end(tx, row, record)
            return
        wanted = replace(row, is_deleted=False)
        problems: list[problem_pb2.Problem] = []
        if census.broken:
            for stored in await self._repository.read_problems(tx, name):
                problems.extend(cell_pb2.Cell.FromString(stored).problems)
        else:
            dirty: Sequence[DeployedRow] = [one for one in changed if one.is_dirty]
            if len(dirty) != census.dirty:
                # Some have waited since the Cell was broken.
                dirty = await self._repository.read_dirty(tx, name)
            wanted = await self._revise(tx, owners, wanted, dirty)
        if wanted.revision != row.revision:
            wanted = replace(wanted, sequence=await self._repository.next_sequence(tx))
            tx.after_commit(self._on_change)
        if wanted != old:
            await self._repository.write_cell(tx, wanted, is_new=old is None)
        violations = await self._compliance.violations(
            tx, (owners.organization, owners.environment), name
        )
        await self._show(tx, wanted, record, problems, violations)

    async def _revise(
        self,
        tx: Transaction,
        owners: Owners,
        row: CellRow,
        changed: Sequence[DeployedRow],
    ) -> CellRow:
        project = owners.batch.resource(Kind.PROJECT, row.project)
        name = CellName.parse(row.name)
        if name is None:
            raise ValueError(f'"{row.name}" is not the name of a Cell')
        held = self._codecs.frame_of(row.frame) if row.frame else None
        outbound: list[OutboundConnection] = []
        gone = {last_segment(r.component) for r in changed}
        outbound += [o for o in (held.outbound if held else ()) if o.component not in gone]
        fresh = [self._codecs.resolved_of(r.resolved) for r in changed if r.resolved is not None]
        outbound += [o for component in fresh for o in outbound_of(component)]
        frame = make_frame(name, owners.organization, owners.environment, outbound)
        stored = self._codecs.frame_bytes(frame)
        asked = narrow(
            (
                owners.organization.placement,
                owners.environment.placement,
                project.placement if isinstance(project, Project) else None,
                PlacementRequirement(capabilities=await self._capabilities(tx, row, fresh)),
            )
        )
        requirement = self._codecs.requirement_bytes(asked)
        if not changed and stored == row.frame and requirement == row.requirement:
            return row
        revision = row.revision + 1
        if changed:
            await self._repository.want_dirty(tx, row.name, revision)
        return replace(
            row,
            revision=revision,
            floor=row.floor or revision,
            frame=stored,
            frame_revision=row.frame_revision if stored == row.frame else revision,
            requirement=requirement,
            target_projects=_targets(frame),
        )

    async def _capabilities(
        self, tx: Transaction, row: CellRow, fresh: Sequence[ResolvedComponent]
    ) -> tuple[str, ...]:
        """What follows from the components: whoever cannot fetch secrets is not chosen."""
        if any(_needs_secrets(component) for component in fresh):
            return (EXTERNAL_SECRETS,)
        before = self._codecs.requirement_of(row.requirement) if row.requirement else None
        if before is None or EXTERNAL_SECRETS not in before.capabilities:
            return ()
        has_some = await self._repository.has_secrets(tx, row.environment, row.project)
        return (EXTERNAL_SECRETS,) if has_some else ()

    async def _end(self, tx: Transaction, row: CellRow, record: Record | None) -> None:
        if record is None:
            return
        await self._repository.forget_deployed(tx, row.name)
        await self._repository.forget_status(tx, row.name)
        revision = row.revision + 1
        await self._repository.write_cell(
            tx,
            replace(
                row,
                is_deleted=True,
                revision=revision,
                floor=revision + 1,
                frame=None,
                frame_revision=revision,
                requirement=None,
                target_projects=(),
                sequence=await self._repository.next_sequence(tx),
            ),
            is_new=False,
        )
        await self._records.remove(tx, row.name)
        tx.after_commit(self._on_change)

    async def _show(
        self,
        tx: Transaction,
        row: CellRow,
        record: Record | None,
        problems: list[problem_pb2.Problem],
        violations: list[Problem] | None,
    ) -> None:
        """Write the Cell as a resource, if a user sees a difference."""
        before: cell_pb2.Cell | None = record.message if record else None
        name = CellName.parse(row.name)
        now = self._records.clock.now()
        conditions = [resolved_condition(before, problems, row.revision, now)]
        broken = [self._codecs.problem.to_wire(v) for v in violations or ()]
        if violations is not None:
            conditions.append(compliant_condition(before, broken, row.revision, now))
        cell = cell_pb2.Cell(
            name=row.name,
            project=row.project,
            environment=row.environment,
            namespace=name.namespace if name else "",
            revision=row.revision,
            problems=problems,
            violations=broken,
            conditions=conditions,
        )
        if before is not None:
            same = cell_pb2.Cell()
            same.CopyFrom(before)
            for output in ("uid", "create_time", "update_time", "etag"):
                same.ClearField(output)
            if same == cell:
                return
        await self._records.write(tx, cell, record.stored if record else None)


def _needs_secrets(component: ResolvedComponent) -> bool:
    """Managed resources have passwords, which the same operator makes."""
    own = component.type.definition if component.type is not None else None
    makes = own.resources if own is not None else ()
    return bool(component.secrets) or any(r.manifest.get("kind") == "ExternalSecret" for r in makes)


def _project_of(cell: str) -> str:
    return cell.rsplit("/cells/", 1)[0]


def _targets(frame: CellFrame) -> tuple[str, ...]:
    return tuple(
        sorted(
            {o.connection.organization.project for o in frame.outbound if o.connection.organization}
        )
    )
