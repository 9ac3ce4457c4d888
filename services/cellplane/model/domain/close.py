"""What is left of a resolved component when a grant ends: everything but the path that it opened.

A Cell that is broken keeps its last whole revision; what must not stay open is taken out of that
one, on both sides. The consumer keeps the variables that told it where the other side was, as the
values that they had: closing a path restarts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cellplane.cell import addresses
from cellplane.cell.cell import CellFrame, ResolvedComponent, ResolvedConnection
from cellplane.cell.names import last_segment
from cellplane.cell.workload import EnvironmentVariable
from cellplane.model.domain.kinds import project_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """What a grant opens in an environment."""

    provider: str
    """Name of the component that offers."""
    endpoint: str
    """Id of its endpoint."""
    consumer: str
    """Name of the project that connects."""

    def leads(self, connection: ResolvedConnection) -> bool:
        """Whether a connection of the consumer's is this path."""
        target = connection.organization
        return target is not None and (target.project, target.component, target.endpoint) == (
            last_segment(project_of(self.provider)),
            last_segment(self.provider),
            self.endpoint,
        )


def close_provider(component: ResolvedComponent, path: Path) -> ResolvedComponent:
    """The component that offers, without the consumer among those that it lets in."""
    consumer = last_segment(path.consumer)
    return replace(
        component,
        endpoints=tuple(
            replace(
                endpoint,
                organization_callers=tuple(
                    caller for caller in endpoint.organization_callers if caller != consumer
                ),
            )
            if endpoint.endpoint == path.endpoint
            else endpoint
            for endpoint in component.endpoints
        ),
    )


def close_consumer(frame: CellFrame, component: ResolvedComponent, path: Path) -> ResolvedComponent:
    """A component of the consumer, without its connections by this path."""
    closed = [c for c in component.connections if path.leads(c)]
    if not closed:
        return component
    variables: list[EnvironmentVariable] = []
    for connection in closed:
        address = addresses.connection_address(frame, component.component, connection)
        inject = connection.inject
        variables += [
            EnvironmentVariable(name=name, value=value)
            for name, value in (
                (inject.address, address.authority),
                (inject.url, address.url),
                (inject.host, address.host),
                (inject.port, str(address.port)),
            )
            if name
        ]
    workload = replace(component.workload, env=(*component.workload.env, *variables))
    return replace(
        component,
        workload=workload,
        connections=tuple(c for c in component.connections if not path.leads(c)),
    )
