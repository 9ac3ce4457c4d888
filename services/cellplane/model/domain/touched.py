"""What a component needs of others and shows to them, so that a change resolves just who reads it.

Pure, as resolution is: who must resolve again follows from the component before and after alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from cellplane.cell.protocol import Protocol
from cellplane.cell.visibility import Visibility
from cellplane.model.domain.default import target_port
from cellplane.model.domain.offers import offers_of
from cellplane.model.domain.resolve import ANY_ENDPOINT, ANY_PORT, EndpointKey
from cellplane.model.domain.resources import Component
from cellplane.model.domain.secrets import SecretKeys, secrets_of


def calls_of(component: Component | None) -> frozenset[EndpointKey]:
    """Everything that others offer and *component* uses: endpoints, and what is behind them."""
    if component is None:
        return frozenset()
    return frozenset(
        (target.component, used)
        for target in (c.component_endpoint for c in component.connections)
        if target is not None
        for used in (target.endpoint, *target.offers)
    ) | frozenset(
        (c.managed_resource.resource, ANY_PORT)
        for c in component.connections
        if c.managed_resource is not None
    )


def guarded(components: Iterable[Component | None]) -> frozenset[str]:
    """Names of the components that have an endpoint which needs a grant."""
    return frozenset(
        c.name for c in components if c is not None and any(e.requires_grant for e in c.endpoints)
    )


def needs_of(component: Component | None) -> frozenset[EndpointKey | SecretKeys]:
    """Everything whose change makes *component* resolve again: what it calls, what it reads."""
    return calls_of(component) | secrets_of(component)


Face: TypeAlias = tuple[Protocol | None, int, int, bool, str, bool, str]


def faces_of(component: Component | None) -> dict[str, Face]:
    """What callers see of each endpoint, and of what is behind it."""
    if component is None:
        return {}
    ports = {e.endpoint: target_port(e) for e in component.endpoints}
    return {
        o.offer: (
            o.protocol,
            o.port,
            ports.get(o.endpoint, 0),
            Visibility.ORGANIZATION in o.visibilities,
            o.path,
            o.requires_grant,
            o.endpoint,
        )
        for o in offers_of(component)
    }


def touched_endpoints(before: Component | None, after: Component | None) -> frozenset[str]:
    """Endpoints whose callers must resolve again."""
    old, new = faces_of(before), faces_of(after)
    if (before is None) != (after is None) or old.keys() != new.keys():
        # Who calls an endpoint that never was has another problem now.
        return frozenset({ANY_ENDPOINT})
    return frozenset(e for e in new if old[e] != new[e])


def touched_targets(before: Component | None, after: Component | None) -> frozenset[str]:
    """Names of the components whose callers changed."""
    return frozenset(component for component, _ in calls_of(before) ^ calls_of(after))
