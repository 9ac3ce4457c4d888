"""Small Cells, as compilers make them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cellplane.cell import labels
from cellplane.cell.manifest import Manifest, Phase, manifest
from cellplane.cell.names import CellName


def cell_name(project: str = "shop", environment: str = "development") -> CellName:
    """A Cell of acme."""
    return CellName(organization="acme", project=project, environment=environment)


def make(
    cell: CellName,
    part: str,
    phase: Phase,
    api_version: str,
    kind: str,
    name: str,
    **rest: Any,
) -> Manifest:
    """One object of a Cell."""
    own = labels.cell_labels("acme", cell.project, cell.environment, cell.namespace)
    if part:
        own[labels.COMPONENT] = part
    metadata: dict[str, Any] = {
        "name": name,
        "labels": own,
        "annotations": {labels.OWNER: str(cell)},
    }
    if kind != "Namespace":
        metadata["namespace"] = cell.namespace
    body = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
    return manifest(part, phase, body)


def frame(cell: CellName) -> list[Manifest]:
    """What belongs to the Cell as a whole."""
    return [
        make(cell, "", Phase.NAMESPACE, "v1", "Namespace", cell.namespace),
        make(
            cell,
            "",
            Phase.GUARD,
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "default-deny",
            spec={"podSelector": {}, "policyTypes": ["Egress", "Ingress"]},
        ),
    ]


def component(
    cell: CellName,
    name: str,
    *,
    image: str = "registry.test/app:1",
    replicas: int = 1,
    env: str = "1",
    cpu: str = "50m",
) -> list[Manifest]:
    """A service with its policy."""
    selector = {labels.COMPONENT: name}
    pod_labels = labels.cell_labels("acme", cell.project, cell.environment, cell.namespace)
    return [
        make(
            cell,
            name,
            Phase.POLICY,
            "networking.k8s.io/v1",
            "NetworkPolicy",
            f"{name}-ingress",
            spec={
                "podSelector": {"matchLabels": selector},
                "policyTypes": ["Ingress"],
                "ingress": [{"ports": [{"port": 8080, "protocol": "TCP"}]}],
            },
        ),
        make(cell, name, Phase.POLICY, "v1", "ServiceAccount", name),
        make(cell, name, Phase.CONFIGURATION, "v1", "ConfigMap", f"{name}-config", data={"A": env}),
        make(
            cell,
            name,
            Phase.WORKLOAD,
            "apps/v1",
            "Deployment",
            name,
            spec={
                "replicas": replicas,
                "selector": {"matchLabels": selector},
                "template": {
                    "metadata": {"labels": {**pod_labels, labels.COMPONENT: name}},
                    "spec": {
                        "serviceAccountName": name,
                        "containers": [
                            {
                                "name": name,
                                "image": image,
                                "env": [{"name": "A", "value": env}],
                                "ports": [{"containerPort": 8080}],
                                "resources": {"requests": {"cpu": cpu, "memory": "64Mi"}},
                            }
                        ],
                    },
                },
            },
        ),
        make(
            cell,
            name,
            Phase.WORKLOAD,
            "v1",
            "Service",
            name,
            spec={
                "selector": selector,
                "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
            },
        ),
    ]


def whole(cell: CellName, names: Iterable[str] = ("web",), **how: Any) -> list[Manifest]:
    """A Cell of a few services."""
    found = frame(cell)
    for name in names:
        found += component(cell, name, **how)
    return found
