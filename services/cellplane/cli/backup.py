"""``backup`` and ``restore``: every service's database, in one file, from either kind to either.

They go to the databases themselves, not through the services, so that they work where those don't.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

State: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--state",
        help="Folder with one state folder for each service. Default: what `cellplane up` made.",
    ),
]
Urls: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--database-url",
        envvar="CELLPLANE_DATABASE_URLS",
        show_envvar=False,
        help="A service's PostgreSQL, as model=postgresql://... Repeatable; * is all of them.",
    ),
]


def backup(
    file: Annotated[Path, typer.Argument(help="File to write; it must not exist yet.")],
    *,
    state: State = None,
    database_url: Urls = None,
) -> None:
    """Write all databases into one file, while the services run.

    Example: cellplane backup cellplane.backup
    """
    from cellplane.backup.archive import create
    from cellplane.cli.render.output import say

    manifest = create(file, _places(state, database_url))
    _print(manifest)
    say(f"{file} holds keys and secrets: keep it where only you can read it")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `backup` wrote.")],
    *,
    state: State = None,
    database_url: Urls = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Put all databases of a backup back; the services must be stopped.

    Example: cellplane restore cellplane.backup --force
    """
    from cellplane.backup.archive import restore as put_back
    from cellplane.cli.render.output import say

    manifest = put_back(file, _places(state, database_url), force=force)
    _print(manifest)
    say(f"as of {manifest['time']}; every table is what the backup says. Start the services now")


def _places(state: Path | None, given: list[str] | None) -> Any:
    from cellplane.backup.plan import SERVICES, places
    from cellplane.cli.exits import usage
    from cellplane.cli.local.layout import find_state

    urls: dict[str, str] = {}
    for text in given or ():
        name, mark, url = text.partition("=")
        if not mark or "://" not in url or "://" in name:
            raise usage("--database-url is not SERVICE=URL: write model=postgresql://host/database")
        urls |= {service.name: url for service in SERVICES} if name == "*" else {name: url}
    if state is None:
        found = find_state(Path.cwd())
        if found is None and len(urls) < len(SERVICES):
            raise usage("where are the databases? name --state, or a --database-url for each")
        state = (found or Path()) / "state"
    return places(state, urls)


def _print(manifest: dict[str, Any]) -> None:
    from cellplane.cli.render.output import table

    rows = [
        (name, ",".join(saved["revisions"]), str(sum(t["rows"] for t in saved["tables"].values())))
        for name, saved in sorted(manifest["services"].items())
    ]
    for line in table(("SERVICE", "SCHEMA", "ROWS"), rows):
        print(line)
