"""Developers' command line of the sandbox; the product's own wraps the same functions.

``build`` compiles what is missing, with the schemas unless programs are named, ``up`` starts a
cluster that outlives the command, ``down`` ends it, ``status`` tells what runs. Help comes at once:
what works is imported once it is known what is to be done.
"""

import argparse
import signal
import sys
import time
from collections.abc import Coroutine, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from cellplane.sandbox.cluster import ClusterInfo

E = TypeVar("E", bound=StrEnum)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = _parser().parse_args(arguments)
    import asyncio

    from cellplane.sandbox.api import ApiError
    from cellplane.sandbox.build import Tool
    from cellplane.sandbox.crds import ALL, CrdSet
    from cellplane.sandbox.machine import Unfit
    from cellplane.sandbox.processes import StartError
    from cellplane.sandbox.toolchain import BuildError

    match options.command:
        case "build":
            options.tools = _chosen(Tool, options.tools)
        case "up":
            options.crds = ALL if options.crds is None else _chosen(CrdSet, options.crds.split(","))
        case _:
            pass
    try:
        return asyncio.run(_until_signal(_run(options)))
    except (ApiError, BuildError, StartError, Unfit) as error:
        _say(f"error: {error}")
        return 1


async def _until_signal(work: Coroutine[Any, Any, int]) -> int:
    """The work's exit status, or 128 and the signal that ended it; then nothing of it goes on."""
    import asyncio

    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    got: list[int] = []

    def end(number: int) -> None:
        if not got:  # a second signal must not cut the tidying up short
            got.append(number)
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        return 128 + got[0]


async def _run(options: argparse.Namespace) -> int:
    from cellplane.sandbox import cluster, crds, nodes
    from cellplane.sandbox.build import Tool, build
    from cellplane.sandbox.crds import CrdSet

    match options.command:
        case "build":
            usual = (Tool.CLUSTER, Tool.KWOK, Tool.HELM, Tool.GRPCURL)
            programs = await build(options.tools or usual, progress=_say)
            if not options.tools:
                # Reading them takes a program, which whoever names another did not ask for.
                await crds.schemas(CrdSet, progress=_say)
            for tool, path in programs.items():
                _answer(f"{tool}\t{path}")
        case "up":
            began = time.monotonic()
            info = await _up(options)
            _say(f"took {time.monotonic() - began:.1f} s")
            _answer(str(info.kubeconfig))
        case "down":
            await cluster.stop(options.state_dir, keep=options.keep)
        case _:
            pids = [
                *cluster.status(options.state_dir).items(),
                *nodes.status(options.state_dir).items(),
            ]
            for program, pid in pids:
                _answer(f"{program}\t{pid or 'ended'}")
            return 0 if all(pid for _, pid in pids) else 3
    return 0


async def _up(options: argparse.Namespace) -> "ClusterInfo":
    from cellplane.sandbox import cluster, machine, nodes
    from cellplane.sandbox.crds import CrdSet

    known = frozenset(options.crds)
    count = (1 if options.cilium else 3) if options.nodes is None else options.nodes
    if options.cilium:
        machine.inspect()  # before minutes go by
        known |= {CrdSet.CILIUM_AGENT}
    info = await cluster.start(
        options.name,
        options.state_dir,
        crds=known,
        nodes=0 if options.cilium else count,
        region=options.region,
        zones=options.zones.split(","),
        detached=True,
        progress=_say,
    )
    if options.cilium:
        try:
            await nodes.start(
                info.name,
                info.state,
                port=info.port,
                count=count,
                detached=True,
                progress=_say,
            )
        except BaseException:
            await cluster.stop(info.state, keep=True)
            raise
    return info


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cellplane sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    tools = commands.add_parser("build", help="compile what is missing")
    tools.add_argument("tools", nargs="*", help="default: what clusters need, and the schemas")
    up = commands.add_parser("up", help="start a cluster; prints its kubeconfig's path")
    up.add_argument("name")
    up.add_argument("state_dir", type=Path)
    up.add_argument("--crds", help="sets of schemas, separated by commas; default: all of them")
    up.add_argument("--nodes", type=int, help="default: 3, or 1 if they are real")
    up.add_argument(
        "--cilium",
        action="store_true",
        help="real nodes instead of fake ones, with the Cilium agent; needs root",
    )
    up.add_argument("--region", default="local")
    up.add_argument("--zones", default="local-a", help="separated by commas")
    down = commands.add_parser("down", help="end a cluster, and delete its folder")
    down.add_argument("state_dir", type=Path)
    down.add_argument("--keep", action="store_true", help="keep the folder, for another start")
    status = commands.add_parser("status", help="what runs; exit status 3 if anything ended")
    status.add_argument("state_dir", type=Path)
    return parser


def _chosen(known: type[E], words: Iterable[str]) -> list[E]:
    """The members that *words* name; ends the process where one names none."""
    given = [word for word in words if word]
    if wrong := [word for word in given if word not in list(known)]:
        _say(f'error: "{wrong[0]}" is not one of {", ".join(known)}')
        raise SystemExit(2)
    return [known(word) for word in given]


def _answer(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


if __name__ == "__main__":
    sys.exit(main())
