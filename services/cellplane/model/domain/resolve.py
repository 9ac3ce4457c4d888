"""A component as it is deployed, with every reference bound; or why it cannot be.

A component resolves from itself, the endpoints that it calls, as they are deployed in the same
environment, and the names of those who call it. So a change of one touches itself, its callers if
its endpoints changed, and its targets if its connections changed: ``affected`` says which. The
result does not depend on the order in which anything arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cellplane.cell.cell import (
    CellFrame,
    CellTarget,
    ExternalTarget,
    OrganizationTarget,
    OutboundConnection,
    ResolvedComponent,
    ResolvedConnection,
    ResolvedEndpoint,
)
from cellplane.cell.definition import Definition
from cellplane.cell.labels import OWN
from cellplane.cell.names import CellName, last_segment
from cellplane.cell.problem import Findings, Problem
from cellplane.cell.rules import for_objects
from cellplane.cell.visibility import Encryption, Isolation, Visibility
from cellplane.model.domain.claims import check_claims, check_hostnames
from cellplane.model.domain.default import (
    default_workload,
    organization_domain,
    path,
    public_domain,
    target_port,
)
from cellplane.model.domain.kinds import project_of
from cellplane.model.domain.references import check_offers, check_reach
from cellplane.model.domain.resources import (
    Component,
    Connection,
    Endpoint,
    Environment,
    Organization,
    SecretReference,
)
from cellplane.model.domain.rules import in_force
from cellplane.model.domain.secrets import bind_secrets
from cellplane.model.domain.types import bind_type
from cellplane.model.domain.validate_traffic import check_authorizer_protocol

EndpointKey: TypeAlias = tuple[str, str]
"""Name of a component, and id of its endpoint."""
ANY_ENDPOINT: Final = "*"
"""Stands for every endpoint that callers name, also those that are not there."""
ANY_PORT: Final = ""
"""Stands for the endpoints of a managed resource: whoever connects to it reaches all."""
GrantKey: TypeAlias = tuple[str, str, str]
"""Name of a component, id of its endpoint, and name of the project that may connect to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What is deployed of a component in an environment; overrides are merged in."""

    release: str
    """Id of the release."""
    component: Component


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """All that a component resolves from, beside itself."""

    providers: Mapping[str, Component] = field(default_factory=dict)
    """Deployed targets of its connections in the same environment, by name."""
    callers: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Names of components that connect to an endpoint of its, by the endpoint's id."""
    secrets: Mapping[str, SecretReference] = field(default_factory=dict)
    """Secret references that it reads, by name."""
    claims: Mapping[str, frozenset[EndpointKey]] = field(default_factory=dict)
    """Who else claims what it does (``claims_of``)."""
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    """Versions of types and traits that it is made of, by name."""
    grants: frozenset[GrantKey] = frozenset()
    """Grants in force in the environment, of endpoints that need one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """Exactly one of both: a whole component, or why it is not."""

    component: ResolvedComponent | None = None
    problems: tuple[Problem, ...] = ()


def resolve(
    cell: CellName, deployed: Deployed, environment: Environment, around: Surroundings
) -> Resolution:
    """Bind every reference of a component; all problems at once."""
    written = deployed.component
    findings = Findings(resource=written.name)
    connections = [
        bound
        for index, connection in enumerate(written.connections)
        if (bound := _bind(cell, written, connection, around, findings.at("connections").at(index)))
    ]
    secrets = bind_secrets(
        written, environment.template or environment.name, around.secrets, findings
    )
    _check_authorizers(written, connections, findings)
    check_hostnames(cell, written, environment, findings)
    check_claims(written, around.claims, findings)
    own = bind_type(written, around.definitions, findings)
    if findings.problems:
        return Resolution(problems=tuple(findings.problems))
    return Resolution(
        component=ResolvedComponent(
            component=last_segment(written.name),
            release=deployed.release,
            kind=written.component_kind,
            workload=default_workload(written),
            endpoints=tuple(
                _endpoint(written, e, _admitted(written, e, around))
                for e in sorted(written.endpoints, key=lambda e: e.endpoint)
            ),
            connections=tuple(sorted(connections, key=lambda c: c.connection)),
            secrets=secrets,
            type=own,
            labels={f"{OWN}{key}": value for key, value in sorted(written.labels.items())},
        )
    )


def _check_authorizers(
    component: Component, connections: Iterable[ResolvedConnection], findings: Findings
) -> None:
    protocols = {bound.connection: bound.protocol for bound in connections}
    for index, endpoint in enumerate(component.endpoints):
        policy = endpoint.traffic_policy
        external = (
            policy.authentication.external if policy and policy.authentication is not None else None
        )
        if external is not None and external.connection in protocols:
            at = findings.at("endpoints").at(index).at("traffic_policy.authentication.external")
            protocol = protocols[external.connection]
            check_authorizer_protocol(external.connection, protocol, at.at("connection"))


def _bind(
    cell: CellName,
    caller: Component,
    connection: Connection,
    around: Surroundings,
    at: Findings,
) -> ResolvedConnection | None:
    external = connection.external_host
    if external is not None:
        return ResolvedConnection(
            connection=connection.connection,
            protocol=external.protocol,
            external=ExternalTarget(host=external.host, port=external.port, policy=external.policy),
            inject=connection.inject,
        )
    if connection.managed_resource is not None:
        return _managed(connection, connection.managed_resource.resource, around, at)
    target = connection.component_endpoint
    if target is None:
        at.add("FIELD_REQUIRED", f'connection "{connection.connection}" has no target: name one')
        return None
    where = at.at("component_endpoint")
    provider = around.providers.get(target.component)
    if provider is None:
        where.at("component").add(
            "PROVIDER_NOT_DEPLOYED",
            f'component "{target.component}" is not deployed in environment "{cell.environment}": '
            "deploy or promote it there",
            value=target.component,
        )
        return None
    endpoint = check_reach(caller.name, provider, target.endpoint, where)
    if endpoint is None:
        return None
    check_offers(provider, target, where)
    if not _is_granted(caller.name, provider.name, endpoint, around.grants):
        where.at("endpoint").add(
            "GRANT_MISSING",
            f'endpoint "{endpoint.endpoint}" of component "{provider.name}" needs a grant of its '
            f'owner, and "{project_of(caller.name)}" has none in force in environment '
            f'"{cell.environment}": ask for one with `cellplane grant ask`, or have it approved',
            value=endpoint.endpoint,
        )
        return None
    return _bound(connection, caller, provider, endpoint)


def _managed(
    connection: Connection, resource: str, around: Surroundings, at: Findings
) -> ResolvedConnection | None:
    """A connection to a managed resource: the first endpoint of what its claim became."""
    provider = around.providers.get(resource)
    if provider is None:
        at.at("managed_resource").at("resource").add(
            "RESOURCE_NOT_AVAILABLE",
            f'managed resource "{resource}" is not available: claim it, with a type that the '
            "organization has or that comes with cellplane",
            value=resource,
        )
        return None
    first = provider.endpoints[0]
    return ResolvedConnection(
        connection=connection.connection,
        protocol=first.protocol,
        cell=CellTarget(
            component=last_segment(provider.name),
            endpoint=first.endpoint,
            port=first.port,
            target_port=target_port(first),
        ),
        inject=connection.inject,
    )


def _is_granted(
    caller: str, provider: str, endpoint: Endpoint, grants: frozenset[GrantKey]
) -> bool:
    own = project_of(caller)
    if not endpoint.requires_grant or own == project_of(provider):
        return True
    return (provider, endpoint.endpoint, own) in grants


def _admitted(component: Component, endpoint: Endpoint, around: Surroundings) -> frozenset[str]:
    """Who connects to an endpoint and may: a grant that is not in force opens nothing."""
    callers = around.callers.get(endpoint.endpoint, frozenset())
    callers |= around.callers.get(ANY_PORT, frozenset())
    return frozenset(c for c in callers if _is_granted(c, component.name, endpoint, around.grants))


def _bound(
    connection: Connection, caller: Component, provider: Component, endpoint: Endpoint
) -> ResolvedConnection:
    own = project_of(caller.name) == project_of(provider.name)
    component = last_segment(provider.name)
    return ResolvedConnection(
        connection=connection.connection,
        protocol=endpoint.protocol,
        cell=CellTarget(
            component=component,
            endpoint=endpoint.endpoint,
            port=endpoint.port,
            target_port=target_port(endpoint),
        )
        if own
        else None,
        organization=None
        if own
        else OrganizationTarget(
            project=last_segment(project_of(provider.name)),
            component=component,
            endpoint=endpoint.endpoint,
            path=path(endpoint),
        ),
        inject=connection.inject,
    )


def _endpoint(
    component: Component, endpoint: Endpoint, callers: frozenset[str]
) -> ResolvedEndpoint:
    own = project_of(component.name)
    visible = Visibility.ORGANIZATION in endpoint.visibilities
    return ResolvedEndpoint(
        endpoint=endpoint.endpoint,
        protocol=endpoint.protocol,
        port=endpoint.port,
        target_port=target_port(endpoint),
        visibilities=tuple(v for v in Visibility if v in endpoint.visibilities),
        path=path(endpoint),
        hostname=endpoint.hostname,
        traffic_policy=endpoint.traffic_policy,
        additional_paths=endpoint.additional_paths,
        additional_hostnames=endpoint.additional_hostnames,
        cell_callers=tuple(sorted({last_segment(c) for c in callers if project_of(c) == own})),
        # A caller that the endpoint is not visible to has a problem of its own, and no way in.
        organization_callers=tuple(
            sorted({last_segment(project_of(c)) for c in callers if project_of(c) != own})
        )
        if visible
        else (),
    )


def frame(
    cell: CellName,
    organization: Organization,
    environment: Environment,
    outbound: Iterable[OutboundConnection],
) -> CellFrame:
    """What holds for a whole Cell: the stricter of the organization and the environment."""
    return CellFrame(
        organization=cell.organization,
        project=cell.project,
        environment=cell.environment,
        namespace=cell.namespace,
        isolation=stricter_isolation(organization.isolation, environment.isolation),
        encryption=stricter_encryption(organization.encryption, environment.encryption),
        production=environment.production,
        public_domain=public_domain(environment),
        organization_domain=organization_domain(environment),
        outbound=tuple(sorted(outbound, key=lambda o: (o.component, o.connection.connection))),
        rules=for_objects(in_force(organization, environment)),
    )


def stricter_isolation(*levels: Isolation) -> Isolation:
    """Strict if any says so; open otherwise."""
    return Isolation.STRICT if Isolation.STRICT in levels else Isolation.OPEN


_ENCRYPTION_ORDER: Final = {
    Encryption.UNSPECIFIED: 0,
    Encryption.ANY: 1,
    Encryption.WIREGUARD: 2,
    Encryption.IPSEC: 2,
    Encryption.CILIUM_MUTUAL_AUTH: 2,
    Encryption.MTLS: 3,
}


def stricter_encryption(organization: Encryption, environment: Encryption) -> Encryption:
    """The stricter; of two that are equally strict, the narrower level's."""
    order = _ENCRYPTION_ORDER
    return organization if order[organization] > order[environment] else environment


def outbound_of(component: ResolvedComponent) -> tuple[OutboundConnection, ...]:
    """The connections of a component that leave its Cell."""
    return tuple(
        OutboundConnection(component=component.component, connection=connection)
        for connection in component.connections
        if connection.cell is None
    )
