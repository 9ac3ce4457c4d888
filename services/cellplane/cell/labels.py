"""Every label and annotation key of cellplane, once.

Keys under ``cellplane.dev/`` are written by cellplane alone: a tenant cannot set them, so policies
and gateways may trust them inside of a Cell's own namespace. Cilium drops labels under
``kubernetes.io`` and ``k8s.io`` from an identity, so selectors never use those.
"""

from __future__ import annotations

from typing import Final

PREFIX: Final = "cellplane.dev/"

ORGANIZATION: Final = "cellplane.dev/organization"
PROJECT: Final = "cellplane.dev/project"
ENVIRONMENT: Final = "cellplane.dev/environment"
COMPONENT: Final = "cellplane.dev/component"
RELEASE: Final = "cellplane.dev/release"
"""Only ever on objects, never in a selector: it changes."""
CELL: Final = "cellplane.dev/cell"
"""The namespace of the Cell that an object belongs to; agents watch by it."""
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "cellplane"
EGRESS_GATEWAY: Final = "cellplane.dev/egress-gateway"
"""On the pods of a Cell's own egress gateway."""
PLATFORM: Final = "cellplane.dev/platform"
"""On namespaces that only the platform owns: ``gateways``, ``observability``."""

OWN: Final = "label.cellplane.dev/"
"""Before the keys of a component's own labels; on objects only, never in a selector."""

OWNER: Final = "cellplane.dev/owner"
"""Annotation: name of the Cell. Only objects that carry it are ever removed."""
READY_WHEN: Final = "cellplane.dev/ready-when"
"""Annotation: an expression (CEL) about the object, by which agents tell whether it is ready."""


def cell_labels(
    organization: str, project: str, environment: str, namespace: str
) -> dict[str, str]:
    """Label what belongs to a Cell as a whole."""
    return {
        MANAGED_BY: MANAGER,
        ORGANIZATION: organization,
        PROJECT: project,
        ENVIRONMENT: environment,
        CELL: namespace,
    }


def platform_labels(organization: str, platform: str, namespace: str) -> dict[str, str]:
    """Label what belongs to the platform on a data plane; agents watch it as they do Cells."""
    return {
        MANAGED_BY: MANAGER,
        ORGANIZATION: organization,
        PLATFORM: platform,
        CELL: namespace,
    }


def component_selector(component: str) -> dict[str, str]:
    """Select the pods of one component, inside of its Cell's namespace."""
    return {COMPONENT: component}
