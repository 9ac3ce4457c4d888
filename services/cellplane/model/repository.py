"""The model's own state beside resources; each method is a few statements of one transaction.

``mentions`` says who writes whose name. ``calls`` says, by environment, what a deployed component
needs: endpoints of components, and keys of secret references. ``routes`` says what it claims, so
that no other has it: a public host and path, or in its Cell the kind and name of an object.
``deployed`` holds, by environment and component, what is deployed (``written``), what it resolves
to now (``resolved``, or ``problems``), and what the Cell's last whole revision holds of it
(``wanted``): a row is dirty while the two differ. A row whose component is gone stays as a
tombstone until its Cell ends, so that a delta can name it. ``sequence`` counts over all Cells in
the order of commits: a watcher reads what is behind its own number.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cellplane.model.domain.claims import Claim
from cellplane.model.domain.references import Reference
from cellplane.model.domain.resolve import EndpointKey
from cellplane.model.statements import (
    CENSUS,
    INSERT_DEPLOYED,
    NEXT_SEQUENCE,
    SELECT_CALLERS,
    SELECT_CELLS,
    SELECT_DEPLOYED,
    UPDATE_CELL,
    UPDATE_DEPLOYED,
    WANT_DIRTY,
)
from cellplane.model.tables import (
    calls,
    cells,
    counters,
    deployed,
    mentions,
    routes,
    soaks,
    statuses,
)
from cellplane.store.database import Transaction

_MANY = 400
"""Values in one ``IN`` at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedRow:
    """A component in an environment."""

    environment: str
    component: str
    cell: str
    release: str = ""
    is_deployed: bool = False
    is_dirty: bool = False
    changed_revision: int = 0
    written: bytes | None = None
    problems: bytes | None = None
    resolved: bytes | None = None
    wanted: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRow:
    """A Cell as it is wanted."""

    name: str
    project: str
    environment: str
    is_deleted: bool = False
    revision: int = 0
    """0 until it was whole for the first time."""
    floor: int = 0
    """Deltas start here at the earliest: before is another life of the Cell."""
    frame_revision: int = 0
    sequence: int = 0
    frame: bytes | None = None
    requirement: bytes | None = None
    target_projects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """How many components of a Cell are deployed, broken, and not in its last revision yet."""

    deployed: int
    broken: int
    dirty: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A resource that writes another's name."""

    source: str
    field: str
    target: str
    endpoint: str


class Repository:
    """Reads and writes of the model's own tables."""

    # Who mentions whom.

    async def write_mentions(
        self, tx: Transaction, source: str, references: Iterable[Reference]
    ) -> None:
        """Replace what *source* mentions."""
        await tx.execute(sa.delete(mentions).where(mentions.c.source == source))
        rows = [
            {"source": source, "field": r.field, "target": r.target, "endpoint": r.endpoint}
            for r in references
        ]
        if rows:
            await tx.execute(sa.insert(mentions), rows)

    async def read_mentions(self, tx: Transaction, targets: Collection[str]) -> list[Mention]:
        """Who mentions any of *targets*, by name."""
        found: list[Mention] = []
        for some in _chunks(sorted(targets)):
            query = sa.select(mentions).where(mentions.c.target.in_(some))
            found += [Mention(**row) for row in _mappings(await tx.execute(query))]
        return sorted(found, key=lambda m: (m.source, m.field))

    # What is deployed.

    async def read_deployed(
        self, tx: Transaction, environment: str, components: Collection[str]
    ) -> dict[str, DeployedRow]:
        """Rows of these components in an environment, by name."""
        values = {"environment": environment, "components": sorted(components)}
        rows = await tx.fetch(SELECT_DEPLOYED, values)
        return {row.component: _deployed_row(row._asdict()) for row in rows}

    async def write_deployed(
        self, tx: Transaction, rows: Sequence[DeployedRow], known: Collection[str]
    ) -> None:
        """Write rows; those of the components *known* are there already."""
        fresh = [_deployed_values(row) for row in rows if row.component not in known]
        await tx.change_each(INSERT_DEPLOYED, fresh)
        old = [_deployed_values(row) for row in rows if row.component in known]
        await tx.change_each(
            UPDATE_DEPLOYED, [{f"b_{name}": v for name, v in one.items()} for one in old]
        )

    async def components_in(self, tx: Transaction, environment: str) -> list[str]:
        """Names of all components that are deployed in an environment."""
        query = sa.select(deployed.c.component).where(
            deployed.c.environment == environment, deployed.c.is_deployed
        )
        return sorted((await tx.execute(query)).scalars())

    async def census(self, tx: Transaction, cell: str) -> Census:
        """Count a Cell's components; reads an index alone."""
        rows = await tx.fetch(CENSUS, {"cell": cell})
        return Census(
            deployed=sum(n for is_deployed, _, _, n in rows if is_deployed),
            broken=sum(n for _, is_broken, _, n in rows if is_broken),
            dirty=sum(n for _, _, is_dirty, n in rows if is_dirty),
        )

    async def read_dirty(self, tx: Transaction, cell: str) -> list[DeployedRow]:
        """Rows that wait for a whole revision."""
        query = sa.select(deployed).where(
            deployed.c.cell == cell,
            deployed.c.is_deployed.in_((True, False)),
            deployed.c.is_broken.in_((True, False)),
            deployed.c.is_dirty,
        )
        return [_deployed_row(row) for row in _mappings(await tx.execute(query))]

    async def read_problems(self, tx: Transaction, cell: str) -> list[bytes]:
        """Problems of a Cell's components, by component."""
        query = (
            sa.select(deployed.c.problems)
            .where(deployed.c.cell == cell, deployed.c.is_deployed, deployed.c.is_broken)
            .order_by(deployed.c.component)
        )
        return list((await tx.execute(query)).scalars())

    async def want_dirty(self, tx: Transaction, cell: str, revision: int) -> None:
        """Take what is resolved into a whole revision."""
        await tx.change(WANT_DIRTY, {"b_cell": cell, "b_revision": revision})

    async def read_wanted(
        self, tx: Transaction, cell: str, after: int
    ) -> list[tuple[str, bytes | None]]:
        """Components that changed behind a revision: name and what is wanted, or none if gone."""
        query = (
            sa.select(deployed.c.component, deployed.c.wanted)
            .where(deployed.c.cell == cell, deployed.c.changed_revision > after)
            .order_by(deployed.c.component)
        )
        return [(name, wanted) for name, wanted in _tuples(await tx.execute(query))]

    async def forget_deployed(self, tx: Transaction, cell: str) -> None:
        """Forget the rows of a Cell that ends, tombstones too."""
        await tx.execute(sa.delete(deployed).where(deployed.c.cell == cell))

    # Who needs what, and who claims what.

    async def write_calls(
        self, tx: Transaction, environment: str, changed: Mapping[str, Collection[EndpointKey]]
    ) -> None:
        """Replace what each of these components needs."""
        if not changed:
            return
        await tx.execute(
            sa.delete(calls).where(
                calls.c.environment == environment, calls.c.caller == sa.bindparam("c")
            ),
            [{"c": caller} for caller in changed],
        )
        rows = [
            {"environment": environment, "caller": c, "target": target, "endpoint": endpoint}
            for c, called in changed.items()
            for target, endpoint in sorted(called)
        ]
        if rows:
            await tx.execute(sa.insert(calls), rows)

    async def read_callers(
        self, tx: Transaction, environment: str, targets: Collection[str]
    ) -> list[tuple[str, str, str]]:
        """Who needs which part of any of *targets*: caller, target, and endpoint or key."""
        values = {"environment": environment, "targets": sorted(targets)}
        return await tx.fetch(SELECT_CALLERS, values) if targets else []

    async def has_secrets(self, tx: Transaction, environment: str, project: str) -> bool:
        """Tell whether anything of a project that is deployed in an environment reads a secret."""
        places = [f"{project}/{kind}" for kind in ("secretReferences", "resourceClaims")]
        below = (sa.and_(calls.c.target > f"{p}/", calls.c.target < f"{p}0") for p in places)
        query = (
            sa.select(calls.c.target)
            .where(calls.c.environment == environment, sa.or_(*below))
            .limit(1)
        )
        return (await tx.execute(query)).first() is not None

    async def write_routes(
        self, tx: Transaction, environment: str, changed: Mapping[str, Mapping[str, Claim]]
    ) -> None:
        """Replace what each of these components claims."""
        if not changed:
            return
        await tx.execute(
            sa.delete(routes).where(
                routes.c.environment == environment, routes.c.component == sa.bindparam("c")
            ),
            [{"c": component} for component in changed],
        )
        rows = [
            {
                "environment": environment,
                "component": component,
                "endpoint": endpoint,
                "host": host,
                "path": path,
            }
            for component, own in changed.items()
            for endpoint, (host, path) in own.items()
        ]
        if rows:
            await tx.execute(sa.insert(routes), rows)

    async def read_routes(
        self, tx: Transaction, environment: str, wanted: Collection[Claim]
    ) -> dict[Claim, list[EndpointKey]]:
        """Who claims each of these."""
        found: dict[Claim, list[EndpointKey]] = {}
        for some in _chunks(sorted({host for host, _ in wanted})):
            query = sa.select(routes).where(
                routes.c.environment == environment, routes.c.host.in_(some)
            )
            for row in _mappings(await tx.execute(query)):
                route = (row["host"], row["path"])
                found.setdefault(route, []).append((row["component"], row["endpoint"]))
        return {route: found[route] for route in wanted if route in found}

    # Cells.

    async def read_cells(self, tx: Transaction, names: Collection[str]) -> dict[str, CellRow]:
        """Rows of these Cells, by name; deleted ones too."""
        rows = await tx.fetch(SELECT_CELLS, {"names": sorted(names)})
        return {row.name: _cell_row(row._asdict()) for row in rows}

    async def cell_names(
        self, tx: Transaction, *, environment: str = "", project: str = "", organization: str = ""
    ) -> list[str]:
        """Names of the Cells that an environment, a project or an organization has."""
        query = sa.select(cells.c.name).where(~cells.c.is_deleted)
        if environment:
            query = query.where(cells.c.environment == environment)
        if project:
            query = query.where(cells.c.project == project)
        if organization:
            query = query.where(
                cells.c.name > f"{organization}/", cells.c.name < f"{organization}0"
            )
        return sorted((await tx.execute(query)).scalars())

    async def write_cell(self, tx: Transaction, row: CellRow, *, is_new: bool) -> None:
        """Write the row of a Cell, in place of the one that is there unless it is new."""
        values: dict[str, Any] = {name: getattr(row, name) for name in CellRow.__slots__}
        values["target_projects"] = json.dumps(row.target_projects)
        if is_new:
            await tx.execute(sa.insert(cells), values)
        else:
            await tx.change(UPDATE_CELL, {f"b_{name}": v for name, v in values.items()})

    async def next_sequence(self, tx: Transaction) -> int:
        """The next number of the feed of Cells.

        The counter's row stays locked until the transaction ends: numbers become visible in order.
        """
        value: int = (await tx.fetch(NEXT_SEQUENCE))[0].value
        return value

    async def read_feed(
        self, tx: Transaction, after: int, limit: int, *, with_deleted: bool
    ) -> list[CellRow]:
        """Cells whose number is behind *after*, in its order."""
        query = sa.select(cells).where(cells.c.sequence > after)
        if not with_deleted:
            query = query.where(~cells.c.is_deleted)
        query = query.order_by(cells.c.sequence).limit(limit)
        return [_cell_row(row) for row in _mappings(await tx.execute(query))]

    async def last_sequence(self, tx: Transaction) -> int:
        """The number of the last change of any Cell."""
        query = sa.select(counters.c.value).where(counters.c.counter == "cells")
        value: int = (await tx.execute(query)).scalar_one()
        return value

    # What was observed.

    async def read_statuses(self, tx: Transaction, names: Collection[str]) -> dict[str, bytes]:
        """The last report of each of these Cells."""
        found: dict[str, bytes] = {}
        for some in _chunks(sorted(names)):
            query = sa.select(statuses).where(statuses.c.cell.in_(some))
            found |= dict(_tuples(await tx.execute(query)))
        return found

    async def write_status(self, tx: Transaction, cell: str, status: bytes) -> None:
        """Replace the last report of a Cell."""
        updated = await tx.execute(
            sa.update(statuses).where(statuses.c.cell == cell).values(status=status)
        )
        if not updated.rowcount:
            await tx.execute(sa.insert(statuses), {"cell": cell, "status": status})

    async def forget_status(self, tx: Transaction, cell: str) -> None:
        """Forget the report of a Cell that ends."""
        await tx.execute(sa.delete(statuses).where(statuses.c.cell == cell))
        await tx.execute(sa.delete(soaks).where(soaks.c.cell == cell))


def _tuples(result: sa.CursorResult[Any]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in result.all()]


def _mappings(result: sa.CursorResult[Any]) -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in result.all()]


def _deployed_row(row: Mapping[str, Any]) -> DeployedRow:
    return DeployedRow(**{name: row[name] for name in DeployedRow.__slots__})


def _deployed_values(row: DeployedRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in DeployedRow.__slots__}
    return values | {"is_broken": row.problems is not None}


def _cell_row(row: Mapping[str, Any]) -> CellRow:
    values: dict[str, Any] = {name: row[name] for name in CellRow.__slots__}
    values["target_projects"] = tuple(json.loads(row["target_projects"]))
    return CellRow(**values)


def _chunks(values: Sequence[str]) -> Iterable[Sequence[str]]:
    for start in range(0, len(values), _MANY):
        yield values[start : start + _MANY]
