"""What there is to back up, and what a restore must do beside putting rows back.

Who reads another's changes is read before it: a service of the archive never knows of something
that its source does not have there. After a restore, numbers that others have seen go on far above
what they can have seen, so that nobody takes new state for old.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from cellplane.cell.problem import Invalid

GAP: Final = 1 << 32
"""By how much numbers are raised: more than any service counts between a backup and its end."""

DERIVED: Final = "catalog_"
"""How tables begin that a service makes anew from others where it finds them empty.

Each kind of database has them in its own way, so they are in no backup.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service that has a database."""

    name: str
    raised: Mapping[str, tuple[str, ...]]
    """Columns, by table, whose numbers others have seen and compare."""
    folders: tuple[str, ...] = ()
    """What of its state folder is kept, too."""

    @property
    def file(self) -> str:
        """The database's name in the state folder."""
        return f"{self.name}.db"

    @property
    def migrations(self) -> Path:
        """Where its migrations are."""
        spec = find_spec(f"cellplane.{self.name}")
        if spec is None or spec.submodule_search_locations is None:
            raise Invalid(f'there is no service "{self.name}"')
        return Path(next(iter(spec.submodule_search_locations))) / "migrations"


SERVICES: Final = (
    Service(name="observability", raised={}),
    Service(
        name="placement",
        # Agents refuse an epoch, and a revision of a Cell, that is behind what they have.
        raised={
            "epochs": ("epoch",),
            "bundles": ("revision",),
            "floors": ("revision",),
            "objects": ("revision",),
        },
        folders=("agents",),
    ),
    # Where a service resumes a feed of the model, it must not find a number used anew.
    Service(name="model", raised={"counters": ("value",), "cells": ("sequence",)}),
)
"""In the order in which they are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one service keeps things."""

    service: Service
    state: Path
    url: str = ""
    """Of PostgreSQL; empty for the file in ``state``."""

    @property
    def file(self) -> Path:
        """The database's file, where there is no URL."""
        return self.state / self.service.file


def places(state: Path, urls: Mapping[str, str]) -> tuple[Place, ...]:
    """Every service's place below a folder of states, with the databases that are elsewhere.

    Raises:
        Invalid: a URL is given for what has no database.
    """
    known = {service.name for service in SERVICES}
    if unknown := sorted(urls.keys() - known):
        raise Invalid(
            f'"{unknown[0]}" has no database: name one of {", ".join(sorted(known))}',
            reason="SERVICE_UNKNOWN",
        )
    return tuple(
        Place(service=service, state=state / service.name, url=urls.get(service.name, ""))
        for service in SERVICES
    )
