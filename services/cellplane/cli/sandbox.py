"""``cellplane sandbox``: real Kubernetes control planes with fake nodes, on this machine."""

from __future__ import annotations

from typing import Annotated

import typer


def sandbox(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(help="build, up, down or status; --help behind each tells more."),
    ] = None,
) -> None:
    """Build, start and stop sandbox clusters.

    Example: cellplane sandbox up dev /tmp/dev
    """
    from cellplane.sandbox.__main__ import main

    raise typer.Exit(main(arguments or ["--help"]))


sandbox.context_settings = {  # type: ignore[attr-defined]
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
}
