"""What every policy object has in common.

Names have a dot, which no id of a component has: no component can take a policy's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cellplane.cell import labels
from cellplane.cell.cell import ResolvedCell
from cellplane.cell.manifest import Manifest, Phase, manifest
from cellplane.cell.names import PlatformName
from cellplane.cell.visibility import Encryption

GUARD_NAME: Final = "cell.default-deny"
GATEWAY_NAME: Final = "cell.egress"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What policies are for: a namespace, and whose it is."""

    owner: str
    """Name of the Cell, or of the part of the platform."""
    namespace: str
    labels: Mapping[str, str]
    authenticated: bool = False
    """Whether pods of the namespace prove to each other who they are, by Cilium."""


def ground_of(cell: ResolvedCell) -> Ground:
    """A Cell's own namespace."""
    frame = cell.frame
    return Ground(
        owner=cell.cell,
        namespace=frame.namespace,
        labels=labels.cell_labels(
            frame.organization, frame.project, frame.environment, frame.namespace
        ),
        authenticated=frame.encryption is Encryption.CILIUM_MUTUAL_AUTH,
    )


def ground_of_platform(name: PlatformName) -> Ground:
    """A namespace that only the platform owns."""
    return Ground(
        owner=str(name),
        namespace=name.namespace,
        labels=labels.platform_labels(name.organization, name.platform, name.namespace),
    )


def policy_name(part: str) -> str:
    """Name of the policy that opens one part."""
    return f"component.{part}" if part else GATEWAY_NAME


def policy(
    ground: Ground,
    part: str,
    phase: Phase,
    kind: tuple[str, str],
    name: str,
    spec: Mapping[str, Any],
    *,
    cluster_wide: bool = False,
) -> Manifest:
    """Make one policy, of the namespace or the cluster; *kind* is ``apiVersion`` and ``kind``."""
    own = dict(ground.labels)
    if part:
        own[labels.COMPONENT] = part
    body = {
        "apiVersion": kind[0],
        "kind": kind[1],
        "metadata": {
            "name": name,
            **({} if cluster_wide else {"namespace": ground.namespace}),
            "labels": own,
            "annotations": {labels.OWNER: ground.owner},
        },
        "spec": dict(spec),
    }
    return manifest(part, phase, body)
