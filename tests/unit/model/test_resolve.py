"""How a component's references are bound, and what keeps them from it."""

from __future__ import annotations

from cellplane.cell.names import CellName
from cellplane.cell.visibility import Isolation
from cellplane.model.domain.claims import claims_of
from cellplane.model.domain.resolve import (
    ANY_ENDPOINT,
    Deployed,
    Resolution,
    Surroundings,
    frame,
    outbound_of,
    resolve,
)
from cellplane.model.domain.resources import Component, Environment, Organization
from cellplane.model.domain.touched import touched_endpoints, touched_targets
from tests.unit.model.build import (
    ORG,
    ORGANIZATION,
    PAY,
    PUBLIC,
    SHOP,
    component,
    connection,
    endpoint,
    external,
)

CELL = CellName(organization="acme", project="shop", environment="dev")
CART = f"{SHOP}/components/cart"
CHARGE = f"{PAY}/components/charge"
DEV = Environment(name=f"{ORG}/environments/dev")


def bind(of: Component, *providers: Component, **around: object) -> Resolution:
    surroundings = Surroundings(providers={p.name: p for p in providers}, **around)  # type: ignore[arg-type]
    return resolve(CELL, Deployed(release="r-1", component=of), DEV, surroundings)


def reasons(of: Resolution) -> list[tuple[str, str]]:
    return [(p.field, p.reason) for p in of.problems]


def test_a_component_of_the_same_cell_is_bound_to_its_ports() -> None:
    """Policies need the port of the process, addresses that of the Service."""
    cart = component("cart", endpoints=(endpoint(port=80, target_port=8080),))

    bound = bind(component(connections=(connection(CART),)), cart).component

    assert bound is not None
    target = bound.connections[0].cell
    assert target is not None
    assert (target.component, target.port, target.target_port) == ("cart", 80, 8080)
    assert outbound_of(bound) == ()


def test_another_project_is_bound_through_its_organization_endpoint() -> None:
    """It leaves the Cell, by the path under which the other's gateway serves it."""
    charge = component(
        "charge", project=PAY, endpoints=(endpoint(path="/v1", visibilities=ORGANIZATION),)
    )

    bound = bind(component(connections=(connection(CHARGE),)), charge).component

    assert bound is not None
    target = bound.connections[0].organization
    assert target is not None
    assert (target.project, target.component, target.path) == ("pay", "charge", "/v1")
    assert [o.component for o in outbound_of(bound)] == ["web"]


def test_public_does_not_mean_the_organization() -> None:
    """A public endpoint of another project is refused as a project's own one is."""
    for seen in ((), PUBLIC):
        charge = component("charge", project=PAY, endpoints=(endpoint(visibilities=seen),))

        result = bind(component(connections=(connection(CHARGE),)), charge)

        assert reasons(result) == [
            ("connections[0].component_endpoint.component", "ENDPOINT_NOT_VISIBLE")
        ]


def test_every_problem_comes_at_once() -> None:
    """A provider that is missing here and an endpoint that is nowhere are two problems."""
    caller = component(connections=(connection(CART, "grpc"), connection(CHARGE)))

    result = bind(caller, component("cart", endpoints=(endpoint(),)))

    assert result.component is None
    assert reasons(result) == [
        ("connections[0].component_endpoint.endpoint", "ENDPOINT_NOT_FOUND"),
        ("connections[1].component_endpoint.component", "PROVIDER_NOT_DEPLOYED"),
    ]


def test_callers_are_named_by_component_and_by_project() -> None:
    """Own callers by their id, others by their project, and only where the endpoint lets them."""
    callers = {"http": frozenset({f"{SHOP}/components/b", f"{SHOP}/components/a", CHARGE})}

    hidden = bind(component(endpoints=(endpoint(),)), callers=callers).component
    seen = bind(
        component(endpoints=(endpoint(visibilities=ORGANIZATION),)), callers=callers
    ).component

    assert hidden is not None
    assert seen is not None
    assert hidden.endpoints[0].cell_callers == ("a", "b")
    assert hidden.endpoints[0].organization_callers == ()
    assert seen.endpoints[0].organization_callers == ("pay",)


def test_a_host_outside_is_outbound() -> None:
    """It needs nobody to be deployed."""
    bound = bind(component(connections=(external("api.example.com"),))).component

    assert bound is not None
    assert bound.connections[0].external is not None
    assert len(outbound_of(bound)) == 1


def test_a_shared_route_is_a_problem() -> None:
    """Two public endpoints under one host and path: the finding names the other."""
    mine = component(endpoints=(endpoint(visibilities=PUBLIC),))

    result = bind(mine, claims={"http": frozenset({(CART, "http")})})

    assert reasons(result) == [("endpoints[0].path", "ROUTE_COLLISION")]
    assert CART in result.problems[0].message


def test_routes_are_made_of_the_project_and_the_domain() -> None:
    """A hostname of its own goes before the one that is made."""
    mine = component(
        endpoints=(
            endpoint("a", 80, visibilities=PUBLIC, path="/a"),
            endpoint("b", 81, visibilities=PUBLIC, hostname="b.example.com"),
            endpoint("c", 82),
        )
    )

    assert claims_of(CELL, mine, DEV) == {
        "a": ("shop.apps.dev.acme.cellplane.internal", "/a"),
        "b": ("b.example.com", "/"),
    }


def test_a_frame_takes_the_stricter_of_both() -> None:
    """The organization's isolation holds in each of its environments."""
    made = frame(CELL, Organization(name=ORG, isolation=Isolation.STRICT), DEV, ())

    assert made.isolation is Isolation.STRICT
    assert made.namespace == CELL.namespace
    assert made.organization_domain == "org.dev.acme.cellplane.internal"


def test_only_what_callers_see_touches_them() -> None:
    """A new image touches nobody; a port, that endpoint's callers; coming and going, all."""
    before = component(endpoints=(endpoint("a", 80), endpoint("b", 81)))
    image = component(workload={"image": "app:2"}, endpoints=before.endpoints)
    port = component(endpoints=(endpoint("a", 80), endpoint("b", 82)))

    assert touched_endpoints(before, image) == frozenset()
    assert touched_endpoints(before, port) == {"b"}
    assert touched_endpoints(before, None) == {ANY_ENDPOINT}
    assert touched_targets(None, component(connections=(connection(CART),))) == {CART}
