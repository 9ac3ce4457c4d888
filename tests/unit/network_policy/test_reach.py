"""Ways between Cells: through gateways, on one data plane and on two."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from cellplane.cell.plane import DataPlaneProfile, PeerCell, PeerGateway, Peers
from cellplane.cell.problem import Invalid
from cellplane.network_policy.compiler.compile import compile as compile_policies
from cellplane.network_policy.compiler.reach import Elsewhere, Question, Reach, Site, can_reach
from tests.golden import cases

PAY = {
    "connection": "pay",
    "protocol": "HTTP",
    "organization": {"project": "payments", "component": "charge", "endpoint": "http"},
}
SHOP = cases.case_of(
    {
        "frame": {"outbound": [{"component": "web", "connection": PAY}]},
        "components": [
            {"component": "web", "connections": [PAY]},
            {"component": "batch", "kind": "WORKER"},
        ],
    }
)
PAYMENTS = cases.case_of(
    {
        "cell": "organizations/acme/projects/payments/cells/dev",
        "components": [
            {
                "component": "charge",
                "endpoints": [
                    {
                        "endpoint": "http",
                        "protocol": "HTTP",
                        "port": 80,
                        "target_port": 8080,
                        "visibilities": ["ORGANIZATION"],
                        "organization_callers": ["shop"],
                    }
                ],
            }
        ],
    }
)
HERE = SHOP.plane
AWAY = replace(HERE, data_plane="plane-b", westbound_host="west.plane-b.example")


def policies(
    case: cases.Case, plane: DataPlaneProfile, at: DataPlaneProfile
) -> tuple[dict[str, Any], ...]:
    gateway = PeerGateway(data_plane=at.data_plane, host=at.westbound_host or "ignored", port=443)
    peers = Peers(cells=(PeerCell(project="payments", gateways=(gateway,)),))
    compiled = compile_policies(case.cell, plane, peers, include_frame=True)
    return tuple(json.loads(m.content) for m in compiled.manifests)


def together() -> Site:
    """Both Cells on one data plane."""
    return Site(
        data_plane="plane-a",
        cells={"shop": SHOP.cell, "payments": PAYMENTS.cell},
        objects=policies(SHOP, HERE, HERE) + policies(PAYMENTS, HERE, HERE),
    )


def apart() -> Site:
    """The target on another data plane."""
    away = Elsewhere(
        cell=PAYMENTS.cell,
        objects=policies(PAYMENTS, AWAY, AWAY),
        host="west.plane-b.example",
        port=443,
    )
    return Site(
        data_plane="plane-a",
        cells={"shop": SHOP.cell},
        objects=policies(SHOP, HERE, AWAY),
        elsewhere={"payments": away},
    )


def ask(site: Site, source: str, destination: str, port: str) -> Reach:
    return can_reach(site, Question(source=source, destination=destination, port=port))


@pytest.mark.parametrize("site", [together(), apart()], ids=["together", "apart"])
def test_a_declared_connection_passes_through_gateways_alone(site: Site) -> None:
    """The direct way is closed, the eastbound one open, wherever the target is."""
    reach = ask(site, "shop/web", "payments/charge", "http")

    assert [(way.way, way.allowed) for way in reach.ways] == [
        ("direct", False),
        ("eastbound", True),
    ]
    assert [hop.source for hop in reach.ways[1].hops][:2] == ["shop/web", "shop/egress"]


@pytest.mark.parametrize("site", [together(), apart()], ids=["together", "apart"])
def test_nobody_borrows_it(site: Site) -> None:
    """A component beside it that declares nothing has the direct way alone, which is closed."""
    reach = ask(site, "shop/batch", "payments/charge", "http")

    assert [(way.way, way.allowed) for way in reach.ways] == [("direct", False)]


def test_a_route_that_does_not_know_its_caller_stops_it() -> None:
    """Where the target's endpoint knows no such caller, the way is closed at the route."""
    stranger = replace(
        PAYMENTS.cell,
        components=tuple(
            replace(c, endpoints=tuple(replace(e, organization_callers=()) for e in c.endpoints))
            for c in PAYMENTS.cell.components
        ),
    )
    site = replace(together(), cells={"shop": SHOP.cell, "payments": stranger})

    (_, eastbound) = ask(site, "shop/web", "payments/charge", "http").ways

    assert [hop.allowed for hop in eastbound.hops] == [True, True, False, True]
    assert not eastbound.allowed


def test_a_port_is_meant_as_people_write_it() -> None:
    """An endpoint's id, its Service's port and its process's port are the same connection."""
    asked = [
        ask(together(), "westbound", "payments/charge", port) for port in ("http", "80", "8080")
    ]

    assert [reach.ways[0].hops[0].port for reach in asked] == [8080, 8080, 8080]
    assert all(reach.allowed for reach in asked)


@pytest.mark.parametrize(
    ("source", "destination", "port", "says"),
    [
        ("someone", "shop/web", "80", "nobody is called"),
        ("shop/none", "shop/web", "80", 'has no component "none"'),
        ("other/web", "shop/web", "80", "no Cell of project"),
        ("shop/web", "payments/charge", "grpc", "neither a port nor an endpoint"),
    ],
)
def test_what_means_nothing_is_refused(source: str, destination: str, port: str, says: str) -> None:
    """Each wrong word is named, with those that would be right."""
    with pytest.raises(Invalid, match=says):
        ask(together(), source, destination, port)
