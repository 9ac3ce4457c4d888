"""The statements that every edit runs, made once: making one costs more than running it.

A parameter ``b_x`` stands for the column ``x`` where the name alone would mean a value to set.
"""

from __future__ import annotations

import sqlalchemy as sa

from cellplane.model.tables import calls, cells, counters, deployed
from cellplane.store.prepared import OneOf, Prepared

INSERT_DEPLOYED = Prepared(
    sa.insert(deployed).values({c.name: sa.bindparam(c.name, type_=c.type) for c in deployed.c})
)
UPDATE_DEPLOYED = Prepared(
    sa.update(deployed)
    .where(
        deployed.c.environment == sa.bindparam("b_environment"),
        deployed.c.component == sa.bindparam("b_component"),
    )
    .values(
        {c.name: sa.bindparam(f"b_{c.name}", type_=c.type) for c in deployed.c if not c.primary_key}
    )
)
SELECT_DEPLOYED = Prepared(
    sa.select(deployed).where(
        deployed.c.environment == sa.bindparam("environment"),
        OneOf(deployed.c.component, "components"),
    )
)
SELECT_CALLERS = Prepared(
    sa.select(calls.c.caller, calls.c.target, calls.c.endpoint).where(
        calls.c.environment == sa.bindparam("environment"),
        OneOf(calls.c.target, "targets"),
    )
)
CENSUS = Prepared(
    sa.select(
        deployed.c.is_deployed,
        deployed.c.is_broken,
        deployed.c.is_dirty,
        sa.func.count().label("count"),
    )
    .where(deployed.c.cell == sa.bindparam("cell"))
    .group_by(deployed.c.is_deployed, deployed.c.is_broken, deployed.c.is_dirty)
)
WANT_DIRTY = Prepared(
    sa.update(deployed)
    .where(deployed.c.cell == sa.bindparam("b_cell"), deployed.c.is_dirty)
    .values(
        wanted=deployed.c.resolved,
        changed_revision=sa.bindparam("b_revision", type_=sa.BigInteger),
        is_dirty=sa.false(),
    )
)
SELECT_CELLS = Prepared(sa.select(cells).where(OneOf(cells.c.name, "names")))
UPDATE_CELL = Prepared(
    sa.update(cells)
    .where(cells.c.name == sa.bindparam("b_name"))
    .values(
        {c.name: sa.bindparam(f"b_{c.name}", type_=c.type) for c in cells.c if not c.primary_key}
    )
)
NEXT_SEQUENCE = Prepared(
    sa.update(counters)
    .where(counters.c.counter == "cells")
    .values(value=counters.c.value + 1)
    .returning(counters.c.value)
)
