"""Backstage and Score: what is written is what their formats demand, and nothing is lost unsaid."""

from __future__ import annotations

import re
from typing import Any

import pytest

from cellplane.model.catalog.exchange.backstage import Picture, entities
from cellplane.model.catalog.exchange.score import from_score, to_score

ORG = "organizations/acme"
PAY, SHOP = f"{ORG}/projects/pay", f"{ORG}/projects/shop"
CHARGE, CART = f"{PAY}/components/charge", f"{SHOP}/components/cart"
NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]")
REQUIRED = {
    "Group": {"type", "children"},
    "Domain": {"owner"},
    "System": {"owner"},
    "Component": {"type", "lifecycle", "owner"},
    "API": {"type", "lifecycle", "owner", "definition"},
}


def picture() -> Picture:
    schema = f"{CHARGE}/apiSchemas/s-1"
    return Picture(
        organization={"name": ORG, "displayName": "Acme"},
        projects=[{"name": PAY, "owner": "Team Money"}, {"name": SHOP}],
        components=[
            {"name": CHARGE, "componentKind": "API"},
            {
                "name": CART,
                "componentKind": "WEB_APPLICATION",
                "connections": [
                    {
                        "connection": "charge",
                        "componentEndpoint": {"component": CHARGE, "endpoint": "grpc"},
                    },
                    {"connection": "out", "externalHost": {"host": "example.com"}},
                ],
            },
        ],
        environments=[{"name": f"{ORG}/environments/live", "production": True}],
        entries=[
            {
                "name": f"{CHARGE}/catalogEntries/grpc",
                "component": CHARGE,
                "kind": "ENDPOINT",
                "offer": {"protocol": "GRPC", "apiSchema": schema, "description": "Charges"},
                "deployments": [{"environment": f"{ORG}/environments/live"}],
            },
            {
                "name": f"{CART}/catalogEntries/{'x' * 60}",
                "component": CART,
                "kind": "ENDPOINT",
                "offer": {"protocol": "HTTP"},
            },
        ],
        schemas={schema: {"name": schema, "format": "PROTOBUF", "content": "syntax = …"}},
    )


def test_entities_have_what_their_kinds_demand() -> None:
    """Names fit, are there once for each kind, and every field that a kind demands is set."""
    found = entities(picture())

    assert [e["kind"] for e in found] == [
        *("Group", "Group", "Group", "Domain", "System", "System"),
        *("Component", "Component", "API", "API"),
    ]
    keys = [(e["kind"], e["metadata"]["name"]) for e in found]
    assert len(keys) == len(set(keys))
    for entity in found:
        assert entity["apiVersion"] == "backstage.io/v1alpha1"
        assert NAME.fullmatch(entity["metadata"]["name"]), entity
        assert len(entity["metadata"]["name"]) <= 63
        spec = entity["spec"]
        assert REQUIRED[entity["kind"]] <= spec.keys()
        assert all(spec[word] or word == "children" for word in REQUIRED[entity["kind"]])


def test_entities_refer_to_each_other() -> None:
    """Every reference leads to an entity of the export; an external host is none."""
    found = entities(picture())
    there = {(e["kind"].lower(), e["metadata"]["name"]) for e in found}
    by_name = {e["metadata"]["name"]: e["spec"] for e in found if e["kind"] != "Group"}

    for spec in by_name.values():
        assert ("group", spec["owner"].removeprefix("group:")) in there
        assert "system" not in spec or ("system", spec["system"]) in there
        for api in (*spec.get("providesApis", ()), *spec.get("consumesApis", ())):
            assert ("api", api) in there
    cart, charge = by_name["shop.cart"], by_name["pay.charge.grpc"]
    assert cart["consumesApis"] == ["pay.charge.grpc"]
    assert cart["dependsOn"] == ["component:pay.charge"]
    assert (cart["type"], cart["lifecycle"]) == ("website", "experimental")
    assert (charge["type"], charge["lifecycle"]) == ("grpc", "production")


COMPONENT: dict[str, Any] = {
    "kind": "Component",
    "name": "projects/shop/components/cart",
    "componentKind": "WEB_APPLICATION",
    "displayName": "true",
    "workload": {
        "image": "cart:1",
        "args": ["-v"],
        "env": [{"name": "PRICE", "value": "$5 ${x} $${y}"}, {"name": "EMPTY"}],
        "resources": {"cpuRequest": "100m", "memoryLimit": "128974848e0"},
        "runAsUser": 1000,
    },
    "endpoints": [
        {"endpoint": "http", "protocol": "HTTP", "port": 80, "targetPort": 8080, "path": "/x"},
        {"endpoint": "d", "protocol": "UDP", "port": 53},
    ],
    "connections": [
        {
            "connection": "charge",
            "componentEndpoint": {"component": "projects/pay/components/charge", "endpoint": "g"},
            "inject": {"url": "CHARGE_URL", "port": "CHARGE_PORT"},
        },
        {
            "connection": "mail",
            "externalHost": {"host": "mail.example.com", "port": 443, "protocol": "HTTPS"},
        },
    ],
}


def test_a_component_survives_score() -> None:
    """Exported and imported again it is the same, and what Score has no word for was said."""
    written = to_score(COMPONENT)
    read = from_score(written.document, "projects/shop")

    assert read.document == COMPONENT
    assert read.notes == ()
    assert {n.split(":")[0] for n in written.notes} == {
        *("componentKind", "displayName", "endpoints", "resources", "workload"),
    }
    assert written.document["containers"]["main"]["variables"]["CHARGE_URL"] == (
        "${resources.charge.url}"
    )


def test_a_workload_of_others_becomes_a_component() -> None:
    """What is known is taken over, and every thing that is not is said with its place."""
    score = {
        "apiVersion": "score.dev/v1b1",
        "metadata": {"name": "web", "annotations": {"team": "a"}},
        "containers": {
            "app": {
                "image": ".",
                "variables": {"DB": "${resources.db.host}", "API": "${resources.api.url}"},
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
            },
            "sidecar": {"image": "x"},
        },
        "service": {"ports": {"www": {"port": 80, "targetPort": 8080}}},
        "resources": {
            "db": {"type": "postgres"},
            "api": {"type": "service", "params": {"workload": "api", "port": "http"}},
        },
    }
    found = from_score(score, "projects/shop")

    assert found.document["endpoints"] == [
        {"endpoint": "www", "protocol": "TCP", "port": 80, "targetPort": 8080}
    ]
    assert found.document["connections"] == [
        {
            "connection": "api",
            "componentEndpoint": {"component": "projects/shop/components/api", "endpoint": "http"},
            "inject": {"url": "API"},
        }
    ]
    assert {n.split(":")[0] for n in found.notes} == {
        *("containers.sidecar", "containers.app.image", "containers.app.readinessProbe"),
        *("metadata.annotations[team]", "service.ports.www", "resources.db"),
    }


@pytest.mark.parametrize("broken", [{}, {"apiVersion": "score.dev/v1b1"}, {"apiVersion": "v2"}])
def test_what_is_no_workload_is_refused(broken: dict[str, Any]) -> None:
    """Another version, or one without a name or containers."""
    with pytest.raises(ValueError, match=r"apiVersion|metadata|containers"):
        from_score(broken, "projects/shop")
