"""The root of the command line: one table of commands, each module imported when it is asked for.

Help and usage errors import nothing but typer, so that they come at once. A command is a function,
or a ``typer.Typer`` with commands of its own; its line in ``--help`` is the table's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, Final, NamedTuple

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from cellplane.cli import completion, exits
from cellplane.cli.parameters import quicken, read_here


class Entry(NamedTuple):
    """Where a command is, and its line in ``--help``."""

    module: str
    attribute: str
    summary: str


TABLE: Final[dict[str, Entry]] = {
    "apply": Entry("cellplane.cli.apply", "apply", "Make resources as documents say."),
    "approve": Entry("cellplane.cli.approve", "approve", "Let a promotion through its gates."),
    "backup": Entry("cellplane.cli.backup", "backup", "Write all databases into one file."),
    "call": Entry("cellplane.cli.call", "call", "Call any method of a service."),
    "can-reach": Entry("cellplane.cli.reach", "can_reach", "Say who reaches whom, and why."),
    "catalog": Entry("cellplane.cli.catalog", "app", "Find what there is to use."),
    "compile": Entry(
        "cellplane.cli.compile", "compile_offline", "Show what a Cell becomes, without a server."
    ),
    "completion": Entry(
        "cellplane.cli.completion", "completion", "Complete commands and names in a shell."
    ),
    "config": Entry("cellplane.cli.config", "app", "Show what a service is told."),
    "dataplane": Entry("cellplane.cli.dataplane", "app", "Join clusters and folders."),
    "delete": Entry("cellplane.cli.delete", "delete", "Delete resources."),
    "describe": Entry("cellplane.cli.get", "describe", "Show everything about one resource."),
    "diff": Entry("cellplane.cli.apply", "diff", "Show what would change, or what differs."),
    "down": Entry("cellplane.cli.up", "down", "Stop the control plane on this machine."),
    "endpoints": Entry("cellplane.cli.routes", "endpoints", "Show how endpoints are called."),
    "explain": Entry("cellplane.cli.explain", "explain", "Explain a kind or a field."),
    "get": Entry("cellplane.cli.get", "get", "Show resources of any kind."),
    "grant": Entry("cellplane.cli.grant", "app", "Ask for endpoints, and decide who may."),
    "history": Entry("cellplane.cli.history", "history", "Show who changed what, and when."),
    "observed": Entry("cellplane.cli.observed", "observed", "Explain what the network stopped."),
    "impact": Entry("cellplane.cli.impact", "impact", "Show who breaks if something goes."),
    "render": Entry("cellplane.cli.type", "render", "Show what a component becomes, offline."),
    "placement": Entry("cellplane.cli.placement", "app", "Explain where Cells are."),
    "preview": Entry("cellplane.cli.preview", "app", "Try branches in own environments."),
    "promote": Entry("cellplane.cli.promote", "promote", "Take a project to an environment."),
    "refuse": Entry("cellplane.cli.approve", "refuse", "Refuse a promotion: it ends."),
    "restore": Entry("cellplane.cli.backup", "restore", "Put the databases of a backup back."),
    "route": Entry("cellplane.cli.routes", "app", "See what gateways do with a request."),
    "rules": Entry("cellplane.cli.rules", "app", "See who keeps the platform's rules."),
    "rollback": Entry("cellplane.cli.promote", "rollback", "Go back to what was there."),
    "sandbox": Entry("cellplane.cli.sandbox", "sandbox", "Kubernetes clusters with fake nodes."),
    "score": Entry("cellplane.cli.score", "app", "Read and write score.yaml, without a server."),
    "serve": Entry("cellplane.cli.serve", "serve", "Run one service in the foreground."),
    "status": Entry("cellplane.cli.status", "status", "Show how projects are, down to the pod."),
    "type": Entry("cellplane.cli.type", "app", "Check types, and see whom a change changes."),
    "up": Entry("cellplane.cli.up", "up", "Bring up a control plane on this machine."),
    "verify": Entry("cellplane.cli.reach", "verify", "Try everything that a Cell may or must."),
    "version": Entry("cellplane.cli.version", "version", "Show the version."),
    "wait": Entry("cellplane.cli.wait", "wait", "Wait until a resource is as it should be."),
}

app = typer.Typer(
    name="cellplane",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class LazyGroup(TyperGroup):
    """Knows its commands from the table alone."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - the library's signature
        """Names of the commands."""
        return sorted(TABLE)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import one command."""
        entry = TABLE.get(cmd_name)
        if entry is None:
            return None
        found = getattr(import_module(entry.module), entry.attribute)
        if isinstance(found, typer.Typer):
            group = get_group(found)
            group.name = cmd_name
            quicken(group, ctx)
            return group
        one = typer.Typer(
            add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
        )
        # A command that hands its arguments on says so beside its function.
        settings = getattr(found, "context_settings", None)
        one.command(cmd_name, context_settings=settings)(found)
        command = get_command(one)
        quicken(command, ctx)
        return command

    def get_params(self, ctx: Any) -> Any:
        """Its own parameters, which are read for every command."""
        parameters = super().get_params(ctx)
        for parameter in parameters:
            read_here(parameter)
        return parameters

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table; the commands themselves stay where they are."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, TABLE[name].summary) for name in self.list_commands(ctx)])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, or say which one is close."""
        if args and args[0] not in TABLE and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], TABLE, n=1)
            hint = f'did you mean "{close[0]}"?' if close else "`cellplane --help` lists them"
            ctx.fail(f'there is no command "{args[0]}": {hint}')
        return super().resolve_command(ctx, args)


def _version(wanted: bool) -> None:
    if wanted:
        import_module("cellplane.cli.version").version()
        raise typer.Exit


@app.callback(
    cls=LazyGroup, no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]}
)
def root(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", is_eager=True, callback=_version),
    ] = False,
) -> None:
    """A control plane for an Internal Developer Platform: projects become closed Cells.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 denied, 5 conflict, 6 timeout,
    7 `wait` saw a failure that only a change can mend, 8 `diff` found changes, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    run = completion.answer if completion.asked() else exits.guard
    return run(lambda: get_command(app).main(given, "cellplane", standalone_mode=False))
