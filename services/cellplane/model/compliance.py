"""Keeps in sight who does not keep the platform's rules, and keeps out who is to come.

Whatever is written must keep the rules of wherever it is deployed by that: it is refused otherwise,
with every finding. A rule that comes later stops nothing that runs, and passes nothing: each Cell
that does not keep it says so until it does, and a component of it that is changed must keep it.

The table ``compliance`` has a row for each component that is deployed where rules are in force; a
change of a rule looks at the components of its own organization or environment alone.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

import sqlalchemy as sa

from cellplane.api.model.v1 import cell_pb2
from cellplane.cell.problem import Invalid, Problem, Severity
from cellplane.cell.rules import OwnedRules
from cellplane.model.batch import Batch, CauseType
from cellplane.model.convert import Codecs
from cellplane.model.domain.claimed import is_claim
from cellplane.model.domain.kinds import Kind, cell_name, organization_of, project_of
from cellplane.model.domain.resolve import Deployed
from cellplane.model.domain.resources import Component, Deployment, Environment, Organization
from cellplane.model.domain.rules import (
    QUANTITIES,
    Usage,
    in_force,
    judge,
    judge_cell,
    strictest,
    usage_of,
)
from cellplane.model.repository import Repository
from cellplane.model.tables import compliance
from cellplane.store.database import Transaction

_WARNED: Final = 50
"""Warnings of one change of rules at most; ``AnalyzePlatformRules`` tells all."""
_SOME: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    component: str
    cell: str
    cpu: int
    memory: int
    replicas: int
    storage: int
    violations: bytes | None


class Compliance:
    """Judges what is deployed, inside of transactions."""

    def __init__(self, codecs: Codecs, repository: Repository) -> None:
        self._codecs = codecs
        self._repository = repository

    async def judge(
        self,
        tx: Transaction,
        batch: Batch,
        owners: tuple[Organization, Environment],
        moves: Mapping[str, Deployed | None],
        *,
        everything: bool,
    ) -> set[str]:
        """Judge what moves, or everything of an environment; the Cells of which more is to say.

        Raises:
            Invalid: what moves takes more than a quota leaves.
        """
        environment = owners[1].name
        levels = in_force(*owners)
        if not levels and not everything:
            return set()
        components = {name: d.component if d else None for name, d in moves.items()}
        if everything:
            components = await self.deployed(tx, environment) | components
        old = await self._read(tx, environment, components)
        new = {
            name: self._row(environment, component, levels)
            for name, component in components.items()
            if component is not None and levels
        }
        changed = {n for n in components if old.get(n) != new.get(n)}
        await self._write(tx, environment, changed, new)
        if levels and batch.cause.type is not CauseType.AUTOMATIC_ROLLBACK:
            await self._keep_quotas(tx, levels, moves, old, new)
        if everything:
            self._warn(batch, owners, old, new)
        cells = {str(_cell(name, environment)) for name in changed}
        return (
            cells
            if not everything
            else cells | set(await self._repository.cell_names(tx, environment=environment))
        )

    async def deployed(self, tx: Transaction, environment: str) -> dict[str, Component | None]:
        """Every component that is deployed in an environment, as it is there."""
        every = await self._repository.components_in(tx, environment)
        names = [name for name in every if not is_claim(name)]
        rows = await self._repository.read_deployed(tx, environment, names)
        return {
            name: self._codecs.component_of(row.written)
            for name, row in rows.items()
            if row.written is not None
        }

    async def violations(
        self, tx: Transaction, owners: tuple[Organization, Environment], cell: str
    ) -> list[Problem] | None:
        """What of a Cell does not keep the rules in force; ``None`` where there are none."""
        levels = in_force(*owners)
        if not levels:
            return None
        query = sa.select(compliance.c.violations).where(
            compliance.c.cell == cell, compliance.c.violations.is_not(None)
        )
        rows = (await tx.execute(query.order_by(compliance.c.component))).scalars()
        found = [
            self._codecs.problem.to_domain(problem)
            for stored in rows
            for problem in cell_pb2.Cell.FromString(stored).problems
        ]
        if _has_quota(levels):
            usage = (await self._usage(tx, [cell]))[cell]
            found += [_late(p) for p in judge_cell(cell, usage, levels)]
        return found

    def _row(self, environment: str, component: Component, levels: Sequence[OwnedRules]) -> _Row:
        usage = usage_of(component)
        found = [_late(problem) for problem in judge(component, levels)]
        return _Row(
            component=component.name,
            cell=str(_cell(component.name, environment)),
            **{q: math.ceil(getattr(usage, q)) for q in QUANTITIES},
            violations=self._codecs.problems_bytes(found) if found else None,
        )

    async def _read(
        self, tx: Transaction, environment: str, components: Collection[str]
    ) -> dict[str, _Row]:
        found: dict[str, _Row] = {}
        names = sorted(components)
        for start in range(0, len(names), _SOME):
            query = sa.select(compliance).where(
                compliance.c.environment == environment,
                compliance.c.component.in_(names[start : start + _SOME]),
            )
            for row in (await tx.execute(query)).mappings():
                values: dict[str, Any] = {k: v for k, v in row.items() if k != "environment"}
                found[row["component"]] = _Row(**values)
        return found

    async def _write(
        self, tx: Transaction, environment: str, changed: Iterable[str], new: Mapping[str, _Row]
    ) -> None:
        names = sorted(changed)
        if not names:
            return
        await tx.execute(
            sa.delete(compliance).where(
                compliance.c.environment == environment,
                compliance.c.component == sa.bindparam("c"),
            ),
            [{"c": name} for name in names],
        )
        rows = [
            {"environment": environment} | {s: getattr(new[n], s) for s in _Row.__slots__}
            for n in names
            if n in new
        ]
        if rows:
            await tx.execute(sa.insert(compliance), rows)

    async def _usage(self, tx: Transaction, cells: Collection[str]) -> dict[str, Usage]:
        c = compliance.c
        query = (
            sa.select(c.cell, *(sa.func.sum(c[quantity]) for quantity in QUANTITIES))
            .where(c.cell.in_(sorted(cells)))
            .group_by(c.cell)
        )
        found = dict.fromkeys(cells, Usage())
        for row in (await tx.execute(query)).all():
            sums: tuple[int, ...] = tuple(row[1:])
            values = (Fraction(int(amount)) for amount in sums)
            found[row[0]] = Usage(**dict(zip(QUANTITIES, values, strict=True)))
        return found

    async def _keep_quotas(
        self,
        tx: Transaction,
        levels: Sequence[OwnedRules],
        moves: Mapping[str, Deployed | None],
        old: Mapping[str, _Row],
        new: Mapping[str, _Row],
    ) -> None:
        """Refuse what takes more than is left; what gives back is welcome, whatever is left."""
        moved = [new[name] for name, deployed in moves.items() if deployed and name in new]
        if not moved or not _has_quota(levels):
            return
        usage = await self._usage(tx, {row.cell for row in moved})
        problems: list[Problem] = []
        for cell, used in sorted(usage.items()):
            own = [row for row in moved if row.cell == cell]
            for problem in judge_cell(cell, used, levels):
                quantity = _quantity_of(problem)
                problems += [
                    replace(problem, resource=row.component)
                    for row in own
                    if getattr(row, quantity) > (_of(old.get(row.component), quantity))
                ]
        if problems:
            raise Invalid(
                f"the quota of a Cell is used up: {problems[0].message}",
                problems=problems,
                reason="RESOURCE_INVALID",
            )

    def _warn(
        self,
        batch: Batch,
        owners: tuple[Organization, Environment],
        old: Mapping[str, _Row],
        new: Mapping[str, _Row],
    ) -> None:
        """Say whom a change of rules breaks, at the resource that has the rules."""
        names = sorted(n for n, row in new.items() if row.violations)
        fresh = [n for n in names if old.get(n) is None or old[n].violations != new[n].violations]
        changed = [o.name for o in owners if o.name in batch.by_name]
        for owner in changed:
            for name in fresh[:_WARNED]:
                stored = cell_pb2.Cell.FromString(new[name].violations or b"")
                for problem in stored.problems:
                    batch.warnings.append(
                        Problem(
                            reason=problem.reason,
                            field="rules",
                            resource=owner,
                            severity=Severity.WARNING,
                            message=f"{name} in {_last(owners[1].name)} does not keep it and runs "
                            f"on: {problem.field}: {problem.message}",
                        )
                    )


class Admission:
    """Finds what of a batch does not keep the rules of where it goes."""

    def __init__(self, codecs: Codecs) -> None:
        self._codecs = codecs

    async def check(
        self,
        tx: Transaction,
        batch: Batch,
        deployments: Iterable[tuple[str, str, Component]],
    ) -> list[tuple[str, Problem]]:
        """Every violation of components, each with the name of the resource that is refused.

        Args:
            tx: The transaction.
            batch: Knows the organizations and environments.
            deployments: Resource that is written, environment or none, and the component there.
        """
        wanted = list(deployments)
        await batch.look_up(tx, {n for name, e, _ in wanted for n in (organization_of(name), e)})
        found: dict[tuple[str, str, str], tuple[str, Problem]] = {}
        levels: dict[tuple[str, str], Sequence[OwnedRules]] = defaultdict(tuple)
        for name, environment, component in wanted:
            key = (organization_of(name), environment)
            if key not in levels:
                own = batch.resource(Kind.ORGANIZATION, key[0])
                place = batch.resource(Kind.ENVIRONMENT, environment) if environment else None
                levels[key] = (
                    in_force(own, place if isinstance(place, Environment) else None)
                    if isinstance(own, Organization)
                    else ()
                )
            written = batch.resource(Kind.DEPLOYMENT, name) if "/deployments/" in name else None
            for problem in judge(component, levels[key]):
                told = _placed(problem, written) if isinstance(written, Deployment) else problem
                found.setdefault((name, told.reason, told.message), (name, told))
        return list(found.values())


def _placed(problem: Problem, deployment: Deployment) -> Problem:
    """A finding about a component, where the deployment says so: its override, or its release."""
    own = problem.field.removeprefix("workload.")
    top = own.partition(".")[0].partition("[")[0]
    if getattr(deployment.overrides, top, None):
        return replace(problem, field=f"overrides.{own}")
    return replace(problem, field="release", message=f"{problem.field}: {problem.message}")


def _late(problem: Problem) -> Problem:
    return replace(problem, severity=Severity.WARNING)


def _of(row: _Row | None, quantity: str) -> int:
    value: int = getattr(row, quantity) if row is not None else 0
    return value


def _quantity_of(problem: Problem) -> str:
    return next(q for q in QUANTITIES if f"cell_quota.{q} " in problem.message)


def _has_quota(levels: Sequence[OwnedRules]) -> bool:
    return any(strictest(q, levels, lambda x: x.rules.cell_quota) for q in QUANTITIES)


def _cell(component: str, environment: str) -> Any:
    return cell_name(project_of(component), _last(environment))


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]
