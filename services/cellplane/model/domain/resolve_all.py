"""Every Cell of an environment at once, from nothing: what step by step must always come to.

The service resolves again what a change can touch, and nothing else; this is the same by
definition, without an index, for whoever has everything at hand: offline compiles, and laws.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cellplane.cell.cell import ResolvedCell
from cellplane.cell.definition import Definition
from cellplane.cell.names import last_segment
from cellplane.cell.problem import Problem
from cellplane.model.domain.claims import Claim, claims_of
from cellplane.model.domain.kinds import cell_name, project_of
from cellplane.model.domain.resolve import (
    ANY_PORT,
    Deployed,
    EndpointKey,
    GrantKey,
    Resolution,
    Surroundings,
    frame,
    outbound_of,
    resolve,
)
from cellplane.model.domain.resources import Environment, Organization, SecretReference
from cellplane.model.domain.touched import calls_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResolution:
    """A Cell with the components that resolve, and why others do not; whole without problems."""

    cell: ResolvedCell
    problems: tuple[Problem, ...] = ()


def resolve_all(
    environment: Environment,
    deployed: Mapping[str, Deployed],
    secrets: Mapping[str, SecretReference],
    grants: frozenset[GrantKey] = frozenset(),
    definitions: Mapping[str, Definition] = MappingProxyType({}),
) -> dict[str, Resolution]:
    """Resolve every component that is deployed in an environment, by name."""
    cells = {name: cell_name(project_of(name), last_segment(environment.name)) for name in deployed}
    callers: dict[EndpointKey, set[str]] = defaultdict(set)
    users: dict[Claim, set[EndpointKey]] = defaultdict(set)
    claims: dict[str, dict[str, Claim]] = {}
    for name, one in deployed.items():
        for key in calls_of(one.component):
            callers[key].add(name)
        claims[name] = claims_of(cells[name], one.component, environment)
        for own, claim in claims[name].items():
            users[claim].add((name, own))
    providers = {name: one.component for name, one in deployed.items()}
    return {
        name: resolve(
            cells[name],
            one,
            environment,
            Surroundings(
                providers=providers,
                callers={
                    own: frozenset(callers[name, own])
                    for own in (ANY_PORT, *(e.endpoint for e in one.component.endpoints))
                },
                secrets=secrets,
                claims={
                    own: frozenset(users[claim] - {(name, own)})
                    for own, claim in claims[name].items()
                },
                grants=grants,
                definitions=definitions,
            ),
        )
        for name, one in sorted(deployed.items())
    }


def resolve_cells(
    organization: Organization,
    environment: Environment,
    deployed: Mapping[str, Deployed],
    secrets: Mapping[str, SecretReference],
    grants: frozenset[GrantKey] = frozenset(),
    definitions: Mapping[str, Definition] = MappingProxyType({}),
) -> dict[str, CellResolution]:
    """Resolve every Cell of an environment, by name."""
    by_cell: dict[str, list[Resolution]] = defaultdict(list)
    for name, one in resolve_all(environment, deployed, secrets, grants, definitions).items():
        by_cell[str(cell_name(project_of(name), last_segment(environment.name)))].append(one)
    found: dict[str, CellResolution] = {}
    for name, resolutions in sorted(by_cell.items()):
        components = tuple(r.component for r in resolutions if r.component is not None)
        outbound = [o for component in components for o in outbound_of(component)]
        own = cell_name(name.rsplit("/cells/", 1)[0], last_segment(environment.name))
        found[name] = CellResolution(
            cell=ResolvedCell(
                cell=name,
                revision=1,
                frame=frame(own, organization, environment, outbound),
                components=components,
            ),
            problems=tuple(p for r in resolutions for p in r.problems),
        )
    return found
