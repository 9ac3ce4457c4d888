"""Where releases may go: the graph of a pipeline, and what a promotion changes.

A promotion follows one edge, takes all of its components or none, and never leaves a component
behind that another needs.
"""

from __future__ import annotations

from collections.abc import Mapping

from cellplane.model.domain.resources import DeploymentPipeline


def edges(pipeline: DeploymentPipeline) -> dict[str, tuple[str, ...]]:
    """Targets of each environment, by name; every environment of the pipeline is a key."""
    graph: dict[str, list[str]] = {}
    for step in pipeline.promotion_paths:
        targets = graph.setdefault(step.source_environment, [])
        for target in step.target_environments:
            graph.setdefault(target, [])
            targets.append(target)
    return {source: tuple(dict.fromkeys(targets)) for source, targets in graph.items()}


def roots(graph: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Environments that no path leads to, sorted."""
    reached = {target for targets in graph.values() for target in targets}
    return tuple(sorted(set(graph) - reached))


def first_environment(pipeline: DeploymentPipeline) -> str:
    """Name of the environment where releases start; raises ValueError for a pipeline with none."""
    found = roots(edges(pipeline))
    if not found:
        raise ValueError(f'pipeline "{pipeline.name}" has no first environment')
    return found[0]


def find_cycle(graph: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """One cycle, its first environment again at its end; empty if there is none."""
    done: set[str] = set()
    for start in sorted(graph):
        trail: list[str] = []
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            node, leaving = stack.pop()
            if leaving:
                done.add(trail.pop())
            elif node in trail:
                return (*trail[trail.index(node) :], node)
            elif node not in done:
                trail.append(node)
                stack.append((node, True))
                stack.extend((target, False) for target in reversed(graph.get(node, ())))
    return ()
