"""What was deployed where, by whom and why: one row for each change of a deployment, for good.

Every deployment passes ``Effects``, which writes here in the same transaction: played again from
its beginning, the history is what is deployed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from cellplane.api.model.v1 import deployment_change_pb2 as pb
from cellplane.model.batch import Cause, Change
from cellplane.model.convert import write
from cellplane.model.domain.kinds import environment_name, organization_of
from cellplane.model.tables import deployment_changes
from cellplane.rpc.identity import CallerKind, Principal, current_principal
from cellplane.rpc.pagination import Cursor
from cellplane.runtime.clock import Clock
from cellplane.store.database import Transaction
from cellplane.store.prepared import Prepared

SEGMENT = "/deploymentChanges/"
_c = deployment_changes.c
_INSERT = Prepared(
    sa.insert(deployment_changes).values(
        {c.name: sa.bindparam(c.name, type_=c.type) for c in _c if c.name != "number"}
    )
)


def named(principal: Principal) -> str:
    """A caller as gates and the history write it: ``users/ann``; empty for nobody."""
    match principal.kind:
        case CallerKind.USER:
            return f"users/{principal.name}"
        case CallerKind.SERVICE:
            return f"services/{principal.name}"
        case _:
            return ""


class History:
    """Writes the history, and reads it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def note(self, tx: Transaction, changes: Iterable[Change], cause: Cause) -> None:
        """Write down what became of deployments."""
        rows = [_row(change, cause) for change in changes if _is_change(change)]
        if rows:
            actor = named(current_principal()) if cause.actor is None else cause.actor
            common = {"actor": actor, "time": self._clock.now()}
            await tx.change_each(_INSERT, [row | common for row in rows])

    async def releases_in(
        self, tx: Transaction, environment: str, components: Collection[str]
    ) -> dict[str, set[str]]:
        """By component: every release that an environment ever had."""
        found: dict[str, set[str]] = {component: set() for component in components}
        query = (
            sa.select(_c.component, _c.release)
            .where(_c.environment == environment, _c.component.in_(sorted(components)))
            .where(_c.release != "")
            .distinct()
        )
        for row in (await tx.execute(query)).all():
            found[row.component].add(row.release)
        return found

    async def one(self, tx: Transaction, component: str, number: int) -> pb.DeploymentChange | None:
        """One change."""
        query = sa.select(deployment_changes).where(_c.number == number, _c.component == component)
        row = (await tx.execute(query)).first()
        return None if row is None else told(row)

    async def page(
        self, tx: Transaction, parent: str, before: int | None, limit: int
    ) -> list[pb.DeploymentChange]:
        """The newest first; *parent* may have ``-`` for ids."""
        query = sa.select(deployment_changes).where(*_below(parent))
        if before is not None:
            query = query.where(_c.number < before)
        rows = await tx.execute(query.order_by(_c.number.desc()).limit(limit))
        return [told(row) for row in rows.all()]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistorySource:
    """The history below a parent, as a source of lists."""

    history: History
    tx: Transaction
    parent: str
    ordered: bool = False
    exact: bool = False

    async def read(self, after: Cursor, limit: int) -> Sequence[tuple[Cursor, Any]]:
        """Read a stretch."""
        before = int(after[-1]) if after else None
        found = await self.history.page(self.tx, self.parent, before, limit)
        return [((change.name.rpartition("/")[2],), change) for change in found]


def told(row: Any) -> pb.DeploymentChange:
    """A row as it is answered."""
    change = pb.DeploymentChange(
        name=f"{row.component}{SEGMENT}{row.number}",
        environment=row.environment,
        previous_release=row.previous_release,
        release=row.release,
        cause=pb.DeploymentChange.Cause.Value(row.cause),
        promotion=row.promotion,
        actor=row.actor,
        reason=row.reason,
    )
    if row.overrides is not None:
        change.overrides.MergeFromString(row.overrides)
        change.overrides.SetInParent()
    change.create_time.FromDatetime(row.time)
    return change


def _row(change: Change, cause: Cause) -> dict[str, Any]:
    component, _, environment = change.name.rpartition("/deployments/")
    new = change.new
    own = new.overrides if new is not None and new.HasField("overrides") else None
    return {
        "component": component,
        "environment": environment_name(organization_of(component), environment),
        "previous_release": change.old.release if change.old is not None else "",
        "release": new.release if new is not None else "",
        "overrides": write(own) if own is not None else None,
        "cause": cause.type.value,
        "promotion": cause.promotion,
        "reason": cause.reason,
    }


def _is_change(change: Change) -> bool:
    old, new = change.old, change.new
    return (
        old is None
        or new is None
        or old.release != new.release
        or old.HasField("overrides") != new.HasField("overrides")
        or old.overrides != new.overrides
    )


def _below(parent: str) -> list[sa.ColumnElement[bool]]:
    """Components below a pattern of ids: a range as far as ids are said, then a shape."""
    parts = parent.split("/")
    if "-" not in parts:
        return [_c.component == parent]
    fixed = "/".join(parts[: parts.index("-")])
    # "0" follows "/": what is below, and nothing that is named alike. Ids have no wildcards.
    shape = "/".join("%" if part == "-" else part for part in parts)
    return [
        _c.component >= f"{fixed}/",
        _c.component < f"{fixed}0",
        _c.component.like(shape),
    ]
