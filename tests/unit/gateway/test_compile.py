"""What the gateway compiler makes of endpoints and connections."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from cellplane.api.type.v1 import traffic_policy_pb2
from cellplane.cell.cell import (
    CellFrame,
    ExternalTarget,
    OrganizationTarget,
    OutboundConnection,
    ResolvedCell,
    ResolvedComponent,
    ResolvedConnection,
    ResolvedEndpoint,
)
from cellplane.cell.manifest import Compiled, Phase
from cellplane.cell.plane import (
    CERT_MANAGER,
    ENVOY_GATEWAY,
    GATEWAY,
    DataPlaneProfile,
    PeerCell,
    PeerGateway,
    Peers,
)
from cellplane.cell.problem import Severity
from cellplane.cell.protocol import Protocol
from cellplane.cell.traffic import (
    Authentication,
    CircuitBreaker,
    Cors,
    ExternalAuthentication,
    MutualTlsAuthentication,
    OidcAuthentication,
    RateLimit,
    Retries,
    Timeouts,
    TrafficPolicy,
    Unit,
    settings_of,
)
from cellplane.cell.visibility import Visibility
from cellplane.cell.workload import ComponentKind, SecretReferenceKey, Workload
from cellplane.gateway.compiler.compile import compile as compile_gateways

FRAME = CellFrame(
    organization="acme",
    project="payments",
    environment="production",
    namespace="cell-payments-production-x",
    public_domain="apps.example.com",
    organization_domain="internal.example.com",
)
PLANE = DataPlaneProfile(
    data_plane="west",
    uid="uid-1",
    organization="acme",
    trust_domain="example.com",
    capabilities=(CERT_MANAGER, GATEWAY, ENVOY_GATEWAY),
)
NAME = "organizations/acme/projects/payments/cells/production"


def an_endpoint(
    protocol: Protocol = Protocol.HTTP,
    *visibilities: Visibility,
    callers: tuple[str, ...] = (),
    path: str = "/",
) -> ResolvedEndpoint:
    return ResolvedEndpoint(
        endpoint="api",
        protocol=protocol,
        port=80,
        target_port=8080,
        visibilities=visibilities,
        organization_callers=callers,
        path=path,
    )


def a_component(*endpoints: ResolvedEndpoint, **more: Any) -> ResolvedComponent:
    return ResolvedComponent(
        component="charge",
        release="r-1",
        kind=ComponentKind.SERVICE,
        workload=Workload(image="charge:1"),
        endpoints=endpoints,
        **more,
    )


def compiled(
    *components: ResolvedComponent,
    frame: CellFrame = FRAME,
    plane: DataPlaneProfile = PLANE,
    peers: Peers | None = None,
) -> Compiled:
    cell = ResolvedCell(cell=NAME, revision=1, frame=frame, components=components)
    return compile_gateways(cell, plane, peers or Peers(), include_frame=True)


def bodies(answer: Compiled, kind: str) -> list[Any]:
    return [json.loads(m.content) for m in answer.manifests if m.kind == kind]


def test_a_project_endpoint_has_no_route() -> None:
    """What nobody outside may reach has no route."""
    assert Compiled() == compiled(a_component(an_endpoint()))


def test_a_public_endpoint_is_routed_northbound_only() -> None:
    """A public endpoint attaches to the northbound gateway, under the environment's domain."""
    (route,) = bodies(
        compiled(a_component(an_endpoint(Protocol.HTTP, Visibility.PUBLIC))), "HTTPRoute"
    )

    assert route["spec"]["parentRefs"] == [
        {"name": "northbound", "namespace": "cellplane-gateways"}
    ]
    assert route["spec"]["hostnames"] == ["payments.apps.example.com"]
    assert route["spec"]["rules"][0]["backendRefs"] == [{"name": "charge", "port": 80}]


def test_an_organization_endpoint_without_callers_has_no_route() -> None:
    """Nobody declared a connection, so nobody gets a route."""
    answer = compiled(a_component(an_endpoint(Protocol.GRPC, Visibility.ORGANIZATION)))

    assert () == answer.manifests


def test_an_organization_endpoint_is_routed_for_its_callers_alone() -> None:
    """Every match of a westbound route demands the caller's certificate."""
    endpoint = an_endpoint(Protocol.GRPC, Visibility.ORGANIZATION, callers=("boutique",))

    (route,) = bodies(compiled(a_component(endpoint)), "GRPCRoute")

    assert route["spec"]["parentRefs"][0]["name"] == "westbound"
    matches = [match for rule in route["spec"]["rules"] for match in rule["matches"]]
    assert [["x-forwarded-client-cert"]] == [[h["name"] for h in m["headers"]] for m in matches]
    assert "(boutique)/production" in matches[0]["headers"][0]["value"]


@pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.TLS, Protocol.UDP, Protocol.HTTPS])
def test_what_is_not_routed_yet_is_refused(protocol: Protocol) -> None:
    """A public endpoint of such a protocol is an error with its field, and has no route."""
    answer = compiled(a_component(an_endpoint(protocol, Visibility.PUBLIC)))

    assert () == answer.manifests
    (problem,) = answer.problems
    assert problem.severity is Severity.ERROR
    assert problem.field == "endpoints[0].protocol"
    assert problem.resource == "organizations/acme/projects/payments/components/charge"


def outside(protocol: Protocol, port: int = 443) -> tuple[CellFrame, ResolvedComponent]:
    connection = ResolvedConnection(
        connection="bank",
        protocol=protocol,
        external=ExternalTarget(host="bank.example.com", port=port),
    )
    outbound = OutboundConnection(component="charge", connection=connection)
    return replace(FRAME, outbound=(outbound,)), a_component(connections=(connection,))


def test_an_external_host_needs_no_certificate_of_the_cell() -> None:
    """Nobody outside is shown who the Cell is, and a plane needs no issuer for such a Cell."""
    frame, component = outside(Protocol.HTTPS)

    answer = compiled(
        component, frame=frame, plane=replace(PLANE, capabilities=(GATEWAY, ENVOY_GATEWAY))
    )

    assert answer.problems == ()
    assert [] == bodies(answer, "Certificate")
    (backend,) = bodies(answer, "Backend")
    assert backend["spec"] == {
        "endpoints": [{"fqdn": {"hostname": "bank.example.com", "port": 443}}]
    }
    (verified,) = bodies(answer, "BackendTLSPolicy")
    assert verified["spec"]["validation"] == {
        "hostname": "bank.example.com",
        "wellKnownCACertificates": "System",
    }


def test_datagrams_do_not_leave_a_cell() -> None:
    """A connection by UDP is an error with its field, and has no listener."""
    frame, component = outside(Protocol.UDP)

    answer = compiled(component, frame=frame)

    assert () == answer.manifests
    assert ["connections[0].external_host.protocol"] == [p.field for p in answer.problems]


def eastbound() -> CellFrame:
    connection = ResolvedConnection(
        connection="stock",
        protocol=Protocol.GRPC,
        organization=OrganizationTarget(project="inventory", component="stock", endpoint="grpc"),
    )
    outbound = OutboundConnection(component="charge", connection=connection)
    return replace(FRAME, outbound=(outbound,))


def test_an_eastbound_connection_has_a_listener_of_its_own() -> None:
    """The egress gateway has one listener a connection, which leads to the target's host."""
    here = PeerGateway(data_plane="west", host="west.example.com", port=443)
    there = PeerGateway(data_plane="east", host="east.example.com", port=8443)
    peers = Peers(cells=(PeerCell(project="inventory", gateways=(here, there)),))

    answer = compiled(frame=eastbound(), peers=peers)

    (gateway,) = bodies(answer, "Gateway")
    (listener,) = gateway["spec"]["listeners"]
    (route,) = bodies(answer, "HTTPRoute")
    assert route["spec"]["parentRefs"] == [{"name": "egress", "sectionName": listener["name"]}]
    near, far = bodies(answer, "Backend")
    assert near["spec"]["endpoints"] == [
        {"fqdn": {"hostname": "westbound.cellplane-gateways.svc.cluster.local", "port": 443}}
    ]
    assert far["spec"]["endpoints"] == [{"fqdn": {"hostname": "east.example.com", "port": 8443}}]
    assert far["spec"]["fallback"] is True
    (certificate,) = bodies(answer, "Certificate")
    assert certificate["spec"]["uris"] == [
        "spiffe://example.com/organizations/acme/dataPlanes/uid-1/cells/payments/production"
    ]


def test_a_target_that_is_nowhere_is_a_warning_and_opens_nothing() -> None:
    """Without a data plane that holds the target there is a listener, but no route behind it."""
    answer = compiled(frame=eastbound())

    assert [] == bodies(answer, "HTTPRoute")
    assert [("TARGET_NOT_PLACED", Severity.WARNING)] == [
        (p.reason, p.severity) for p in answer.problems
    ]


def test_a_plane_without_envoy_gateway_is_refused() -> None:
    """What the egress gateway needs and the data plane lacks is named."""
    answer = compiled(frame=eastbound(), plane=replace(PLANE, capabilities=(GATEWAY,)))

    assert "cert-manager" in answer.problems[0].value
    assert "gateway.envoy" in answer.problems[0].value


def test_more_connections_than_listeners_is_refused() -> None:
    """A Gateway holds 64 listeners; one more is an error, not a gateway that is refused later."""
    frame = eastbound()
    (first,) = frame.outbound
    many = tuple(
        replace(first, connection=replace(first.connection, connection=f"c{n}")) for n in range(65)
    )

    answer = compiled(frame=replace(frame, outbound=many))

    assert "TOO_MANY_CONNECTIONS" in {p.reason for p in answer.problems}


@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        (
            TrafficPolicy(
                authentication=Authentication(external=ExternalAuthentication(connection="judge"))
            ),
            ["authentication.external"],
        ),
        (
            TrafficPolicy(
                rate_limits=(
                    RateLimit(requests=5, unit=Unit.SECOND),
                    RateLimit(requests=5, unit=Unit.SECOND, per_client=True),
                    RateLimit(requests=5, unit=Unit.SECOND, per_header="x-client"),
                ),
                timeouts=Timeouts(request=timedelta(seconds=5)),
                circuit_breaker=CircuitBreaker(max_pending_requests=0),
            ),
            [
                "rate_limits[1].per_client",
                "rate_limits[2].per_header",
                "circuit_breaker.max_pending_requests",
            ],
        ),
    ],
)
def test_a_setting_that_is_not_compiled_is_refused(
    policy: TrafficPolicy, settings: list[str]
) -> None:
    """Each setting is named, and the endpoint has no route that would be without it."""
    asked = replace(an_endpoint(Protocol.HTTP, Visibility.PUBLIC), traffic_policy=policy)
    plain = replace(an_endpoint(Protocol.HTTP, Visibility.PUBLIC, path="/plain"), endpoint="plain")

    answer = compiled(a_component(asked, plain))

    assert [(p.field, p.reason) for p in answer.problems] == [
        (f"endpoints[0].traffic_policy.{setting}", "TRAFFIC_POLICY_NOT_SUPPORTED")
        for setting in settings
    ]
    paths = [
        rule["matches"][0]["path"]["value"]
        for route in bodies(answer, "HTTPRoute")
        for rule in route["spec"]["rules"]
    ]
    assert paths == ["/plain"]


def test_a_request_that_would_take_too_long_is_cut_short() -> None:
    """The platform's ceiling wins, and the author is told."""
    policy = TrafficPolicy(timeouts=Timeouts(request=timedelta(hours=5)))
    asked = replace(an_endpoint(Protocol.HTTP, Visibility.PUBLIC), traffic_policy=policy)

    answer = compiled(a_component(asked))

    (route,) = bodies(answer, "HTTPRoute")
    assert route["spec"]["rules"][0]["timeouts"] == {"request": "3600s"}
    assert [(p.reason, p.severity) for p in answer.problems] == [
        ("TRAFFIC_POLICY_CUT", Severity.WARNING)
    ]


def test_policies_come_before_their_route() -> None:
    """What guards a route is applied in an earlier phase, so that it never stands open."""
    policy = TrafficPolicy(cors=Cors(allow_origins=("https://app.example.com",)))
    asked = replace(an_endpoint(Protocol.HTTP, Visibility.PUBLIC), traffic_policy=policy)

    answer = compiled(a_component(asked))

    assert [(m.kind, m.phase) for m in answer.manifests] == [
        ("SecurityPolicy", Phase.CONFIGURATION),
        ("HTTPRoute", Phase.EXPOSURE),
    ]


def test_every_setting_of_a_policy_is_named() -> None:
    """A setting that the contract has is one that a compiler can be asked about."""
    whole = TrafficPolicy(
        authentication=Authentication(),
        rate_limits=(RateLimit(requests=1, unit=Unit.DAY),),
        timeouts=Timeouts(),
        retries=Retries(attempts=1),
        cors=Cors(allow_origins=("*",)),
        circuit_breaker=CircuitBreaker(),
    )
    assert {s.partition(".")[0] for s in settings_of(whole)} == {"rate_limits", "retries", "cors"}
    fields = set(traffic_policy_pb2.TrafficPolicy.DESCRIPTOR.fields_by_name)
    assert fields == set(TrafficPolicy.__slots__)


def test_an_endpoint_has_all_its_hosts_and_paths() -> None:
    """A public endpoint is served under each of both; its callers in other Cells, by each path."""
    endpoint = replace(
        an_endpoint(
            Protocol.HTTP, Visibility.PUBLIC, Visibility.ORGANIZATION, callers=("shop",), path="/a"
        ),
        additional_paths=("/b",),
        additional_hostnames=("www.example.com",),
    )

    answer = compiled(a_component(endpoint))

    routes = bodies(answer, "HTTPRoute")
    (brought,) = bodies(answer, "ListenerSet")
    found = {route["spec"]["parentRefs"][0]["name"]: route["spec"] for route in routes}
    assert found["northbound"]["hostnames"] == ["payments.apps.example.com"]
    assert found[brought["metadata"]["name"]]["hostnames"] == ["www.example.com"]
    assert len(found["westbound"]["hostnames"]) == 1
    for spec in found.values():
        matches = spec["rules"][0]["matches"]
        assert [match["path"]["value"] for match in matches] == ["/a", "/b"]
    assert all(match["headers"] for match in found["westbound"]["rules"][0]["matches"])


@pytest.mark.parametrize(
    ("visibilities", "hostname", "shared", "why"),
    [
        ((Visibility.PUBLIC, Visibility.ORGANIZATION), "a.example.com", False, "other Cells"),
        ((Visibility.PUBLIC,), "", False, "give it a hostname"),
        ((Visibility.PUBLIC,), "a.example.com", True, "its host is also that of endpoint plain"),
    ],
)
def test_client_certificates_that_could_be_gone_around_are_refused(
    visibilities: tuple[Visibility, ...], hostname: str, shared: bool, why: str
) -> None:
    """Where others are served without one by the same listener, the endpoint has no route."""
    clients = SecretReferenceKey(secret_reference="s", key="ca")
    policy = TrafficPolicy(
        authentication=Authentication(mutual_tls=MutualTlsAuthentication(authorities=clients))
    )
    asked = replace(
        an_endpoint(Protocol.HTTP, *visibilities), hostname=hostname, traffic_policy=policy
    )
    plain = replace(
        an_endpoint(Protocol.HTTP, Visibility.PUBLIC, path="/plain"),
        endpoint="plain",
        hostname=hostname if shared else "",
    )

    answer = compiled(a_component(asked, plain))

    (problem,) = answer.problems
    assert problem.field == "endpoints[0].traffic_policy.authentication.mutual_tls"
    assert why in problem.message
    assert all("plain" in r["metadata"]["name"] for r in bodies(answer, "HTTPRoute"))


def test_people_who_sign_in_must_come_back_to_the_endpoint() -> None:
    """A path of signing in or out that is another endpoint's is an error, and there is no route."""
    secret = SecretReferenceKey(secret_reference="s", key="secret")
    oidc = OidcAuthentication(
        issuer="https://i.example", client_id="c", client_secret=secret, logout_path="/app/out"
    )
    policy = TrafficPolicy(authentication=Authentication(oidc=oidc))
    endpoint = replace(
        an_endpoint(Protocol.HTTP, Visibility.PUBLIC, path="/app"), traffic_policy=policy
    )

    answer = compiled(a_component(endpoint))

    assert [p.field for p in answer.problems] == [
        "endpoints[0].traffic_policy.authentication.oidc.redirect_path"
    ]
    assert [] == bodies(answer, "HTTPRoute")
