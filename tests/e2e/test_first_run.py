"""What a newcomer sees after one command."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import Plane

BOUTIQUE = [
    "adservice",
    "cartservice",
    "checkoutservice",
    "currencyservice",
    "emailservice",
    "frontend",
    "paymentservice",
    "productcatalogservice",
    "recommendationservice",
    "redis-cart",
    "shippingservice",
]


def test_two_data_planes_have_joined(plane: Plane) -> None:
    """Both clusters are READY data planes, told apart by what they can enforce."""
    planes = plane.ok("get", "dataplanes", "-o", "json").json

    found = {p["name"].rsplit("/", 1)[-1]: p for p in planes}
    assert {"west", "east"} == set(found)
    assert {"READY"} == {p["state"] for p in found.values()}
    assert "networkpolicy.cilium" in found["west"]["profile"]["capabilities"]
    assert "networkpolicy.cilium" not in found["east"]["profile"]["capabilities"]


@pytest.mark.parametrize(("project", "components"), [("boutique", BOUTIQUE), ("payments", None)])
def test_every_component_is_ready_on_both(
    plane: Plane, project: str, components: list[str] | None
) -> None:
    """The Cell is Ready, and says that a simulated plane isolates nothing."""
    cell = plane.ok("get", "cell", f"{project}/development", "-o", "json").json

    conditions = {c["type"]: c for c in cell["conditions"]}
    assert cell["health"] == "HEALTH_READY"
    assert {"west", "east"} == {p["dataPlane"] for p in cell["dataPlanes"]}
    assert conditions["Ready"]["status"] == "TRUE"
    assert conditions["Isolated"]["status"] == "FALSE"
    assert conditions["Isolated"]["reason"] == "Simulated"
    if components:
        assert components == sorted(c["component"] for c in cell["components"])
    assert {"HEALTH_READY"} == {c["health"] for c in cell["components"]}


def test_policies_are_of_the_planes_own_kind(plane: Plane) -> None:
    """Cilium's policies where Cilium is, plain ones elsewhere; the guards among them."""
    namespace = plane.ok("get", "cell", "boutique/development", "-o", "json").json["namespace"]
    cilium = f"/apis/cilium.io/v2/namespaces/{namespace}/ciliumnetworkpolicies"
    plain = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"

    west, east = plane.cluster("west"), plane.cluster("east")
    assert len(west.get(cilium)["items"]) > len(BOUTIQUE)
    assert west.get(plain)["items"] == []
    assert len(east.get(plain)["items"]) > len(BOUTIQUE)


def test_no_pod_came_before_its_policies(plane: Plane) -> None:
    """In each cluster's own order, every policy of a Cell is older than its first pod."""
    namespace = plane.ok("get", "cell", "boutique/development", "-o", "json").json["namespace"]
    policies = {
        "west": f"/apis/cilium.io/v2/namespaces/{namespace}/ciliumnetworkpolicies",
        "east": f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies",
    }
    for name, path in policies.items():
        creations = [
            json.loads(line)
            for line in (plane.layout.state(f"cluster-{name}") / "audit.log")
            .read_text()
            .splitlines()
        ]
        born: dict[tuple[str, str], str] = {}
        for entry in creations:
            reference = entry["objectRef"]
            if (
                reference.get("namespace") == namespace
                and entry["verb"] in {"create", "patch"}
                and entry["responseStatus"]["code"] == 201
                and not reference.get("subresource")
            ):
                # What other tests removed and the agent put back was born before.
                born.setdefault(
                    (reference["resource"], reference.get("name", entry["auditID"])),
                    entry["stageTimestamp"],
                )
        resource = path.rsplit("/", 1)[-1]
        last_policy = max(time for (kind, _), time in born.items() if kind == resource)
        first_pod = min(time for (kind, _), time in born.items() if kind == "pods")
        assert last_policy < first_pod, name


def test_the_samples_lie_as_manifests_in_the_folder(plane: Plane) -> None:
    """The folder data plane holds the same Cells as a tree that Git and other tools understand."""
    files = [path.name for path in plane.layout.manifests.rglob("*.yaml")]

    assert "deployment-frontend.yaml" in files
    assert "statefulset-redis-cart.yaml" in files
    assert len(files) > 50
