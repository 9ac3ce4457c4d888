"""A component rendered before it is anywhere: what its type and traits cannot make of it.

So a developer learns of it where it is written, and not from a Cell later. What only environments
know is left open: connections lead nowhere, secrets are anywhere, the data plane has everything.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from cellplane.cell.cell import ResolvedCell
from cellplane.cell.definition import Definition
from cellplane.cell.plane import EXTERNAL_SECRETS, KEDA, DataPlaneProfile
from cellplane.cell.problem import Problem
from cellplane.model.domain.kinds import (
    cell_name,
    environment_name,
    organization_of,
    project_of,
)
from cellplane.model.domain.resolve import Deployed, Surroundings, frame, resolve
from cellplane.model.domain.resources import (
    Component,
    Environment,
    Organization,
    SecretReference,
    SecretReferenceEntry,
)
from cellplane.model.domain.secrets import secret_uses
from cellplane.model.workload.check import problems
from cellplane.model.workload.compile import render_component
from cellplane.model.workload.stamp import told

_ANYWHERE: Final = "anywhere"
_PLANE: Final = DataPlaneProfile(
    data_plane=_ANYWHERE,
    uid="00000000-0000-0000-0000-000000000000",
    organization=_ANYWHERE,
    trust_domain="any.internal",
    capabilities=(EXTERNAL_SECRETS, KEDA),
)


def rehearse(component: Component, definitions: Mapping[str, Definition]) -> Iterator[Problem]:
    """Yield what keeps a component from being rendered wherever it is deployed."""
    alone = replace(component, connections=())
    organization = organization_of(component.name)
    environment = Environment(name=environment_name(organization, _ANYWHERE))
    own = cell_name(project_of(component.name), _ANYWHERE)
    resolved = resolve(
        own,
        Deployed(release="", component=alone),
        environment,
        Surroundings(secrets=_secrets(alone), definitions=definitions),
    ).component
    if resolved is None:
        # Whatever that is has a finding of its own.
        return
    cell = ResolvedCell(
        cell=str(own),
        revision=0,
        frame=frame(own, Organization(name=organization), environment, ()),
        components=(resolved,),
    )
    if problems(cell, resolved):
        return
    for fault in render_component(cell, resolved, _PLANE).faults:
        yield told(fault, component.name)


def _secrets(component: Component) -> dict[str, SecretReference]:
    """Secrets as they would have to be, each with the keys that are read."""
    keys: dict[str, set[str]] = defaultdict(set)
    for use in secret_uses(component):
        keys[use.secret_reference] |= {use.key} if use.key else set()
    return {
        name: SecretReference(
            name=name,
            remote_key=_ANYWHERE,
            keys=tuple(SecretReferenceEntry(key=key) for key in sorted(own)),
        )
        for name, own in keys.items()
    }
