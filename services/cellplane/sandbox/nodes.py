"""Real nodes: a container runtime, a kubelet and the Cilium agent, in a room of their own each.

The control plane stays on this machine's loopback; a relay brings it into each room. Everything
that a node makes is within its room, its folder and control groups, and goes when it is ended.
"""

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellplane.sandbox import cilium, fabric, folders, images, machine, processes, runtime
from cellplane.sandbox.api import Api
from cellplane.sandbox.build import Progress, Tool, build, silent
from cellplane.sandbox.crds import cilium_sources
from cellplane.sandbox.credentials import kubeconfig, open_authority, write_private
from cellplane.sandbox.fabric import Place
from cellplane.sandbox.machine import Machine
from cellplane.sandbox.processes import StartError
from cellplane.sandbox.rooms import Room, close_room, open_room
from cellplane.sandbox.waiting import answers, until

PATIENCE = 300.0
"""Seconds until a node that is not ready counts as failed; its agent compiles for the kernel."""

_PREFIX = "node-"
_RELAY = "relay"
_API_SOCKET = "api"
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node that is ready."""

    name: str
    place: Place
    room: Room


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodes:
    """The real nodes of one cluster, and what lies between and around them."""

    nodes: Sequence[Node]
    outside: Room
    probe: Path
    """The program of the image ``images.PROBE``, to be run in any network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kit:
    """What every node of a cluster is made with."""

    cluster: str
    state: Path
    port: int
    """Of the API server, on loopback: here, and in each room."""
    machine: Machine
    programs: Mapping[Tool, Path]
    sources: Path
    """Cilium's module."""
    detached: bool

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def bin(self) -> Path:
        """Programs under the names by which they are found."""
        return self.state / "bin"


async def start(
    cluster: str,
    state: Path,
    *,
    port: int,
    count: int = 1,
    outside: Sequence[str] = (),
    detached: bool = False,
    progress: Progress = silent,
) -> Nodes:
    """Add real nodes to the running cluster of this folder, and wait until pods can be theirs.

    The cluster needs the schemas of ``CrdSet.CILIUM_AGENT``. ``outside`` are addresses outside of
    the cluster that shall exist. Raises Unfit, BuildError, StartError and ApiError; then nothing of
    the nodes runs.
    """
    fit = machine.inspect()
    _refuse_run(state)
    programs = await build([Tool.CLUSTER, Tool.KUBELET, Tool.CILIUM, Tool.PROBE], progress=progress)
    kit = _Kit(
        cluster=cluster,
        state=state,
        port=port,
        machine=fit,
        programs=programs,
        sources=await cilium_sources(progress),
        detached=detached,
    )
    async with folders.exclusive(state):
        await stop(state)
        try:
            return await _start(kit, count, outside, progress)
        except BaseException:
            await stop(state)
            raise


async def stop(state: Path) -> None:
    """End the nodes of this folder's cluster with all that they hold; then nothing is left."""
    rooms = [each for each in processes.known(state) if _is_room(each)]
    await asyncio.gather(*(close_room(state, each) for each in rooms))
    await processes.end(state, [_RELAY])
    await asyncio.to_thread(_delete_groups, _containers(state))


def status(state: Path) -> Mapping[str, int | None]:
    """The process id of each program of the nodes, None for one that ended."""
    rooms = [each for each in processes.known(state) if _is_room(each.partition(".")[0])]
    return {each: processes.alive(state, each) for each in rooms}


async def _start(kit: _Kit, count: int, addresses: Sequence[str], progress: Progress) -> Nodes:
    _lay_out(kit)
    archive = kit.state / "images.tar"
    await asyncio.to_thread(
        images.write, kit.programs[Tool.PROBE], [images.PAUSE, images.PROBE], archive
    )
    processes.spawn(
        _RELAY,
        [kit.programs[Tool.PROBE], "relay", f"unix:{_API_SOCKET}", f"tcp:127.0.0.1:{kit.port}"],
        kit.state,
        environment={},
        detached=kit.detached,
    )
    pause = kit.bin / "pause"
    outside = await open_room(
        fabric.NAME, kit.state, pause, network_only=True, detached=kit.detached
    )
    await fabric.furnish(outside, addresses)
    async with Api((kit.state / "kubeconfig").read_text()) as api:
        made = [_node(kit, api, outside, Place(number=n + 1), progress) for n in range(count)]
        nodes = await _together(made)
    return Nodes(nodes=nodes, outside=outside, probe=kit.programs[Tool.PROBE])


async def _together(steps: Sequence[Coroutine[Any, Any, Node]]) -> Sequence[Node]:
    """Run the steps together; the first error ends the others, and is raised itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(step) for step in steps]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def _refuse_run(state: Path) -> None:
    if state.resolve().is_relative_to("/run"):
        raise StartError(f"{state} is below /run, where each node has files of its own: move it")


def _lay_out(kit: _Kit) -> None:
    """Make what all nodes share: programs under their names, and the sources of the agent's."""
    links = {
        "pause": kit.programs[Tool.PROBE],
        "clang": kit.machine.clang,
        "loopback": kit.machine.loopback,
        cilium.PROGRAM: kit.programs[Tool.CILIUM],
        cilium.PLUGIN: kit.programs[Tool.CILIUM],
    }
    kit.bin.mkdir(exist_ok=True)
    library = kit.state / "lib"
    library.mkdir(exist_ok=True)
    for link, target in [
        *((kit.bin / name, at) for name, at in links.items()),
        (library / "bpf", kit.sources / "bpf"),
    ]:
        link.unlink(missing_ok=True)
        link.symlink_to(target)


async def _node(kit: _Kit, api: Api, outside: Room, place: Place, progress: Progress) -> Node:
    name = f"{kit.cluster}-real-{place.number}"
    began = time.monotonic()
    folder = kit.state / "nodes" / name
    folder.mkdir(parents=True, exist_ok=True)
    room = await open_room(
        f"{_PREFIX}{place.number}",
        kit.state,
        kit.bin / "pause",
        network_only=False,
        detached=kit.detached,
    )
    await fabric.plug_in(outside, room, place)
    await api.create("/api/v1/nodes", runtime.node(name, place))
    _spawn_all(kit, room, name, place, folder)

    async def works() -> bool:
        return await cilium.works(room)

    async def ready() -> bool:
        return _is_ready(await api.get(f"/api/v1/nodes/{name}"))

    wait = functools.partial(until, kit.state, patience=PATIENCE)
    containerd = f"{room.name}.{runtime.CONTAINERD}"
    await wait(containerd, "it listens", lambda: answers(room.path(runtime.SOCKET)))
    await room.run(*runtime.load(kit.state / "images.tar"))
    await wait(f"{room.name}.{cilium.PROGRAM}", "it works", works)
    # Only now is there somebody whom the plugin can ask.
    room.path("/run/cni/cilium.conflist").write_text(cilium.network())
    await wait(f"{room.name}.{runtime.KUBELET}", f"node {name} is ready", ready)
    progress(f"node {name} is ready after {time.monotonic() - began:.0f} s")
    return Node(name=name, place=place, room=room)


def _spawn_all(kit: _Kit, room: Room, name: str, place: Place, folder: Path) -> None:
    authority = open_authority(kit.state / "pki")
    users = {
        runtime.KUBELET: (f"system:node:{name}", ("system:nodes",)),
        cilium.PROGRAM: ("sandbox:cilium", ("system:masters",)),
    }
    for program, (user, groups) in users.items():
        config = kubeconfig(
            authority, server=kit.server, cluster=kit.cluster, user=user, groups=groups
        )
        write_private(folder / f"{program}.kubeconfig", config.encode())
    (folder / "containerd.toml").write_text(
        runtime.containerd(root=folder / "containerd", plugins=kit.bin)
    )
    (folder / "kubelet.json").write_text(
        runtime.kubelet(
            address=place.address,
            authority=authority.certificate,
            folder=folder,
        )
    )
    into: list[str | Path] = ["/bin/sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", kit.state]
    probe = kit.programs[Tool.PROBE]
    room.spawn(_RELAY, [*into, probe, "relay", f"tcp:127.0.0.1:{kit.port}", f"unix:{_API_SOCKET}"])
    room.spawn(runtime.CONTAINERD, ["containerd", f"--config={folder / 'containerd.toml'}"])
    room.spawn(
        runtime.KUBELET, runtime.kubelet_command(kit.programs[Tool.KUBELET], name, place, folder)
    )
    room.spawn(
        cilium.PROGRAM,
        cilium.command(
            agent=kit.bin / cilium.PROGRAM,
            kubeconfig=folder / f"{cilium.PROGRAM}.kubeconfig",
            library=kit.state / "lib",
        ),
        cilium.environment(node=name, compiler=kit.bin),
    )


def _is_ready(node: Mapping[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or ()
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and not node["spec"].get("taints")


def _is_room(record: str) -> bool:
    return record == fabric.NAME or (record.startswith(_PREFIX) and "." not in record)


def _containers(state: Path) -> Sequence[str]:
    """The containers that the runtimes of this folder's nodes ever knew."""
    return [each.name for each in (state / "nodes").glob(f"*/{runtime.CONTAINERS}/*")]


def _delete_groups(containers: Sequence[str]) -> None:
    """Delete the containers' control groups, which are empty: nobody does when a node is killed."""
    unified = (_CGROUPS / "cgroup.controllers").exists()
    for hierarchy in [_CGROUPS] if unified else _CGROUPS.iterdir():
        parent = hierarchy / runtime.CGROUP
        for container in containers:
            for folder, _, _ in os.walk(parent / container, topdown=False):
                Path(folder).rmdir()
        with contextlib.suppress(OSError):  # there is none, or it is another runtime's too
            parent.rmdir()
