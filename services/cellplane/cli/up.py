"""``cellplane up`` and ``cellplane down``: a whole control plane on this machine, and its end.

``up`` starts a supervisor in the background and shows its journal until everything is ready, so
interrupting it stops nothing; ``down`` ends the supervisor, and with it every process.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from cellplane.cli.exits import usage
from cellplane.cli.local.layout import DEFAULT_BASE_PORT, FOLDER_NAME, Layout, find_state

_STOP_PATIENCE = 60.0


def up(
    *,
    state: Annotated[
        Path | None, typer.Option(help="Folder of everything that it keeps. Default: .cellplane.")
    ] = None,
    samples: Annotated[
        bool, typer.Option(help="Apply the samples and wait until they are ready.")
    ] = True,
    sandbox: Annotated[
        bool, typer.Option(help="Run two real Kubernetes clusters with fake nodes.")
    ] = True,
    context: Annotated[
        list[str] | None,
        typer.Option(help="Join this cluster of your kubeconfig as a data plane. Repeatable."),
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="The kubeconfig of --context. Default: kubectl's.")
    ] = None,
    enforcement: Annotated[
        str,
        typer.Option(
            help="What the CNI of --context does with policies: enforcing or simulated. Cells are"
            " isolated only where they are enforced."
        ),
    ] = "simulated",
    base_port: Annotated[
        int, typer.Option(help="Ports are this and the 300 above it.", min=1024, max=65000)
    ] = DEFAULT_BASE_PORT,
) -> None:
    """Bring up a control plane on this machine, with data planes and samples.

    Again is harmless: what runs goes on, what is missing is started.

    Example: cellplane up --no-sandbox --context kind-dev
    """
    import asyncio

    root = (state or find_state(Path.cwd()) or Path.cwd() / FOLDER_NAME).absolute()
    layout = Layout(root=root, base_port=base_port)
    if enforcement not in {"enforcing", "simulated"}:
        raise usage(f'--enforcement "{enforcement}" is neither enforcing nor simulated')
    samples_folder = _samples() if samples else None
    if not _running(layout):
        arguments = [f"--enforcement={enforcement}"]
        if samples_folder:
            arguments.append(f"--samples={samples_folder}")
        if sandbox and not context:
            arguments.append("--sandbox")
        arguments += [f"--context={one}" for one in context or ()]
        if kubeconfig:
            arguments.append(f"--kubeconfig={kubeconfig.absolute()}")
        _start(layout, arguments)
    try:
        code = asyncio.run(_show(layout))
    except KeyboardInterrupt:
        program, where = _program(), "" if _is_found(layout) else f" --state {layout.root}"
        typer.echo(
            f"it goes on in the background: `{program} up{where}` shows the rest, and"
            f" `{program} down{where}` ends it",
            err=True,
        )
        raise
    if code == 0:
        _what_next(layout)
    raise typer.Exit(code)


def down(
    *,
    state: Annotated[Path | None, typer.Option(help="Folder of the control plane.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep its state for the next `up`.")] = False,
) -> None:
    """Stop the control plane on this machine and everything that it runs, and delete its state."""
    root = state or find_state(Path.cwd())
    if root is None or not root.exists():
        typer.echo("nothing runs here", err=True)
        return
    layout = Layout(root=root.absolute())
    _stop(layout)
    _stop_clusters(layout)
    if not keep:
        shutil.rmtree(layout.root)
    typer.echo("stopped" if keep else "stopped and removed", err=True)


def _samples() -> Path:
    """The samples lie beside the packages in a checkout, and inside of them in a wheel."""
    for folder in (Path(__file__).parents[3], Path(__file__).parents[1]):
        if (folder / "samples").is_dir():
            return folder / "samples"
    typer.echo("error: the samples are missing: give --no-samples", err=True)
    raise typer.Exit(1)


def _running(layout: Layout) -> bool:
    from cellplane.runtime.processes import ProcessId

    identity = ProcessId.load(layout.pid_file)
    return identity is not None and identity.alive()


def _start(layout: Layout, arguments: list[str]) -> None:
    layout.logs.mkdir(parents=True, exist_ok=True)
    layout.progress.unlink(missing_ok=True)
    layout.pid_file.unlink(missing_ok=True)
    arguments = [f"--state={layout.root}", f"--base-port={layout.base_port}", *arguments]
    with (layout.logs / "supervisor.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cellplane.cli.local.daemon", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + 30
    while not layout.progress.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)


async def _show(layout: Layout) -> int:
    from cellplane.cli.local.progress import Step, follow

    last = None
    async for event in follow(layout.progress, lambda: _running(layout)):
        last = event
        mark = {Step.DOING: "…", Step.DONE: "✓", Step.READY: "✓", Step.FAILED: "✗"}[event.step]
        typer.echo(f"{event.seconds:6.1f}s {mark} {event.text}", err=True)
    if last is not None and last.step is Step.READY:
        return 0
    if last is None or last.step is not Step.FAILED:
        typer.echo(f"error: the supervisor ended: see {layout.logs / 'supervisor.log'}", err=True)
    else:
        typer.echo(f"see {layout.logs}; `cellplane down` takes everything away", err=True)
    return 1


def _what_next(layout: Layout) -> None:
    program, state = _program(), shlex.quote(str(layout.root))
    agents = {path.name for path in (layout.root / "state").glob("agent-*")}
    # Without a cluster, the samples are where they are written as manifests.
    clusters = agents - {"agent-folder"}
    kubeconfigs = sorted((layout.root / "state").glob("cluster-*/kubeconfig*"))
    lines = [
        "",
        "Where things are:",
        f"  model {layout.address('model')}, placement {layout.address('placement')}",
        f"  certificates: {layout.pki}",
        *(f"  cluster {path.parent.name.removeprefix('cluster-')}: {path}" for path in kubeconfigs),
        f"  the samples as manifests: {layout.manifests}",
        f"  logs: {layout.logs}",
        "",
        "What to try:",
        *([] if _is_found(layout) else [f"  export CELLPLANE_STATE={state}"]),
        *([] if clusters else ["  export CELLPLANE_ORGANIZATION=paper"]),
        f"  {program} status boutique",
        f"  {program} placement explain boutique/development",
        *([f"  {program} promote payments --from development --to staging"] if clusters else []),
        f"  source <({program} completion bash)",
        f"  {program} down",
    ]
    typer.echo("\n".join(lines))


def _is_found(layout: Layout) -> bool:
    """Whether commands find the state from here, or must be told where it is."""
    found = find_state(Path.cwd())
    return found is not None and found.absolute() == layout.root


def _program() -> str:
    """This program, as it can be typed here."""
    program = Path(sys.argv[0])
    found = shutil.which(program.name)
    return program.name if found and Path(found).samefile(program) else str(program)


def _stop(layout: Layout) -> None:
    from cellplane.runtime.processes import ProcessId

    identity = ProcessId.load(layout.pid_file)
    if identity is None or not identity.alive():
        return
    os.kill(identity.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_PATIENCE
    while identity.alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    if identity.alive():
        typer.echo("the supervisor does not end: killing it", err=True)
        os.kill(identity.pid, signal.SIGKILL)
        while identity.alive():
            time.sleep(0.05)


def _stop_clusters(layout: Layout) -> None:
    """End clusters that a killed supervisor could not end itself."""
    states = sorted((layout.root / "state").glob("cluster-*"))
    if not states:
        return
    import asyncio

    from cellplane.sandbox import cluster

    async def stop() -> None:
        for state in states:
            await cluster.stop(state, keep=True)

    asyncio.run(stop())
