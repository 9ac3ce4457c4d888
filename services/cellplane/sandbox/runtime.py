"""The container runtime and the kubelet of a real node: their configurations and arguments.

The node has the machine's kernel and files, and a ``/run`` of its own; so sockets and states lie
there, and never meet a runtime that the machine itself has.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cellplane.sandbox import images
from cellplane.sandbox.fabric import Place

CONTAINERD = "containerd"
KUBELET = "kubelet"
SOCKET = "/run/containerd/containerd.sock"
CONTAINERS = "containerd/io.containerd.grpc.v1.cri/*"
"""Below a node's folder: has a folder for each container, named by its identity."""
CGROUP = "k8s.io"
"""Holds the control groups of all containers, whosever they are."""


def containerd(*, root: Path, plugins: Path) -> str:
    """The configuration file of containerd; ``plugins`` is the folder of CNI plugins."""
    return f"""version = 2
root = {_quoted(root)}
state = "/run/containerd/state"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{images.PAUSE}"
  # Without it runc cannot lower the score of what it starts, and fails.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {_quoted(plugins)}
    conf_dir = "/run/cni"
"""


def load(archive: Path) -> Sequence[str | Path]:
    """The command that gives the runtime the images of an archive."""
    return ["ctr", f"--address={SOCKET}", "--namespace=k8s.io", "images", "import", archive]


def kubelet(*, address: str, authority: Path, folder: Path) -> str:
    """The configuration file of the kubelet."""
    return _json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": address,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": False},
                "x509": {"clientCAFile": str(authority)},
            },
            "authorization": {"mode": "Webhook"},
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "cgroupDriver": "cgroupfs",
            # The machine is not the node's alone: nothing of it is reserved, measured or cleared.
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "evictionHard": {
                "imagefs.available": "0%",
                "memory.available": "0%",
                "nodefs.available": "0%",
            },
            "failCgroupV1": False,
            "failSwapOn": False,
            "imageGCHighThresholdPercent": 100,
            "podLogsDir": str(folder / "logs"),
            "resolvConf": "",
            "serializeImagePulls": False,
        }
    )


def kubelet_command(program: Path, name: str, place: Place, folder: Path) -> Sequence[str | Path]:
    """The kubelet and its arguments."""
    return [
        program,
        f"--config={folder / 'kubelet.json'}",
        f"--kubeconfig={folder / f'{KUBELET}.kubeconfig'}",
        # It makes sockets there, whose paths must be short.
        "--root-dir=/run/kubelet",
        f"--cert-dir={folder / 'pki'}",
        f"--hostname-override={name}",
        f"--node-ip={place.address}",
    ]


def node(name: str, place: Place) -> Mapping[str, Any]:
    """The node, before its kubelet has seen it: no controller deals addresses to nodes here."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
        },
        "spec": {"podCIDR": place.pods, "podCIDRs": [place.pods]},
    }


def _quoted(path: Path) -> str:
    return _json(str(path))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2)
