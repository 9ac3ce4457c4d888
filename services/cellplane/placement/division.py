"""A Cell's part on one data plane: each component with as many replicas as were divided to it.

Compilers see a component as it is on their data plane, and know nothing of divisions. What scales
by itself has its share as the least, and of the most as much as its share is of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cellplane.api.type.v1 import resolved_cell_pb2
from cellplane.placement.clients import Part, Resolved, component_part
from cellplane.placement.scheduler.divide import Part as Share
from cellplane.placement.scheduler.divide import divide
from cellplane.placement.scheduler.shares import Shares


def part_of(resolved: Resolved, shares: Shares, data_plane: str) -> Resolved:
    """A Cell as it is on one data plane; the same one if it is not divided."""
    if not shares:
        return resolved
    own = {component: dict(counts) for component, counts in shares}
    components = {
        name: _scaled(part, own[name], data_plane) if name in own else part
        for name, part in resolved.components.items()
    }
    return replace(resolved, components=components)


def _scaled(part: Part, counts: Mapping[str, int], data_plane: str) -> Part:
    workload = part.message.workload
    replicas = counts.get(data_plane, 0)
    message = resolved_cell_pb2.ResolvedComponent()
    message.CopyFrom(part.message)
    if workload.HasField("autoscaling"):
        shares = [Share(data_plane=p, weight=n, least=n) for p, n in sorted(counts.items())]
        most = divide(max(workload.autoscaling.max_replicas, sum(counts.values())), shares) or {}
        message.workload.autoscaling.min_replicas = replicas
        message.workload.autoscaling.max_replicas = max(most.get(data_plane, 0), replicas)
    else:
        message.workload.replicas = replicas
    return component_part(message)
