"""Start and stop one real Kubernetes cluster in a folder.

The folder is the cluster: its data, keys, logs and the identities of its processes. A start takes
over whatever an earlier run left there, running or not, and goes on with its objects; a stop leaves
no process, and no folder unless asked to. Calls about one folder exclude each other.
"""

import asyncio
import contextlib
import functools
import shutil
import socket
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellplane.sandbox import components, folders, objects, processes
from cellplane.sandbox import nodes as nodes_of
from cellplane.sandbox.api import Api, ApiError
from cellplane.sandbox.build import Progress, Tool, build, require_linux, silent
from cellplane.sandbox.components import Component
from cellplane.sandbox.crds import ALL, CrdSet, Schema, schemas
from cellplane.sandbox.credentials import Authority, kubeconfig, open_authority, write_private
from cellplane.sandbox.objects import NodeShape
from cellplane.sandbox.waiting import answers, until

_BACKGROUND = (Component.CONTROLLER_MANAGER, Component.SCHEDULER, Component.KWOK)
_STEP_BACK = ("nice", "-n", "10")
"""What only pretends to run pods leaves the machine to the API servers and their clients."""
_USERS = {
    Component.CONTROLLER_MANAGER: ("system:kube-controller-manager", ("system:masters",)),
    Component.SCHEDULER: ("system:kube-scheduler", ()),
    Component.KWOK: ("sandbox:kwok", ("system:masters",)),
}
_PROVISIONED = Path("/tmp/hostpath_pv")  # noqa: S108 - where kube-controller-manager puts them
_CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterInfo:
    """A cluster that is ready."""

    name: str
    state: Path
    kubeconfig: Path
    """Of an administrator; JSON, readable by its owner alone."""
    server: str
    port: int
    pids: Mapping[Component, int]
    audit_log: Path
    """One JSON object a line for every write that the API server answered."""


async def start(
    name: str,
    state_dir: Path,
    *,
    crds: frozenset[CrdSet] = ALL,
    nodes: int = 3,
    region: str = "local",
    zones: Sequence[str] = ("local-a",),
    shape: NodeShape | None = None,
    detached: bool = False,
    progress: Progress = silent,
) -> ClusterInfo:
    """Start a cluster, and wait until it takes objects and schedules pods.

    It runs until ``stop``, or until the calling thread ends unless ``detached``. Raises BuildError
    (programs or schemas could not be made), StartError and ApiError; then nothing runs.
    """
    require_linux()
    programs, known = await _programs(crds, progress)
    state = _absolute(state_dir)
    folders.claim(state, name)
    async with folders.exclusive(state):
        folders.claim(state, name)  # again, as a stop may have held it and deleted it
        await nodes_of.stop(state)
        await processes.end(state, Component)
        authority = open_authority(state / "pki")
        try:
            info = await _start_components(name, state, programs, authority, detached)
            await _furnish(
                info,
                known,
                objects.nodes(name, nodes, region=region, zones=zones, shape=shape or NodeShape()),
            )
        except BaseException:
            await processes.end(state, Component)
            raise
    progress(f"cluster {name} is ready at {info.server}")
    return info


async def stop(state_dir: Path, *, keep: bool = False) -> None:
    """End the folder's processes, then delete it unless it shall be kept for another start.

    A folder that holds no sandbox is left alone, and one that does not exist is no error.
    """
    state = _absolute(state_dir)
    if not folders.is_ours(state):
        return
    async with folders.exclusive(state):
        await nodes_of.stop(state)
        _delete_empty(await _volumes(state))
        # Only etcd has something to lose, and only where its data is wanted again.
        await processes.end(state, [each for each in Component if each is not Component.ETCD])
        await processes.end(state, [Component.ETCD], patience=10.0 if keep else 0.0)
        if not keep:
            await asyncio.to_thread(shutil.rmtree, state)


@contextlib.asynccontextmanager
async def running(
    name: str,
    state_dir: Path,
    *,
    crds: frozenset[CrdSet] = ALL,
    nodes: int = 3,
    region: str = "local",
    zones: Sequence[str] = ("local-a",),
    progress: Progress = silent,
) -> AsyncIterator[ClusterInfo]:
    """A cluster for the length of a block."""
    info = await start(
        name, state_dir, crds=crds, nodes=nodes, region=region, zones=zones, progress=progress
    )
    try:
        yield info
    finally:
        await stop(state_dir)


def status(state_dir: Path) -> Mapping[Component, int | None]:
    """The process id of each component, None for one that does not run."""
    return {each: processes.alive(_absolute(state_dir), each) for each in Component}


def user_kubeconfig(info: ClusterInfo, user: str, groups: Sequence[str] = ()) -> str:
    """A kubeconfig of another user, who may do what RBAC allows: nothing, at first."""
    authority = open_authority(info.state / "pki")
    return kubeconfig(authority, server=info.server, cluster=info.name, user=user, groups=groups)


async def _programs(
    crds: frozenset[CrdSet], progress: Progress
) -> tuple[Mapping[Tool, Path], Sequence[Schema]]:
    programs = await build([Tool.CLUSTER, Tool.KWOK], progress=progress)
    return programs, await schemas(crds, progress=progress)


async def _start_components(
    name: str, state: Path, programs: Mapping[Tool, Path], authority: Authority, detached: bool
) -> ClusterInfo:
    port = _free_port()
    server = f"https://127.0.0.1:{port}"
    admin = _write_kubeconfigs(name, state, authority, server)
    pids: dict[Component, int] = {}

    def spawn(component: Component) -> None:
        command = components.command(component, programs, authority, port=port)
        pids[component] = processes.spawn(
            component,
            [*_STEP_BACK, *command] if component in _BACKGROUND else command,
            state,
            environment=components.environment(state),
            detached=detached,
        )

    (state / components.ETCD_SOCKET).unlink(missing_ok=True)
    spawn(Component.ETCD)
    socket_path = state / components.ETCD_SOCKET
    await until(state, Component.ETCD, "it listens", lambda: answers(socket_path))
    spawn(Component.API_SERVER)
    async with Api(admin.read_text()) as api:
        await until(state, Component.API_SERVER, "it is ready", lambda: _ok(api, "/readyz"))
    for component in _BACKGROUND:
        spawn(component)
    return ClusterInfo(
        name=name,
        state=state,
        kubeconfig=admin,
        server=server,
        port=port,
        pids=pids,
        audit_log=state / "audit.log",
    )


def _write_kubeconfigs(name: str, state: Path, authority: Authority, server: str) -> Path:
    for component, (user, groups) in _USERS.items():
        config = kubeconfig(authority, server=server, cluster=name, user=user, groups=groups)
        write_private(state / components.client(component), config.encode())
    admin = state / "kubeconfig"
    config = kubeconfig(
        authority, server=server, cluster=name, user="sandbox:admin", groups=("system:masters",)
    )
    write_private(admin, config.encode())
    return admin


async def _furnish(
    info: ClusterInfo, known: Sequence[Schema], nodes: Sequence[objects.Object]
) -> None:
    """Create what a fresh cluster holds, and wait until all of it works."""
    async with Api(info.kubeconfig.read_text()) as api:
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        wanted = {node["metadata"]["name"] for node in nodes}
        wait = functools.partial(until, info.state)
        await _all(
            *(api.create("/api/v1/nodes", node) for node in nodes),
            api.create("/apis/storage.k8s.io/v1/storageclasses", objects.storage_class()),
            *(_establish(info.state, api, schema) for schema in known),
            wait(Component.CONTROLLER_MANAGER, "accounts are made", lambda: _ok(api, account)),
            wait(Component.KWOK, "nodes are looked after", lambda: _leased(api, wanted)),
            wait(
                Component.CONTROLLER_MANAGER, "nodes are ready", lambda: _schedulable(api, wanted)
            ),
        )


async def _establish(state: Path, api: Api, schema: Schema) -> None:
    path = f"{_CRD_PATH}/{schema['metadata']['name']}"
    if not await api.create(_CRD_PATH, schema):
        # Kubernetes forgets a schema that it was about to establish when it was killed, until the
        # schema changes: hence the annotation.
        started = {"annotations": {"sandbox.cellplane/started": str(time.time_ns())}}
        await api.merge(path, {"metadata": started, "spec": schema["spec"]})

    async def holds() -> bool:
        # Schemas are large, and asking for them in a hurry would delay what is waited for.
        await asyncio.sleep(0.4)
        return _condition(await api.get(path), "Established") == "True"

    await until(state, Component.API_SERVER, f"{path} is established", holds)


async def _ok(api: Api, path: str) -> bool:
    return (await api.call("GET", path)).ok


async def _schedulable(api: Api, wanted: set[str]) -> bool:
    listed = await api.get("/api/v1/nodes")
    ready = {
        each["metadata"]["name"]
        for each in listed["items"]
        if _condition(each, "Ready") == "True" and not each["spec"].get("taints")
    }
    return ready >= wanted


async def _leased(api: Api, wanted: set[str]) -> bool:
    """kwok renews a lease for each node that it has taken into its care."""
    listed = await api.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")
    return {each["metadata"]["name"] for each in listed["items"]} >= wanted


def _condition(item: objects.Object, kind: str) -> str:
    # A CustomResourceDefinition that nobody has looked at yet has null here.
    conditions = item.get("status", {}).get("conditions") or ()
    return next((str(each["status"]) for each in conditions if each["type"] == kind), "Unknown")


async def _all(*steps: Coroutine[Any, Any, Any]) -> None:
    """Run the steps together; the first error ends the others, and is raised itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for step in steps:
                group.create_task(step)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _volumes(state: Path) -> Sequence[Path]:
    """The folders that the host path provisioner made, which lie outside of the state folder."""
    admin = state / "kubeconfig"
    if processes.alive(state, Component.API_SERVER) is None or not admin.exists():
        return ()
    async with Api(admin.read_text()) as api:
        try:
            volumes = (await api.get("/api/v1/persistentvolumes"))["items"]
        except ApiError:
            return ()
    paths = [Path(each["spec"].get("hostPath", {}).get("path", "/")) for each in volumes]
    return [path for path in paths if path.parent == _PROVISIONED]


def _delete_empty(paths: Sequence[Path]) -> None:
    for path in (*paths, _PROVISIONED):
        with contextlib.suppress(OSError):  # whatever has content is not the provisioner's
            path.rmdir()


def _absolute(path: Path) -> Path:
    return path.absolute()
