"""The statements that every edit runs, built once: building one costs more than running it.

A parameter ``b_x`` stands for the column ``x`` where the name alone would mean a value to set.
"""

from __future__ import annotations

import sqlalchemy as sa

from cellplane.model.tables import calls, cells, counters, deployed

INSERT_DEPLOYED = sa.insert(deployed)
UPDATE_DEPLOYED = (
    sa.update(deployed)
    .where(
        deployed.c.environment == sa.bindparam("b_environment"),
        deployed.c.component == sa.bindparam("b_component"),
    )
    .values({c.name: sa.bindparam(f"b_{c.name}") for c in deployed.c if not c.primary_key})
)
SELECT_DEPLOYED = sa.select(deployed).where(
    deployed.c.environment == sa.bindparam("environment"),
    deployed.c.component.in_(sa.bindparam("components", expanding=True)),
)
SELECT_CALLERS = sa.select(calls.c.caller, calls.c.target, calls.c.endpoint).where(
    calls.c.environment == sa.bindparam("environment"),
    calls.c.target.in_(sa.bindparam("targets", expanding=True)),
)
CENSUS = (
    sa.select(deployed.c.is_deployed, deployed.c.is_broken, deployed.c.is_dirty, sa.func.count())
    .where(deployed.c.cell == sa.bindparam("cell"))
    .group_by(deployed.c.is_deployed, deployed.c.is_broken, deployed.c.is_dirty)
)
WANT_DIRTY = (
    sa.update(deployed)
    .where(deployed.c.cell == sa.bindparam("b_cell"), deployed.c.is_dirty)
    .values(
        wanted=deployed.c.resolved,
        changed_revision=sa.bindparam("b_revision"),
        is_dirty=sa.false(),
    )
)
SELECT_CELLS = sa.select(cells).where(cells.c.name.in_(sa.bindparam("names", expanding=True)))
UPDATE_CELL = (
    sa.update(cells)
    .where(cells.c.name == sa.bindparam("b_name"))
    .values({c.name: sa.bindparam(f"b_{c.name}") for c in cells.c if not c.primary_key})
)
NEXT_SEQUENCE = (
    sa.update(counters)
    .where(counters.c.counter == "cells")
    .values(value=counters.c.value + 1)
    .returning(counters.c.value)
)
