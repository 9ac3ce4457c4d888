"""What resolution costs: how much is looked at after a change, and how much of it differs.

Whatever is looked at and does not differ was looked at for nothing; both grow with a change's
dependents, never with how much there is.
"""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter

from cellplane.model.domain.kinds import project_of


class ResolutionMetrics:
    """Counts what is resolved, dry runs too."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.components = Counter(
            "cellplane_model_components_resolved",
            "Components that were resolved, and whether the result differs from before.",
            ["outcome"],
            registry=registry,
        )
        self.cells = Counter(
            "cellplane_model_cells_resolved",
            "Cells with a component that was resolved, and whether any result differs from before.",
            ["outcome"],
            registry=registry,
        )

    def resolved(self, environment: str, names: Collection[str], changed: Collection[str]) -> None:
        """Count one settling of an environment.

        Args:
            environment: Its name.
            names: The components that were resolved; nothing else was.
            changed: Those of them that differ from before.
        """
        del environment
        for counter, every, different in (
            (self.components, set(names), set(changed)),
            (self.cells, {project_of(n) for n in names}, {project_of(n) for n in changed}),
        ):
            counter.labels("changed").inc(len(different))
            counter.labels("unchanged").inc(len(every - different))
