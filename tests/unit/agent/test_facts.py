"""What a cluster has, and who requests it."""

from __future__ import annotations

from typing import Any

from cellplane.agent import facts
from cellplane.cell.plane import Enforcement


def node(provider: str = "aws:///eu/i-1", **offered: str) -> dict[str, Any]:
    """A node that is ready."""
    return {
        "metadata": {"name": "n"},
        "spec": {"providerID": provider},
        "status": {
            "allocatable": offered,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def described(
    nodes: list[dict[str, Any]], cells: facts.Amounts, others: facts.Amounts
) -> facts.Facts:
    """Facts of these nodes."""
    return facts.facts_of(
        [facts.read_node(n) for n in nodes],
        version="v1.34.0",
        capabilities=(),
        enforcement=Enforcement.UNSPECIFIED,
        labels={},
        cells=cells,
        others=others,
    )


def container(cpu: str, **more: Any) -> dict[str, Any]:
    """A container that requests so much."""
    return {"resources": {"requests": {"cpu": cpu, **more.pop("requests", {})}}, **more}


def test_a_pod_counts_as_its_clusters_scheduler_counts_it() -> None:
    """The sum, or the largest start with its sidecars; overhead on top; nothing once it is done."""
    spec = {
        "containers": [container("250m", requests={"example.com/gpu": "1"}), container("50m")],
        "initContainers": [
            container("200m"),
            container("100m", restartPolicy="Always"),
            container("500m"),
        ],
        "overhead": {"cpu": "10m", "memory": "1Mi"},
    }
    assert facts.requested({"spec": spec}) == {
        "cpu_millis": 610,
        "memory_bytes": 1024**2,
        "example.com/gpu": 1,
    }
    assert facts.requested({"spec": spec, "status": {"phase": "Succeeded"}}) == {}


def test_the_use_of_cells_is_told_apart_and_so_are_extended_resources() -> None:
    """By resource: what there is, what Cells request rounded down, what others do rounded up."""
    nodes = [
        node(cpu="4", memory="8Gi", **{"example.com/gpu": "2", "pods": "110"}),
        node(cpu="4", memory="8Gi"),
    ]
    found = described(nodes, {"cpu_millis": 1300}, {"cpu_millis": 900, "example.com/gpu": 1})
    assert found.provider == "aws"
    assert [
        (r.resource, r.allocatable, r.cells_requested, r.others_requested) for r in found.resources
    ] == [
        ("cpu_millis", 8000, 1200, 1200),
        ("example.com/gpu", 2, 0, 1),
        ("memory_bytes", 16 * 1024**3, 0, 0),
    ]
    assert found.requested_cpu_millis == 2400
    assert facts.digest_of(found) != facts.digest_of(described(nodes, {}, {}))


def test_nodes_of_several_providers_have_none() -> None:
    """A provider is only what every node says."""
    assert described([node(), node("gce://x/y")], {}, {}).provider == ""
