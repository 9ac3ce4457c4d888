"""A divided Cell, through the real compiler of workloads."""

from __future__ import annotations

import json
from typing import Any

from cellplane.api.type.v1 import compile_pb2, resolved_cell_pb2, workload_pb2
from cellplane.model.workload.compile import compile as compile_workloads
from cellplane.placement.clients import Resolved, component_part, frame_part
from cellplane.placement.division import part_of
from cellplane.rpc.compile import CompileAdapter

SHARES = (("api", (("east", 5), ("west", 2))), ("web", (("east", 2), ("west", 1))))


def component(name: str, **workload: Any) -> resolved_cell_pb2.ResolvedComponent:
    """A component with an image."""
    return resolved_cell_pb2.ResolvedComponent(
        component=name,
        release=f"{name}-1",
        kind=workload_pb2.COMPONENT_KIND_WORKER,
        workload=workload_pb2.Workload(image="registry.example/x:1", **workload),
    )


def cell() -> Resolved:
    """One component with replicas, one that scales, and one that runs once."""
    frame = resolved_cell_pb2.CellFrame(
        organization="acme", project="shop", environment="dev", namespace="shop-dev"
    )
    job = component("job")
    job.kind = workload_pb2.COMPONENT_KIND_JOB
    scaling = workload_pb2.Autoscaling(min_replicas=3, max_replicas=10)
    parts = [component("api", replicas=7), component("web", autoscaling=scaling), job]
    return Resolved(
        cell="organizations/acme/projects/shop/cells/dev",
        revision=1,
        namespace="shop-dev",
        frame=frame_part(frame),
        components={p.component: component_part(p) for p in parts},
    )


def compiled(resolved: Resolved) -> dict[str, dict[str, Any]]:
    """Specs of what is made, by kind and name."""
    answer = CompileAdapter(compile_workloads).answer(
        compile_pb2.CompileRequest(
            cell=resolved_cell_pb2.ResolvedCell(
                cell=resolved.cell,
                revision=1,
                frame=resolved.frame.message,
                components=[p.message for p in resolved.components.values()],
            ),
            data_plane=compile_pb2.DataPlaneProfile(data_plane="east", organization="acme"),
        )
    )
    assert not answer.problems
    return {f"{m.kind}/{m.part}": json.loads(m.content).get("spec", {}) for m in answer.manifests}


def test_each_data_plane_runs_its_share() -> None:
    """Replicas and what scales are divided exactly; what runs once runs on each data plane."""
    whole = cell()
    east, west = (compiled(part_of(whole, SHARES, name)) for name in ("east", "west"))
    assert [east["Deployment/api"]["replicas"], west["Deployment/api"]["replicas"]] == [5, 2]
    limits = [
        (spec["minReplicas"], spec["maxReplicas"])
        for spec in (east["HorizontalPodAutoscaler/web"], west["HorizontalPodAutoscaler/web"])
    ]
    assert limits == [(2, 7), (1, 3)]
    assert east["Job/job"] == west["Job/job"]
    assert compiled(part_of(whole, (), "east")) == compiled(whole)


def test_a_share_changes_what_it_is_of_and_nothing_else() -> None:
    """Only the components with another share have another digest, so only they are compiled."""
    whole = cell()
    before = part_of(whole, SHARES, "east").components
    after = part_of(whole, (("api", (("east", 6), ("west", 2))), SHARES[1]), "east").components
    assert [n for n in before if before[n].digest != after[n].digest] == ["api"]
