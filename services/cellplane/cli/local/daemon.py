"""The supervisor of a control plane on this machine: brings it up, keeps it up, takes it down.

Runs in the background; ``cellplane up`` starts it and shows its journal. It owns every process:
services, agents, sandbox clusters. When it ends, in whatever way, all of them end.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from cellplane.cell.problem import CellplaneError
from cellplane.cli.local import commands, credentials
from cellplane.cli.local.joining import join
from cellplane.cli.local.layout import DEFAULT_BASE_PORT, SERVICES, Layout
from cellplane.cli.local.progress import Journal, Step
from cellplane.rpc.client import Channels
from cellplane.rpc.tls import ClientTLS
from cellplane.runtime import logs
from cellplane.runtime.processes import ProcessId
from cellplane.runtime.supervisor import Supervisor
from cellplane.runtime.tasks import run_until_signal
from cellplane.sandbox import cluster
from cellplane.sandbox.crds import CrdSet

ORGANIZATION = "acme"
PAPER = "paper"
"""The organization whose only data plane is a folder: what the samples become, on paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxPlane:
    """A sandbox cluster that becomes a data plane."""

    name: str
    region: str
    crds: frozenset[CrdSet]


_ONE_COPY = f"""kind: Environment
name: organizations/{ORGANIZATION}/environments/development
displayName: Development
placement: {{copies: 1}}
"""
_GATEWAYS = frozenset({CrdSet.ENVOY_GATEWAY, CrdSet.CERT_MANAGER})
SANDBOX_PLANES = (
    SandboxPlane(name="west", region="eu-west", crds=_GATEWAYS | {CrdSet.CILIUM}),
    # Without Cilium, to show the policies that every cluster understands.
    SandboxPlane(name="east", region="eu-east", crds=_GATEWAYS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be brought up."""

    layout: Layout
    samples: Path | None
    sandbox: bool
    contexts: tuple[str, ...]
    kubeconfig: Path | None
    enforcement: str
    """What the CNI of the contexts' clusters does with policies."""


class Bringing:
    """Brings a control plane up, step by step, with a journal."""

    def __init__(self, plan: Plan, journal: Journal, supervisor: Supervisor) -> None:
        self._plan = plan
        self._layout = plan.layout
        self._journal = journal
        self._supervisor = supervisor

    async def run(self, channels: Channels, stack: contextlib.AsyncExitStack) -> None:
        """Bring everything up; returns when the samples are ready everywhere."""
        samples = self._plan.samples is not None
        async with asyncio.TaskGroup() as group:
            # Clusters take longest and need no service until they join.
            clusters = [
                (plane, group.create_task(self._cluster(stack, plane)))
                for plane in (SANDBOX_PLANES if self._plan.sandbox else ())
            ]
            await self._services()
            joining = [
                group.create_task(self._sandbox_plane(channels, plane, start))
                for plane, start in clusters
            ]
            joining += [
                group.create_task(self._context_plane(channels, context))
                for context in self._plan.contexts
            ]
            if samples:
                group.create_task(self._on_paper(channels))
                await self._apply(ORGANIZATION, "platform", "payments", "boutique")
                if len(joining) == 1:
                    # The samples ask for two data planes; where there is one, one has to do.
                    await self._cellplane("apply", "--filename=-", document=_ONE_COPY)
        if samples and joining:
            await self._ready(ORGANIZATION, "payments", "boutique")
        self._journal.write(Step.READY, "everything is ready")

    async def _services(self) -> None:
        self._journal.write(Step.DOING, "starting the services")
        async with asyncio.TaskGroup() as group:
            for service in SERVICES:
                group.create_task(self._supervisor.start(commands.service(self._layout, service)))
        self._journal.write(Step.DONE, f"services run: {', '.join(SERVICES)}")

    async def _on_paper(self, channels: Channels) -> None:
        await self._apply(PAPER, "paper")
        grant = await join(channels, self._layout, PAPER, "folder", labels={})
        await self._supervisor.start(
            commands.agent(
                self._layout,
                "folder",
                grant,
                folder=self._layout.manifests,
                enforcement="external",
            )
        )
        await self._apply(PAPER, "payments", "boutique")
        await self._ready(PAPER, "payments", "boutique")
        self._journal.write(
            Step.DONE, f"first result: the samples as manifests in {self._layout.manifests}"
        )

    async def _cluster(
        self, stack: contextlib.AsyncExitStack, plane: SandboxPlane
    ) -> cluster.ClusterInfo:
        state = self._layout.state(f"cluster-{plane.name}")
        self._journal.write(
            Step.DOING, f"starting the sandbox cluster {plane.name} (its first build takes minutes)"
        )
        info = await cluster.start(
            plane.name,
            state,
            crds=plane.crds,
            region=plane.region,
            zones=(f"{plane.region}-a", f"{plane.region}-b"),
            progress=lambda text: self._journal.write(Step.DOING, text),
        )
        stack.push_async_callback(cluster.stop, state, keep=True)
        self._journal.write(
            Step.DONE, f"cluster {plane.name} runs: kubectl --kubeconfig {info.kubeconfig}"
        )
        return info

    async def _sandbox_plane(
        self, channels: Channels, plane: SandboxPlane, start: asyncio.Task[cluster.ClusterInfo]
    ) -> None:
        info = await start
        grant = await join(
            channels,
            self._layout,
            ORGANIZATION,
            plane.name,
            labels={
                "topology.kubernetes.io/region": plane.region,
                "cellplane.dev/sandbox": "true",
            },
        )
        await self._supervisor.start(
            commands.agent(
                self._layout,
                plane.name,
                grant,
                kubeconfig=info.kubeconfig,
                enforcement="simulated",
            )
        )
        self._journal.write(Step.DONE, f"data plane {plane.name} has joined")

    async def _context_plane(self, channels: Channels, context: str) -> None:
        name = "".join(c if c.isalnum() else "-" for c in context.lower()).strip("-")
        grant = await join(channels, self._layout, ORGANIZATION, name, labels={})
        await self._supervisor.start(
            commands.agent(
                self._layout,
                name,
                grant,
                kubeconfig=self._plan.kubeconfig,
                context=context,
                enforcement=self._plan.enforcement,
            )
        )
        self._journal.write(Step.DONE, f"data plane {name} has joined")

    async def _apply(self, organization: str, *samples: str) -> None:
        if self._plan.samples is None:
            return
        files = [f"--filename={self._plan.samples / sample}" for sample in samples]
        await self._cellplane("apply", f"--organization={organization}", *files)

    async def _ready(self, organization: str, *projects: str) -> None:
        names = [
            f"organizations/{organization}/projects/{project}/cells/development"
            for project in projects
        ]
        self._journal.write(Step.DOING, f"waiting for {' and '.join(projects)} of {organization}")
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(
                    self._cellplane("wait", "cell", name, "--for=ready", "--timeout=180s")
                )
        self._journal.write(Step.DONE, f"{' and '.join(projects)} of {organization} are ready")

    async def _cellplane(self, *arguments: str, document: str = "") -> None:
        """Run the command line as a user would."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cellplane.cli",
            *arguments,
            env={**os.environ, "CELLPLANE_STATE": str(self._layout.root)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate(document.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise RuntimeError(f"cellplane {' '.join(arguments)}\n{output.decode()}")


async def _main(plan: Plan, stop: asyncio.Event) -> None:
    layout = plan.layout
    journal = Journal(layout.progress)
    identity = ProcessId.of(os.getpid())
    if identity is not None:
        identity.save(layout.pid_file)
    credentials.ensure(layout, organization=ORGANIZATION)
    user = ClientTLS(
        ca=layout.pki / "ca.crt",
        cert=layout.pki / f"{credentials.USER}.crt",
        key=layout.pki / f"{credentials.USER}.key",
    )
    async with (
        contextlib.AsyncExitStack() as stack,
        Supervisor(layout.root / "run") as supervisor,
        Channels(user) as channels,
    ):
        bringing = asyncio.create_task(
            Bringing(plan, journal, supervisor).run(channels, stack), name="bringing up"
        )
        stopped = asyncio.create_task(stop.wait(), name="stop")
        await asyncio.wait({bringing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if bringing.done() and (error := bringing.exception()) is not None:
            journal.write(Step.FAILED, _reason(error))
        await stopped
        bringing.cancel()
        await asyncio.wait({bringing})


def _reason(error: BaseException) -> str:
    """The first cause in a tree of grouped errors, for people."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, CellplaneError | RuntimeError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def main() -> int:
    """Run until SIGTERM; the arguments come from ``cellplane up``."""
    parser = argparse.ArgumentParser(prog="cellplane up --supervise")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--base-port", type=int, default=DEFAULT_BASE_PORT)
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--sandbox", action="store_true")
    parser.add_argument("--context", action="append", default=[])
    parser.add_argument("--kubeconfig", type=Path)
    parser.add_argument("--enforcement", default="simulated")
    arguments = parser.parse_args()
    plan = Plan(
        layout=Layout(root=arguments.state, base_port=arguments.base_port),
        samples=arguments.samples,
        sandbox=arguments.sandbox,
        contexts=tuple(arguments.context),
        kubeconfig=arguments.kubeconfig,
        enforcement=arguments.enforcement,
    )
    logs.configure("info", "json", "supervisor")
    return run_until_signal(lambda stop: _main(plan, stop))


if __name__ == "__main__":
    sys.exit(main())
