"""The waist: a project in an environment with every reference bound.

A ``ResolvedComponent`` depends on nothing but itself and the ``CellFrame``: compilers treat each on
its own, so that a change of one component compiles one component. Field names are those of the
contract (``type/v1/resolved_cell.proto``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

from cellplane.cell.definition import ResolvedType
from cellplane.cell.external import ExternalPolicy
from cellplane.cell.protocol import Protocol
from cellplane.cell.rules import OwnedRules
from cellplane.cell.traffic import TrafficPolicy
from cellplane.cell.visibility import Encryption, Isolation, Visibility
from cellplane.cell.workload import ComponentKind, Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """Names of the environment variables that a connection fills; empty is not set."""

    address: str = ""
    url: str = ""
    host: str = ""
    port: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """By variable: the output of a managed resource that it gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTarget:
    """An endpoint of a component in the same Cell."""

    component: str
    endpoint: str
    port: int
    target_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationTarget:
    """An organization endpoint of a component in another Cell of the same environment."""

    project: str
    component: str
    endpoint: str
    path: str = "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalTarget:
    """A host outside of the organization's Cells."""

    host: str
    port: int
    policy: ExternalPolicy | None = None


Target: TypeAlias = CellTarget | OrganizationTarget | ExternalTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedConnection:
    """A connection, bound to what it leads to. Exactly one target is set."""

    connection: str
    protocol: Protocol
    cell: CellTarget | None = None
    organization: OrganizationTarget | None = None
    external: ExternalTarget | None = None
    inject: Injection = field(default_factory=Injection)

    @property
    def target(self) -> Target:
        """The one target that is set."""
        target = self.cell or self.organization or self.external
        if target is None:
            raise ValueError(f'connection "{self.connection}" has no target')
        return target


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedEndpoint:
    """An endpoint with its callers. Policies match ``target_port``, Services ``port``."""

    endpoint: str
    protocol: Protocol
    port: int
    target_port: int
    visibilities: tuple[Visibility, ...] = ()
    path: str = "/"
    hostname: str = ""
    cell_callers: tuple[str, ...] = ()
    """Ids of the components of this Cell that declare a connection to it, sorted."""
    organization_callers: tuple[str, ...] = ()
    """Ids of other projects that declare a connection to it in this environment, sorted."""
    traffic_policy: TrafficPolicy | None = None
    additional_paths: tuple[str, ...] = ()
    additional_hostnames: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path under which gateways serve it; callers use the first."""
        return (self.path, *self.additional_paths)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedSecretKey:
    """One key of a secret, and where the store has it."""

    key: str
    property: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedSecret:
    """Where a secret is in one environment, and the keys that a component needs of it."""

    secret_reference: str
    """Its name, as the component writes it."""
    secret_store: str
    remote_key: str
    keys: tuple[ResolvedSecretKey, ...]
    refresh_interval: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedComponent:
    """A component, bound and defaulted."""

    component: str
    release: str
    kind: ComponentKind
    workload: Workload
    endpoints: tuple[ResolvedEndpoint, ...] = ()
    connections: tuple[ResolvedConnection, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[ResolvedSecret, ...] = ()
    """By name, one for each secret reference that it reads."""
    type: ResolvedType | None = None
    """Unset: the one that comes with cellplane for its kind, without parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundConnection:
    """A connection that leaves its Cell, with the component that declares it."""

    component: str
    connection: ResolvedConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFrame:
    """What holds for a whole Cell."""

    organization: str
    project: str
    environment: str
    namespace: str
    isolation: Isolation = Isolation.OPEN
    encryption: Encryption = Encryption.UNSPECIFIED
    production: bool = False
    public_domain: str = ""
    organization_domain: str = ""
    outbound: tuple[OutboundConnection, ...] = ()
    rules: tuple[OwnedRules, ...] = ()
    """What of the platform's rules objects must keep; the wider level first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedCell:
    """A Cell, whole or the part of it that is to be compiled."""

    cell: str
    revision: int
    frame: CellFrame
    components: tuple[ResolvedComponent, ...] = ()
