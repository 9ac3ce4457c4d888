"""What every policy object has in common.

Names have a dot, which no id of a component has: no component can take a policy's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cellplane.cell import labels
from cellplane.cell.cell import ResolvedCell
from cellplane.cell.manifest import Manifest, Phase, manifest

GUARD_NAME: Final = "cell.default-deny"
GATEWAY_NAME: Final = "cell.egress"


def policy_name(part: str) -> str:
    """Name of the policy that opens one part."""
    return f"component.{part}" if part else GATEWAY_NAME


def policy(
    cell: ResolvedCell,
    part: str,
    phase: Phase,
    kind: tuple[str, str],
    name: str,
    spec: Mapping[str, Any],
) -> Manifest:
    """Make one policy of the Cell's namespace; *kind* is ``apiVersion`` and ``kind``."""
    frame = cell.frame
    own = labels.cell_labels(frame.organization, frame.project, frame.environment, frame.namespace)
    if part:
        own[labels.COMPONENT] = part
    body = {
        "apiVersion": kind[0],
        "kind": kind[1],
        "metadata": {
            "name": name,
            "namespace": frame.namespace,
            "labels": own,
            "annotations": {labels.OWNER: cell.cell},
        },
        "spec": dict(spec),
    }
    return manifest(part, phase, body)
