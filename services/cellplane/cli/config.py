"""``config show``: what a service would use, and where it comes from. Secrets are masked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cellplane.cli import completion
from cellplane.cli.local.layout import SERVICES

app = typer.Typer(
    help="Show what a service is told.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
PROCESSES = (*SERVICES, "agent")


@app.callback()
def root() -> None:
    """Show what a service is told."""


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True})
def show(
    service: Annotated[
        str, typer.Argument(help=", ".join(PROCESSES), autocompletion=completion.services)
    ],
    flags: Annotated[
        list[str] | None, typer.Argument(help="Flags, as the service would get them.")
    ] = None,
    *,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say where each value comes from.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file with settings.")
    ] = None,
) -> None:
    """Show the settings of a service, from flags, the environment, a file and defaults.

    Exit code 1 if the service could not start with them, with all that is missing or wrong.

    Example: cellplane config show model --origin
    """
    from cellplane.cli.exits import Ended
    from cellplane.cli.render.output import table
    from cellplane.runtime.flags import examine_from

    arguments = [*(["--config", str(config)] if config else []), *(flags or ())]
    found = examine_from(settings_of(service), arguments)
    rows = [(name, own.value or '""', own.origin) for name, own in found.origins.items()]
    for name, value, _ in rows if not origin else ():
        print(f"{name} = {value}")
    for line in table(("SETTING", "VALUE", "ORIGIN"), rows) if origin else ():
        print(line)
    if found.problems:
        raise Ended(
            message=f"service {service} could not start with these settings",
            findings=[problem.message for problem in found.problems],
        )


def settings_of(service: str) -> Any:
    """The settings class of a service: the one in its ``config`` that names it."""
    from importlib import import_module

    from cellplane.cli.exits import usage

    if service not in PROCESSES:
        raise usage(f'there is no service "{service}": choose of {", ".join(PROCESSES)}')
    from cellplane.runtime.config import Settings

    module = import_module(f"cellplane.{service}.config")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Settings)
    ]
    return next(c for c in found if c.service.replace("-", "_") == service)
