"""The Cell of the table, and everyone whom it might meet."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cellplane.cell import addresses
from cellplane.network_policy.compiler.compile import compile as compile_policies
from cellplane.network_policy.compiler.flows import Address, Flow, Node, Place, Pod
from cellplane.network_policy.compiler.verdict import Judge
from tests.golden import cases

COLUMNS = ("none", "project", "organization", "public")
MODES = ("open", "strict")
PROVIDERS = ("cilium", "kubernetes")
LINKS = ("connected", "alone")
TRANSPORTS = ("tcp", "udp")
FAMILIES = ("ipv4", "ipv6")

OWNING = "gateway.envoyproxy.io/owning-gateway-name"
COMPONENT = "cellplane.dev/component"
_PLATFORM = "cellplane-gateways"
_OBSERVABILITY = "cellplane-observability"
_ENVOY = "envoy-gateway-system"


@dataclass(frozen=True)
class Scene:
    """One Cell of the table, compiled."""

    facts: frozenset[str]
    case: cases.Case
    objects: tuple[Mapping[str, Any], ...]

    @property
    def namespace(self) -> str:
        return self.case.cell.frame.namespace

    def __str__(self) -> str:
        return "-".join(sorted(self.facts))


def scenes(*, meshed: bool = False) -> Iterator[Scene]:
    """Every combination of what the table depends on; *meshed*, those that a mesh can carry."""
    for facts in itertools.product(COLUMNS, MODES, LINKS, PROVIDERS, TRANSPORTS, FAMILIES):
        told = _cell(*facts)
        if meshed:
            if "udp" in facts and "none" not in facts:
                continue
            told["frame"]["encryption"] = "MTLS"
            told["plane"]["capabilities"] += ["mtls"]
        case = cases.case_of(told)
        compiled = compile_policies(case.cell, case.plane, case.peers, include_frame=True)
        assert [p for p in compiled.problems if p.severity.value == "ERROR"] == []
        yield Scene(
            facts=frozenset(facts),
            case=case,
            objects=tuple(cases.bodies(compiled.manifests)),
        )


def _cell(
    column: str, mode: str, link: str, provider: str, transport: str, family: str
) -> dict[str, Any]:
    connected = link == "connected"
    protocol = {"tcp": "HTTP", "udp": "UDP"}[transport]
    api: dict[str, Any] = {"component": "api"}
    if column != "none":
        api["endpoints"] = [
            {
                "endpoint": "main",
                "protocol": protocol,
                "port": 80,
                "target_port": 8080,
                "visibilities": [] if column == "project" else [column.upper()],
                "cell_callers": ["web"] if connected else [],
                "organization_callers": ["payments"] if connected else [],
            }
        ]
        if transport == "tcp":
            api["workload"] = {"readiness_probe": {"endpoint": "main"}}
    to_api = {
        "connection": "api",
        "protocol": protocol,
        "cell": {"component": "api", "endpoint": "main", "port": 80, "target_port": 8080},
    }
    pay = {
        "connection": "pay",
        "protocol": "HTTP",
        "organization": {"project": "payments", "component": "charge", "endpoint": "http"},
    }
    book = {
        "connection": "book",
        "protocol": "GRPC",
        "organization": {"project": "ledger", "component": "book", "endpoint": "grpc"},
    }
    outbound = [{"component": "batch", "connection": book}]
    if connected:
        outbound.append({"component": "web", "connection": pay})
    by_address = {"ipv4": "192.0.2.7", "ipv6": _IPV6["192.0.2.7"]}
    far = "west.plane-b.example" if provider == "cilium" else by_address[family]
    return {
        "frame": {"isolation": mode.upper(), "outbound": outbound},
        "components": [
            api,
            {"component": "web", "connections": [to_api, pay] if connected else []},
            {"component": "batch", "kind": "WORKER", "connections": [book]},
        ],
        "plane": {"capabilities": [f"networkpolicy.{provider}"]},
        "peers": {
            "cells": [
                {
                    "project": "payments",
                    "gateways": [{"data_plane": "plane-a", "host": "ignored", "port": 443}],
                },
                {
                    "project": "ledger",
                    "gateways": [{"data_plane": "plane-b", "host": far, "port": 8443}],
                },
            ]
        },
    }


def place(scene: Scene, name: str) -> Place:
    """Who is meant by a name of the table."""
    known = PLACES.get(name) or _own(scene.namespace, name)
    if isinstance(known, Address) and "ipv6" in scene.facts:
        return replace(known, ip=_IPV6[known.ip])
    return known


def _own(namespace: str, name: str) -> Pod:
    match name:
        case "egress":
            # As Envoy Gateway makes them; without the label of a component.
            return Pod(
                namespace=namespace, account="egress", labels={OWNING: "egress", "app": "envoy"}
            )
        case "stray":
            return Pod(namespace=namespace)
        case "api" | "web" | "batch":
            return Pod(namespace=namespace, account=name, labels={COMPONENT: name})
        case _:
            raise AssertionError(f"nobody is called {name}")


def _component(namespace: str, name: str) -> Pod:
    return Pod(namespace=namespace, account=name, labels={COMPONENT: name})


PLACES: Mapping[str, Place] = {
    "northbound": Pod(namespace=_PLATFORM, account="northbound", labels={OWNING: "northbound"}),
    "westbound": Pod(namespace=_PLATFORM, account="westbound", labels={OWNING: "westbound"}),
    "gateway-stray": Pod(namespace=_PLATFORM, labels={"app": "northbound"}),
    "forged-northbound": Pod(
        namespace="tenant", account="northbound", labels={OWNING: "northbound"}
    ),
    "forged-westbound": Pod(namespace="tenant", account="westbound", labels={OWNING: "westbound"}),
    "controller": Pod(
        namespace=_ENVOY, account="envoy-gateway", labels={"control-plane": "envoy-gateway"}
    ),
    "controller-stray": Pod(namespace=_ENVOY),
    "forged-controller": Pod(
        namespace="tenant", account="envoy-gateway", labels={"control-plane": "envoy-gateway"}
    ),
    "dns": Pod(namespace="kube-system", account="coredns", labels={"k8s-app": "kube-dns"}),
    "kube-system-stray": Pod(namespace="kube-system"),
    "forged-dns": Pod(namespace="tenant", account="coredns", labels={"k8s-app": "kube-dns"}),
    "collector": Pod(
        namespace=_OBSERVABILITY,
        account="collector",
        labels={"app.kubernetes.io/name": "collector"},
    ),
    "forged-collector": Pod(
        namespace="tenant", account="collector", labels={"app.kubernetes.io/name": "collector"}
    ),
    "scraper": Pod(namespace=_OBSERVABILITY, account="scraper"),
    "observability-stray": Pod(namespace=_OBSERVABILITY, labels={"app": "collector"}),
    "other-cell": _component("cell-payments-dev-abcdefgh", "charge"),
    "other-environment": _component("cell-shop-prod-abcdefgh", "web"),
    "other-organization": _component("cell-shop-dev-otherorg", "web"),
    "forged-web": _component("cell-payments-dev-abcdefgh", "web"),
    "forged-batch": _component("cell-payments-dev-abcdefgh", "batch"),
    "own-node": Node(own=True),
    "other-node": Node(),
    "internet": Address(ip="198.51.100.9"),
    "internal-client": Address(ip="10.200.3.4"),
    "named-host": Address(ip="203.0.113.5", names=("api.example.com",)),
    "west-b": Address(ip="192.0.2.7", names=("west.plane-b.example",)),
    "external-name": Address(
        ip="198.51.100.77", names=("envoy-gateway.envoy-gateway-system.svc.cluster.local",)
    ),
    "metadata": Address(ip="169.254.169.254"),
    "apiserver": Address(ip="203.0.113.99", names=("kubernetes.default.svc.cluster.local",)),
}
_IPV6: Mapping[str, str] = {
    "198.51.100.9": "2001:db8:51::9",
    "198.51.100.77": "2001:db8:51::77",
    "10.200.3.4": "fd00:200::3:4",
    "203.0.113.5": "2001:db8:113::5",
    "192.0.2.7": "2001:db8:2::7",
    "169.254.169.254": "fd00:ec2::254",
    "203.0.113.99": "2001:db8:113::99",
}
"""The same places where a cluster speaks IPv6."""


@dataclass(frozen=True)
class Check:
    """One flow of one row, with what must come of it."""

    what: str
    flow: Flow
    side: str
    allowed: bool

    def holds(self, judges: Sequence[Judge]) -> bool:
        """Whether the judged objects do what the table says."""
        return all(self._allowed(judge) is self.allowed for judge in judges)

    def _allowed(self, judge: Judge) -> bool:
        if self.side:
            return judge.one_side(self.flow, self.side).allowed
        return judge.verdict(self.flow).allowed


def judges(scene: Scene, objects: Sequence[Mapping[str, Any]]) -> list[Judge]:
    """Those whom objects must satisfy: whatever Cilium's ``allow-localhost`` is."""
    always = (True, False) if "cilium" in scene.facts else (True,)
    return [Judge(objects, own_node_always=own) for own in always]


def checks(scene: Scene, table: Mapping[str, Any]) -> list[Check]:
    """All flows that the table tells of this scene."""
    found: list[Check] = []
    for section in ("ingress", "egress", "gateway"):
        for row in table[section]:
            if "connected" in row and row["connected"] is not ("connected" in scene.facts):
                continue
            found.extend(_row(scene, section, row))
    return found


def _row(scene: Scene, section: str, row: Mapping[str, Any]) -> Iterator[Check]:
    # The table of ingress is about ingress, whoever forbids the flow on the other side.
    sides = row.get("side", "ingress" if section == "ingress" else "")
    for source, target, port, transport, query, side in itertools.product(
        _each(row["from"]),
        _each(row.get("to", "api")),
        _each(row.get("port", 8080)),
        _each(row.get("transport", "TCP" if "port" in row else "own")),
        _each(row.get("query", "")),
        _each(sides),
    ):
        flow = Flow(
            source=place(scene, source),
            destination=place(scene, target),
            port=_port(scene, port),
            transport=_transport(scene, transport),
            query=query.replace("$NAMESPACE", scene.namespace),
        )
        expected = _expected(scene, row, query)
        what = f"{section}: {row['what']}: {source} → {target}:{port}/{transport} {query} {side}"
        yield Check(what=what, flow=flow, side=side, allowed=expected == "allow")


def _expected(scene: Scene, row: Mapping[str, Any], query: str) -> str:
    if query and row.get("limit") and "kubernetes" in scene.facts:
        return "allow"
    value = row["expect"]
    while isinstance(value, Mapping):
        value = next(value[key] for key in value if key in scene.facts or key == "else")
    assert value in {"allow", "deny"}
    return str(value)


def _transport(scene: Scene, name: str) -> str:
    own, other = ("TCP", "UDP") if "tcp" in scene.facts else ("UDP", "TCP")
    return {"own": own, "other": other}.get(name, name)


def _port(scene: Scene, port: int | str) -> int:
    if isinstance(port, int):
        return port
    owner = port.removesuffix("-listener")
    known = addresses.egress_ports(scene.case.cell.frame)
    # A listener that is not there: a port that would be one.
    return next((p for (component, _), p in known.items() if component == owner), 29999)


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
