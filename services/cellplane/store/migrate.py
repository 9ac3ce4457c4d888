"""Brings a schema up to date: Alembic's scripts of one service, run in the process that needs them.

All of them hold, or none: they run in the caller's transaction. A schema that a later version made
is never touched, for nobody knows what it means.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
import structlog
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory

from cellplane.cell.problem import FailedPrecondition

_log = structlog.get_logger()


def upgrade(connection: sa.Connection, folder: Path, schema: str) -> None:
    """Run what is missing of the scripts in *folder*.

    Raises:
        FailedPrecondition: the schema is of a later version.
    """
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    context = MigrationContext.configure(connection)
    current = context.get_current_heads()
    known = {script.revision for script in scripts.walk_revisions()}
    if newer := [head for head in current if head not in known]:
        raise FailedPrecondition(
            f"the database is of a newer version ({', '.join(newer)}): run that version, or "
            "restore a backup",
            reason="DATABASE_TOO_NEW",
        )
    heads = scripts.get_heads()
    if set(current) == set(heads):
        return
    done = {
        script.revision for head in current for script in scripts.iterate_revisions(head, "base")
    }
    with Operations.context(context):
        for script in reversed(list(scripts.iterate_revisions("heads", "base"))):
            if script.revision not in done:
                script.module.upgrade()
    context.stamp(scripts, "heads")
    _log.info("database.migrated", schema=schema, heads=heads)
