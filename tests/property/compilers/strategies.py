"""Cells of every kind that the model can resolve, small enough to be read when one fails."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from cellplane.cell.cell import (
    CellFrame,
    CellTarget,
    ExternalTarget,
    Injection,
    OrganizationTarget,
    OutboundConnection,
    ResolvedCell,
    ResolvedComponent,
    ResolvedConnection,
    ResolvedEndpoint,
)
from cellplane.cell.names import CellName
from cellplane.cell.plane import DataPlaneProfile, Enforcement, PeerCell, PeerGateway, Peers
from cellplane.cell.protocol import TRAITS, Protocol, Transport
from cellplane.cell.visibility import Isolation, Visibility
from cellplane.cell.workload import (
    Autoscaling,
    ComponentKind,
    EnvironmentVariable,
    Probe,
    Schedule,
    SecretKey,
    Volume,
    Workload,
)

COMPONENTS = ("api", "web", "store", "a-b")
PROJECTS = ("payments", "ledger")
RUN_ONCE = (ComponentKind.JOB, ComponentKind.SCHEDULED_TASK)
TEXT = st.text(st.sampled_from("$()aB_ é\n"), max_size=12)

variables = st.builds(
    EnvironmentVariable,
    name=st.sampled_from(["A", "B", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"]),
    value=TEXT,
) | st.builds(
    EnvironmentVariable,
    name=st.sampled_from(["C", "D"]),
    secret_key=st.builds(SecretKey, secret=st.just("db"), key=st.sampled_from(["u", "p"])),
)


@st.composite
def endpoints(draw: st.DrawFn) -> tuple[ResolvedEndpoint, ...]:
    names = draw(st.lists(st.sampled_from(["http", "grpc", "x"]), unique=True, max_size=3))
    ports = draw(
        st.lists(st.integers(1, 65535), unique=True, min_size=len(names), max_size=len(names))
    )
    return tuple(
        ResolvedEndpoint(
            endpoint=name,
            protocol=draw(st.sampled_from(Protocol)),
            port=port,
            target_port=draw(st.sampled_from([1, 8080, 9090, 65535])),
            visibilities=tuple(
                sorted(draw(st.sets(st.sampled_from(Visibility))), key=lambda v: v.value)
            ),
            cell_callers=tuple(sorted(draw(st.sets(st.sampled_from(COMPONENTS))))),
            organization_callers=tuple(sorted(draw(st.sets(st.sampled_from(PROJECTS))))),
        )
        for name, port in zip(sorted(names), ports, strict=True)
    )


@st.composite
def connections(draw: st.DrawFn) -> tuple[ResolvedConnection, ...]:
    names = draw(st.lists(st.sampled_from(["one", "two", "three"]), unique=True, max_size=3))
    found: list[ResolvedConnection] = []
    for name in sorted(names):
        made = ResolvedConnection(
            connection=name,
            protocol=draw(st.sampled_from(Protocol)),
            inject=Injection(url=f"{name.upper()}_URL", port=draw(st.sampled_from(["", "PORT_X"]))),
        )
        match draw(st.sampled_from(["cell", "organization", "external"])):
            case "cell":
                target = CellTarget(
                    component=draw(st.sampled_from(COMPONENTS)),
                    endpoint="http",
                    port=80,
                    target_port=draw(st.sampled_from([8080, 9090])),
                )
                found.append(replace(made, cell=target))
            case "organization":
                project = draw(st.sampled_from(PROJECTS))
                found.append(
                    replace(
                        made,
                        organization=OrganizationTarget(
                            project=project, component="charge", endpoint="http"
                        ),
                    )
                )
            case _:
                found.append(
                    replace(made, external=ExternalTarget(host="api.example.com", port=443))
                )
    return tuple(found)


@st.composite
def components(draw: st.DrawFn, name: str) -> ResolvedComponent:
    kind = draw(st.sampled_from(ComponentKind))
    has = draw(endpoints())
    probed = [e.endpoint for e in has if TRAITS[e.protocol].transport is Transport.TCP]
    probe = st.none()
    if probed:
        probe = st.none() | st.builds(Probe, endpoint=st.sampled_from(probed), grpc=st.booleans())
    scalable = kind not in RUN_ONCE
    stateful = kind is ComponentKind.STATEFUL_SERVICE
    workload = Workload(
        image="registry.example/app:1",
        args=tuple(draw(st.lists(TEXT, max_size=2))),
        env=tuple(draw(st.lists(variables, unique_by=lambda v: v.name, max_size=4))),
        replicas=draw(st.none() | st.integers(0, 3)) if scalable else None,
        autoscaling=draw(st.none() | st.just(Autoscaling(min_replicas=2, max_replicas=4)))
        if scalable
        else None,
        readiness_probe=draw(probe),
        liveness_probe=draw(probe),
        volumes=(Volume(volume="data", mount_path="/data", size="1Gi"),) if stateful else (),
        schedule=Schedule(cron="0 * * * *") if kind is ComponentKind.SCHEDULED_TASK else None,
        writable_paths=tuple(draw(st.lists(st.sampled_from(["/tmp", "/run"]), max_size=2))),
    )
    return ResolvedComponent(
        component=name,
        release=draw(st.sampled_from(["r-1", "r-2"])),
        kind=kind,
        workload=workload,
        endpoints=has,
        connections=draw(connections()),
        labels=draw(st.dictionaries(st.sampled_from(["team.example/owner"]), st.just("x"))),
    )


@st.composite
def cells(draw: st.DrawFn) -> ResolvedCell:
    names = draw(st.lists(st.sampled_from(COMPONENTS), unique=True, min_size=1))
    made = tuple(draw(components(name)) for name in sorted(names))
    outbound = tuple(
        OutboundConnection(component=c.component, connection=connection)
        for c in made
        for connection in c.connections
        if connection.cell is None
    )
    name = CellName(organization="acme", project="shop", environment="dev")
    frame = CellFrame(
        organization=name.organization,
        project=name.project,
        environment=name.environment,
        namespace=name.namespace,
        isolation=draw(st.sampled_from([Isolation.OPEN, Isolation.STRICT])),
        production=draw(st.booleans()),
        public_domain="dev.acme.example.com",
        organization_domain="dev.acme.internal",
        outbound=outbound,
    )
    return ResolvedCell(cell=str(name), revision=1, frame=frame, components=made)


@st.composite
def planes(draw: st.DrawFn) -> DataPlaneProfile:
    capabilities = draw(
        st.sets(
            st.sampled_from(
                ["gateway", "networkpolicy.cilium", "networkpolicy.kubernetes", "wireguard"]
            )
        )
    )
    return DataPlaneProfile(
        data_plane="plane-a",
        uid="6f1c",
        organization="acme",
        trust_domain="cellplane.local",
        enforcement=draw(st.sampled_from(Enforcement)),
        capabilities=tuple(sorted(capabilities)),
    )


gateways = st.builds(
    PeerGateway,
    data_plane=st.sampled_from(["plane-a", "plane-b"]),
    host=st.sampled_from(["west.plane-b.example", "192.0.2.7", "2001:db8::7", "127.0.0.1", ""]),
    port=st.sampled_from([443, 8443]),
)
peers = st.builds(
    Peers,
    cells=st.lists(
        st.builds(
            PeerCell,
            project=st.sampled_from(PROJECTS),
            gateways=st.lists(gateways, max_size=2).map(tuple),
        ),
        max_size=2,
        unique_by=lambda p: p.project,
    ).map(tuple),
)
