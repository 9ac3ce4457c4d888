"""The shared gateways' own namespace: who may reach them, and whom they may reach."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from cellplane.cell.plane import CILIUM_POLICY, KUBERNETES_POLICY, DataPlaneProfile
from cellplane.network_policy.compiler.flows import Address, Flow, Node, Place, Pod
from cellplane.network_policy.compiler.judge_cilium import refusals
from cellplane.network_policy.compiler.platform import compile_gateways
from cellplane.network_policy.compiler.verdict import verdict
from tests.golden import cases
from tests.golden.network_policy.world import COMPONENT, OWNING, PROVIDERS

ROWS: list[Mapping[str, Any]] = cases.load(Path(__file__).parent / "platform.yaml")
_OF_CELL = MappingProxyType({"cellplane.dev/project": "shop"})
_GATEWAYS = "cellplane-gateways"
PLACES: Mapping[str, Place] = {
    "internet": Address(ip="203.0.113.9"),
    "internet-v6": Address(ip="2001:db8::9"),
    "internal": Address(ip="10.20.30.40"),
    "internal-v6": Address(ip="fd00::9"),
    "metadata": Address(ip="169.254.169.254"),
    "northbound": Pod(namespace=_GATEWAYS, account="northbound", labels={OWNING: "northbound"}),
    "westbound": Pod(namespace=_GATEWAYS, account="westbound", labels={OWNING: "westbound"}),
    "other-in-namespace": Pod(namespace=_GATEWAYS, account="other"),
    "component": Pod(
        namespace="cell-shop",
        account="cart",
        labels={COMPONENT: "cart"},
        namespace_labels=_OF_CELL,
        ip="10.0.0.7",
    ),
    "egress": Pod(
        namespace="cell-shop",
        account="egress",
        labels={OWNING: "egress"},
        namespace_labels=_OF_CELL,
    ),
    # All labels and accounts of pods that a tenant of the cluster can choose.
    "impostor": Pod(
        namespace="tenant",
        account="egress",
        labels={OWNING: "egress", COMPONENT: "cart"},
        ip="10.0.0.8",
    ),
    "stranger": Pod(namespace="tenant", ip="10.0.0.9"),
    "controller": Pod(
        namespace="envoy-gateway-system",
        account="envoy-gateway",
        labels={"control-plane": "envoy-gateway"},
    ),
    "collector": Pod(
        namespace="cellplane-observability",
        account="collector",
        labels={"app.kubernetes.io/name": "collector"},
    ),
    "dns": Pod(namespace="kube-system", labels={"k8s-app": "kube-dns"}),
    "own-node": Node(own=True),
    "other-node": Node(),
}


def plane(*capabilities: str, internal: tuple[str, ...] = ()) -> DataPlaneProfile:
    """A data plane that can do just this."""
    return DataPlaneProfile(
        data_plane="west",
        uid="5b0bd4a2-5ec6-44cb-9f3c-0f1f3f1b9f11",
        organization="acme",
        trust_domain="acme.example",
        capabilities=capabilities,
        internal_networks=internal,
    )


def compiled(provider: str, *, internal: tuple[str, ...] = ()) -> list[Mapping[str, Any]]:
    """What becomes of the gateways' namespace with one provider."""
    capability = {"cilium": CILIUM_POLICY, "kubernetes": KUBERNETES_POLICY}[provider]
    made = compile_gateways(plane(capability, internal=internal))
    assert made.problems == ()
    return [json.loads(m.content) for m in made.manifests]


def flow_of(row: Mapping[str, Any]) -> Flow:
    """What a row of the table asks."""
    return Flow(
        source=PLACES[row["from"]],
        destination=PLACES[row["to"]],
        port=row["port"],
        transport=row.get("transport", "TCP"),
        query=row.get("query", ""),
    )


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_table_of_the_gateways(provider: str) -> None:
    """Every row of ``platform.yaml`` holds on the compiled policies."""
    # Cells are open here, so that the gateways' own side decides.
    objects = [o for o in compiled(provider) if o["kind"] != "CiliumClusterwideNetworkPolicy"]
    wrong = []
    for row in ROWS:
        expected = row["expect"]
        if isinstance(expected, Mapping):
            expected = expected[provider]
        found = verdict(objects, flow_of(row))
        if found.allowed is not (expected == "allow"):
            wrong.append(f"{row}: {found.rules}")

    assert wrong == []
    assert [r for o in objects if o["kind"].startswith("Cilium") for r in refusals(o)] == []


def test_without_its_own_guard_a_cell_stays_closed() -> None:
    """On Cilium, pods of a Cell's namespace are closed though no policy of the Cell is there."""
    objects = compiled("cilium")

    for flow in (
        Flow(source=PLACES["component"], destination=PLACES["internet"], port=443),
        Flow(source=PLACES["stranger"], destination=PLACES["component"], port=8080),
        Flow(source=PLACES["internet"], destination=PLACES["component"], port=8080),
    ):
        assert not verdict(objects, flow).allowed
    beside = Flow(source=PLACES["stranger"], destination=PLACES["internet"], port=443)
    assert verdict(objects, beside).allowed


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_organization_says_what_its_network_is(provider: str) -> None:
    """Where a data plane names its internal networks, they replace the private ranges."""
    objects = compiled(provider, internal=("198.18.0.0/15",))

    def reaches(ip: str) -> bool:
        asked = Flow(source=Address(ip=ip), destination=PLACES["westbound"], port=10443)
        return verdict(objects, asked).allowed

    assert reaches("198.18.3.4")
    assert not reaches("10.20.30.40")


def test_without_a_provider_nothing_is_made() -> None:
    """A data plane that can close nothing gets no namespace that would be open."""
    assert compile_gateways(plane("gateway")).manifests == ()
