"""What the sandbox promises about real nodes: pods run, and nothing of them is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cellplane.sandbox import images, machine, nodes
from cellplane.sandbox.processes import StartError, alive, known
from tests.e2e.cluster import Cluster

ROOT = Path(__file__).parents[3]


@pytest.fixture
def fit() -> None:
    """Skips where there can be no real nodes, with the reason."""
    if not os.environ.get("CELLPLANE_FULL"):
        pytest.skip("real nodes need Cilium compiled: CELLPLANE_FULL=1 (make test-full)")
    try:
        machine.inspect()
    except machine.Unfit as unfit:
        pytest.skip(str(unfit))


def test_what_a_machine_lacks_is_told_at_once(tmp_path: Path) -> None:
    """All packages that are missing are named together."""
    with pytest.raises(machine.Unfit) as unfit:
        machine.inspect(path=str(tmp_path), plugins=())
    for package in ("containerd", "runc", "clang-19", "containernetworking-plugins", "iptables"):
        assert package in str(unfit.value)


def test_an_image_is_the_same_for_the_same_program(tmp_path: Path) -> None:
    """An image depends on its program and its names alone."""
    program = tmp_path / "hello"
    program.write_text("#!/bin/sh\n")
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    images.write(program, ["example/hello:1"], first)
    os.utime(program, (0, 0))
    images.write(program, ["example/hello:1"], second)
    program.write_text("#!/bin/bash\n")
    images.write(program, ["example/hello:1"], third)
    assert first.read_bytes() == second.read_bytes() != third.read_bytes()


@pytest.mark.asyncio
@pytest.mark.usefixtures("fit")
async def test_a_folder_that_nodes_do_not_see_is_refused() -> None:
    """Below ``/run`` each node has files of its own, so a cluster there is refused real nodes."""
    with pytest.raises(StartError, match="below /run"):
        await nodes.start("real", Path("/run/cellplane-nowhere"), port=1)


@pytest.mark.timeout(2400)
@pytest.mark.usefixtures("fit")
@pytest.mark.parametrize("orderly", [True, False], ids=["down", "killed"])
def test_nothing_is_left_of_a_real_node(tmp_path: Path, orderly: bool) -> None:
    """``up --cilium`` makes a node that runs pods; ``down`` leaves nothing, killed or not."""
    state, before = tmp_path / "state", _kernel()
    assert _sandbox("up", "real", str(state), "--cilium", "--nodes=1", "--crds=") == 0
    try:
        _run_a_pod(Cluster.of(state / "kubeconfig"))
        assert _sandbox("status", str(state)) == 0
        assert all(_new(before)[what] for what in ("namespaces", "programs", "groups"))
        if not orderly:
            pid = alive(state, "node-1")
            assert pid is not None
            os.kill(pid, 9)
            _until(lambda: not any(alive(state, each) for each in known(state) if "node-1" in each))
            assert _sandbox("status", str(state)) == 3
    finally:
        assert _sandbox("down", str(state)) == 0
    assert not state.exists()
    _until(lambda: not any(_new(before).values()))


def _run_a_pod(cluster: Cluster) -> None:
    spec = {
        "automountServiceAccountToken": False,
        "containers": [
            {
                "name": "probe",
                "image": images.PROBE,
                "imagePullPolicy": "Never",
                "command": ["/probe", "serve", "pod", "tcp:8080"],
            }
        ],
    }
    path = "/api/v1/namespaces/default/pods"
    status, answer = cluster.request("POST", path, {"metadata": {"name": "pod"}, "spec": spec})
    assert status == 201, answer
    cluster.until(f"{path}/pod", lambda pod: pod["status"]["phase"] == "Running", patience=60)


def _kernel() -> dict[str, set[str]]:
    """What real nodes make in the kernel, as far as this machine can see it."""
    return {
        "namespaces": _said("lsns", "--type=net", "--noheadings", "--output=ns"),
        "links": {path.name for path in Path("/sys/class/net").iterdir()},
        "mounts": set(Path("/proc/mounts").read_text().splitlines()),
        "programs": _said("bpftool", "prog", "show"),
        "groups": set(map(str, Path("/sys/fs/cgroup").glob("**/k8s.io/*/"))),
    }


def _new(before: dict[str, set[str]]) -> dict[str, set[str]]:
    """What is there that was not before."""
    return {what: found - before[what] for what, found in _kernel().items()}


def _said(*command: str) -> set[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def _sandbox(*arguments: str) -> int:
    command = [sys.executable, "-m", "cellplane.sandbox", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def _until(holds: object) -> None:
    deadline = time.monotonic() + 30
    assert callable(holds)
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
