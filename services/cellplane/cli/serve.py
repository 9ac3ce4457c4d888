"""``cellplane serve SERVICE``: becomes that service's process, as a cluster runs it."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from cellplane.cli import completion
from cellplane.cli.exits import usage
from cellplane.cli.local.layout import SERVICES

PROCESSES = (*SERVICES, "agent")


def serve(
    service: Annotated[
        str, typer.Argument(help=", ".join(PROCESSES), autocompletion=completion.services)
    ],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Flags of the service; --help lists them.")
    ] = None,
) -> None:
    """Run one service, or an agent, in the foreground.

    Example: cellplane serve gateway --listen 127.0.0.1:9604 --state-dir state/gateway
    """
    from cellplane.cli.config import settings_of

    if service not in PROCESSES:
        raise usage(f'there is no service "{service}": choose of {", ".join(PROCESSES)}')
    if {"-h", "--help"} & set(arguments or ()):
        # The service would say the same, once it had imported all that it needs to run.
        from cellplane.runtime.flags import parser

        parser(settings_of(service)).print_help()
        return
    sys.stdout.flush()
    command = [sys.executable, "-m", f"cellplane.{service}", *(arguments or ())]
    os.execv(sys.executable, command)  # noqa: S606 - the same process goes on as the service


serve.context_settings = {  # type: ignore[attr-defined]
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
}
