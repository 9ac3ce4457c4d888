"""``completion``, and what is offered when somebody presses the tab key.

Kinds come from the contracts, names from the services. Whoever presses a key waits for it, so
services that take longer than a deadline are not waited for; whatever goes wrong, nothing is
offered and nothing is said, for there is a half-written line on the screen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cellplane.cli.exits import FAILURE, OK, usage

if TYPE_CHECKING:
    from cellplane.cli.kinds import Kind

REQUEST: Final = "_CELLPLANE_COMPLETE"
"""Environment variable by which a shell asks."""
SHELLS: Final = ("bash", "zsh", "fish", "powershell")
DEADLINE: Final = 1.5
"""Seconds that services have to answer."""
PATIENCE: Final = "CELLPLANE_COMPLETION_TIMEOUT"
"""Environment variable with other seconds, for services that are far away."""
_MOST: Final = 500

Offer = list[str] | list[tuple[str, str]]


def completion(
    shell: Annotated[
        str,
        typer.Argument(help=", ".join(SHELLS), autocompletion=lambda: list(SHELLS)),
    ],
    *,
    install: Annotated[
        bool, typer.Option("--install", help="Write it where the shell finds it, and say where.")
    ] = False,
) -> None:
    """Print the script that completes commands, kinds and names in a shell.

    Example: cellplane completion bash > ~/.local/share/bash-completion/completions/cellplane
    """
    if shell not in SHELLS:
        raise usage(f'there is no completion for "{shell}": choose of {", ".join(SHELLS)}')
    if install:
        _, path = _library().install(shell, "cellplane", REQUEST)
        sys.stderr.write(f"installed in {path}: it takes effect in new shells\n")
        return
    print(
        _library().get_completion_script(prog_name="cellplane", complete_var=REQUEST, shell=shell)
    )


def asked() -> bool:
    """Whether this process was started by a key press."""
    return bool(os.environ.get(REQUEST))


def answer(command: Callable[[], Any]) -> int:
    """Answer a shell, without a word on standard error."""
    _library().completion_init()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    try:
        code = command()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else FAILURE
    except BaseException:  # noqa: BLE001 - there is nobody to tell
        return FAILURE
    return code if isinstance(code, int) else OK


def _library() -> Any:
    from importlib import import_module

    return import_module("typer.completion")


def kinds(ctx: typer.Context, incomplete: str) -> Offer:
    """Kinds, by the words that ``get`` shows; a short name only where it alone fits.

    Behind a kind and a slash, the names of that kind.
    """
    from cellplane.cli.kinds import all_kinds, of_noun, short_names

    if "/" in incomplete:
        noun, _, name = incomplete.partition("/")
        return [f"{noun}/{one}" for one in _names(of_noun(noun), ctx, name)]
    found = [kind.plural for kind in all_kinds() if kind.plural.startswith(incomplete)]
    words = [(kind.singular, *short_names(kind)) for kind in all_kinds()]
    return found or [word for own in words for word in own if word.startswith(incomplete)]


def fields(incomplete: str) -> Offer:
    """Kinds, and behind a dot the fields of one."""
    from cellplane.cli.contract import Contract
    from cellplane.cli.kinds import all_kinds, of_noun

    if "." not in incomplete:
        return [k.singular for k in all_kinds() if k.singular.startswith(incomplete)]
    trail, _, last = incomplete.rpartition(".")
    noun, *steps = trail.split(".")
    contract = Contract.load()
    name = of_noun(noun).descriptor.full_name
    for step in steps:
        name = next(
            field.type_name.removeprefix(".")
            for field in contract.fields(name)
            if step in (field.name, field.json_name)
        )
    return [f"{trail}.{f.json_name}" for f in contract.fields(name) if f.json_name.startswith(last)]


def names(ctx: typer.Context, incomplete: str) -> Offer:
    """Names of the kind that was given before."""
    from cellplane.cli.kinds import of_noun

    return _names(of_noun(ctx.params["kind"]), ctx, incomplete)


def names_of(kind: str) -> Callable[[typer.Context, str], Offer]:
    """What offers the names of one kind."""

    def offer(ctx: typer.Context, incomplete: str) -> Offer:
        from cellplane.cli.kinds import by_name

        return _names(by_name(kind), ctx, incomplete)

    return offer


def _names(kind: Kind, ctx: typer.Context, incomplete: str) -> list[str]:
    from cellplane.cli import profile as profiles
    from cellplane.cli.engine import run

    given = ctx.params.get("profile")
    chosen = profiles.load(Path(given) if given else None, ctx.params.get("organization"))
    return sorted(run(_listed(chosen, kind, ctx.params.get("project"), incomplete)))


async def _listed(profile: Any, kind: Kind, project: str | None, incomplete: str) -> list[str]:
    import asyncio

    from cellplane.cli.engine import Client

    full = incomplete.startswith("organizations/")
    parent = kind.parent(profile.organization)
    if not full:
        # What is typed before the last slash narrows the list that the service has to make.
        within = tuple(incomplete.split("/")[:-1]) or ((project,) if project else ())
        parent = kind.parent(profile.organization, within)
    found: list[str] = []
    patience = float(os.environ.get(PATIENCE) or DEADLINE)
    async with asyncio.timeout(patience), Client(profile) as client:
        async for resource in client.list(kind, parent):
            name = resource.name if full else kind.short(resource.name)
            if name.startswith(incomplete):
                found.append(name)
            if len(found) == _MOST:
                break
    return found


def methods(incomplete: str) -> Offer:
    """Methods by their own names."""
    from cellplane.cli import kinds

    names = {full.rpartition(".")[2] for full in kinds.methods()}
    return sorted(name for name in names if name.startswith(incomplete))


def services(incomplete: str) -> Iterator[str]:
    """Processes that can be told something."""
    from cellplane.cli.local.layout import SERVICES

    return (name for name in (*SERVICES, "agent") if name.startswith(incomplete))
