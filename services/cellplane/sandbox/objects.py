"""What a fresh cluster holds beside its schemas: nodes of a plausible size, and a StorageClass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cellplane.sandbox.build import KUBERNETES_VERSION

Object = Mapping[str, Any]
"""One Kubernetes object."""

STORAGE_CLASS = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeShape:
    """What each fake node offers, as Kubernetes quantities."""

    cpu: str = "8"
    memory: str = "32Gi"
    ephemeral_storage: str = "100Gi"
    pods: str = "110"


def nodes(
    cluster: str, count: int, *, region: str, zones: Sequence[str], shape: NodeShape
) -> Sequence[Object]:
    """Nodes dealt to the zones in turn."""
    return [
        _node(f"{cluster}-{index + 1}", index, region, zones[index % len(zones)], shape)
        for index in range(count)
    ]


def storage_class() -> Object:
    """The default class; the controller manager binds its claims at once."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/host-path",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def _node(name: str, index: int, region: str, zone: str, shape: NodeShape) -> Object:
    offers = {
        "cpu": shape.cpu,
        "memory": shape.memory,
        "ephemeral-storage": shape.ephemeral_storage,
        "pods": shape.pods,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "topology.kubernetes.io/region": region,
                "topology.kubernetes.io/zone": zone,
                "node.kubernetes.io/instance-type": "sandbox",
                "type": "kwok",
            },
        },
        "status": {
            "capacity": offers,
            "allocatable": offers,
            "addresses": [
                {"type": "InternalIP", "address": f"192.168.{index // 250}.{index % 250 + 1}"},
                {"type": "Hostname", "address": name},
            ],
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "fake"},
                *(
                    {"type": kind, "status": "False", "reason": "Fake", "message": "fake"}
                    for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
                ),
            ],
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "kubeletVersion": KUBERNETES_VERSION,
                "kubeProxyVersion": "",
                "containerRuntimeVersion": "kwok://fake",
                "kernelVersion": "fake",
                "osImage": "fake",
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
            },
        },
    }
