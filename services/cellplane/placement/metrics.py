"""What decisions cost: the work that was done, told when it is asked for.

Evaluated by affected is how much was looked at for nothing; both grow with what a change concerns,
never with how many Cells there are.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cellplane.placement.deciding import Deciding


class PlacementMetrics(Collector):
    """Counters of all organizations' decisions."""

    def __init__(self, deciding: Deciding) -> None:
        self._deciding = deciding

    def collect(self) -> Iterator[Metric]:
        """Tell the counters as they are now."""
        counters, commits = self._deciding.counters(), self._deciding.commits
        for name, help_text, value in (
            ("woken", "Cells that something happened to.", counters.woken),
            ("evaluated", "Decisions that were made.", counters.evaluated),
            ("affected", "Decisions that differ from the ones before.", counters.affected),
            ("moved", "Copies that had to leave a data plane.", counters.moved),
            ("parked", "Cells that could not be placed any more, or at all.", counters.parked),
            ("conflicts", "Decisions made anew before they were stored.", commits.conflicts),
            ("commits", "Commits of decisions, each of many.", commits.batches),
        ):
            yield CounterMetricFamily(f"cellplane_placement_{name}", help_text, value=value)
        braked = GaugeMetricFamily(
            "cellplane_placement_braked",
            "Whether nothing moves because too many data planes are lost.",
            labels=["organization"],
        )
        for organization in sorted(self._deciding.brakes()):
            braked.add_metric([organization], 1)
        yield braked
