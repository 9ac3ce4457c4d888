"""Brings a schema up to date: Alembic's scripts of one service, run in the process that needs them.

All of them hold, or none: they run in the caller's transaction. A schema that a later version made
is never touched, for nobody knows what it means. Alembic takes long to import, so it is only where
the revision that the schema has is not the one that the scripts lead to.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog

from cellplane.cell.problem import FailedPrecondition

_log = structlog.get_logger()


def upgrade(
    connection: sa.Connection, folder: Path, schema: str, *, to: Sequence[str] = ()
) -> None:
    """Run what is missing of the scripts in *folder*, up to some revisions or the latest ones.

    Raises:
        FailedPrecondition: the schema, or what it is to become, is of a later version.
    """
    if _stored(connection) != (set(to) or heads_of(folder)):
        _upgrade(connection, folder, schema, tuple(to))


def _stored(connection: sa.Connection) -> set[str]:
    """The revisions that a schema has: none where nothing ever migrated it."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return set()
    rows = connection.execute(sa.text("SELECT version_num FROM alembic_version"))
    return set(rows.scalars())


def heads_of(folder: Path) -> set[str]:
    """The revisions that the scripts lead to, read without running them."""
    revisions: set[str] = set()
    followed: set[str] = set()
    for script in (folder / "versions").glob("*.py"):
        found = _assigned(ast.parse(script.read_bytes(), script.name))
        revisions |= found.get("revision", set())
        followed |= found.get("down_revision", set())
    return revisions - followed


def _assigned(module: ast.Module) -> dict[str, set[str]]:
    """What a script assigns to names: one text, several, or none."""
    found: dict[str, set[str]] = {}
    for step in module.body:
        match step:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=value)
            ) if name in {"revision", "down_revision"} and value is not None:
                given = ast.literal_eval(value)
                texts = (given,) if isinstance(given, str) else given or ()
                found[name] = set(texts)
            case _:
                pass
    return found


def _upgrade(connection: sa.Connection, folder: Path, schema: str, to: tuple[str, ...]) -> None:
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.operations import Operations
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    context = MigrationContext.configure(connection)
    current = context.get_current_heads()
    known = {script.revision for script in scripts.walk_revisions()}
    if newer := [head for head in (*current, *to) if head not in known]:
        raise FailedPrecondition(
            f"the database is of a newer version ({', '.join(newer)}): run that version, or "
            "restore a backup",
            reason="DATABASE_TOO_NEW",
        )
    heads: Any = to or tuple(scripts.get_heads())
    if set(current) == set(heads):
        return
    done = {
        script.revision for head in current for script in scripts.iterate_revisions(head, "base")
    }
    with Operations.context(context):
        for script in reversed(list(scripts.iterate_revisions(heads, "base"))):
            if script.revision not in done:
                script.module.upgrade()
    context.stamp(scripts, heads)
    if not to:
        _log.info("database.migrated", schema=schema, heads=heads)
