"""What every object of this compiler has in common.

The id of a release stands in the metadata of what runs and nowhere else: in a pod template it would
restart a component whose process did not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cellplane.cell import labels
from cellplane.cell.cell import ResolvedCell, ResolvedComponent
from cellplane.cell.problem import Findings


def stable_labels(cell: ResolvedCell, part: str) -> dict[str, str]:
    """Labels that never change while the object is what it is."""
    frame = cell.frame
    own = labels.cell_labels(frame.organization, frame.project, frame.environment, frame.namespace)
    if part:
        own[labels.COMPONENT] = part
    return own


def component_object(
    cell: ResolvedCell,
    component: ResolvedComponent,
    api_version: str,
    kind: str,
    name: str,
    rest: Mapping[str, Any],
    *,
    release: bool = False,
) -> dict[str, Any]:
    """Make the body of an object of one component, in the Cell's namespace."""
    own = dict(component.labels) | stable_labels(cell, component.component)
    if release and component.release:
        own[labels.RELEASE] = component.release
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": cell.frame.namespace,
            "labels": own,
            "annotations": {labels.OWNER: cell.cell},
        },
        **rest,
    }


def _collection(component: ResolvedComponent) -> str:
    own = component.type.definition if component.type is not None else None
    is_claimed = own is not None and "/resourceTypes/" in own.definition
    return "resourceClaims" if is_claimed else "components"


def findings_of(cell: ResolvedCell, component: ResolvedComponent) -> Findings:
    """Collect problems of one component, by the path of the field as it is written."""
    frame = cell.frame
    return Findings(
        resource=f"organizations/{frame.organization}/projects/{frame.project}"
        f"/{_collection(component)}/{component.component}"
    )
