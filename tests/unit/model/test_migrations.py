"""The migrations make exactly the tables that the code reads and writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from cellplane.model.__main__ import MIGRATIONS
from cellplane.model.tables import metadata
from cellplane.store.database import Database


@pytest.mark.asyncio
async def test_migrated_tables_are_those_of_the_code(tmp_path: Path) -> None:
    """Columns and keys in the database are the ones that are declared."""
    file = tmp_path / "model.db"
    database = await Database.open("", service="model", migrations=MIGRATIONS, path=file)
    await database.close()

    engine = sa.create_engine(f"sqlite:///{file}", poolclass=sa.NullPool)
    found = sa.MetaData()
    found.reflect(engine)
    engine.dispose()

    for table in metadata.sorted_tables:
        made = found.tables[table.name]
        assert set(made.c.keys()) == set(table.c.keys()), table.name
        assert [c.name for c in made.primary_key] == [c.name for c in table.primary_key]
        assert {i.name for i in made.indexes} == {i.name for i in table.indexes}
