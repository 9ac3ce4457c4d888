"""A process that starts again on its state imports nothing that only a change needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from cellplane.store.migrate import heads_of

SERVICES = Path(__file__).parents[2] / "services" / "cellplane"
OPEN = """
import asyncio, pathlib, sys
from cellplane.store.database import Database

async def run():
    folder, file = pathlib.Path(sys.argv[1]), pathlib.Path("x.db")
    database = await Database.open("", service="model", migrations=folder, path=file)
    await database.close()

asyncio.run(run())
names = ("alembic", "mako", "psycopg", "sqlalchemy.orm", "sqlalchemy.ext.asyncio")
print([name for name in names if name in sys.modules])
"""
FOLDERS = sorted(folder.parent for folder in SERVICES.glob("*/migrations/versions"))


def imported(program: str, *arguments: str, cwd: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout.strip()


def test_only_a_migration_imports_what_migrates(tmp_path: Path) -> None:
    """The first start on a file migrates it; the next one finds nothing to do, at no cost."""
    migrations = str(SERVICES / "model" / "migrations")
    assert "alembic" in imported(OPEN, migrations, cwd=tmp_path)
    assert imported(OPEN, migrations, cwd=tmp_path) == "[]"


@pytest.mark.parametrize(
    "process", ["model", "placement", "network_policy", "gateway", "observability", "agent"]
)
def test_a_process_starts_without_what_it_may_never_need(process: str, tmp_path: Path) -> None:
    """Neither migrations, nor PostgreSQL, nor a cluster's client come with the process itself."""
    program = (
        f"import sys, cellplane.{process}.__main__\n"
        "names = ('alembic', 'psycopg', 'sqlalchemy.orm', 'kubernetes', 'ruamel', 'typer',"
        " 'graphql', 'openapi_spec_validator', 'requests')\n"
        "print([name for name in names if name in sys.modules])"
    )
    assert imported(program, cwd=tmp_path) == "[]"


@pytest.mark.parametrize("folder", FOLDERS, ids=[folder.parent.name for folder in FOLDERS])
def test_heads_are_those_of_alembic(folder: Path) -> None:
    """What is read from the scripts' text is what Alembic finds by running them."""
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("path_separator", "os")
    assert heads_of(folder) == set(ScriptDirectory.from_config(config).get_heads()) != set()


def test_heads_of_branches_and_merges(tmp_path: Path) -> None:
    """Two branches have two heads; a script that follows both has one."""
    versions = tmp_path / "versions"
    versions.mkdir()
    for name, before in {"a": "None", "b": "'a'", "c": "'a'"}.items():
        (versions / f"{name}.py").write_text(f"revision = '{name}'\ndown_revision = {before}\n")
    assert heads_of(tmp_path) == {"b", "c"}

    (versions / "d.py").write_text("revision: str = 'd'\ndown_revision: tuple = ('b', 'c')\n")
    assert heads_of(tmp_path) == {"d"}
