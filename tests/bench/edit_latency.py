"""How long an edit takes: from the call to the changed object, as a watch in the cluster sees it.

Brings a control plane up (or uses ``CELLPLANE_STATE``), edits one environment variable of one
component 100 times, and prints p50, p90, p99 and the ratio to a bare server-side apply of the same
object in the same run. Usage: ``python -m tests.bench.edit_latency [EDITS]``.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cellplane.cli.local.layout import Layout
from tests.e2e.cluster import Cluster
from tests.e2e.conftest import Plane
from tests.e2e.test_change import Editor, deployment_path


class Watcher:
    """Notes when each value was seen in the cluster."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.seen: dict[str, float] = {}
        self._news = threading.Condition()
        self._events: Any = cluster.watch(deployment_path(namespace).rsplit("/", 1)[0])
        self._stream = self._events.__enter__()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        for event in self._stream:
            env = event["object"]["spec"]["template"]["spec"]["containers"][0].get("env", [])
            value = next((e.get("value", "") for e in env if e["name"] == "EDIT"), "")
            with self._news:
                self.seen.setdefault(value, time.monotonic())
                self._news.notify_all()

    def wait(self, value: str) -> float:
        """When the value was seen."""
        with self._news:
            if not self._news.wait_for(lambda: value in self.seen, timeout=10):
                raise TimeoutError(value)
            return self.seen[value]


def quantile(values: list[float], share: float) -> float:
    """The least value that *share* of all do not exceed (nearest rank), in milliseconds."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)] * 1000


def baseline(cluster: Cluster, namespace: str, count: int) -> list[float]:
    """Time bare server-side applies of one variable, by another field manager."""
    path = deployment_path(namespace) + "?fieldManager=baseline&force=true"
    deployment = cluster.get(deployment_path(namespace))
    name = deployment["spec"]["template"]["spec"]["containers"][0]["name"]
    times = []
    for number in range(count):
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "adservice", "annotations": {"bench": str(number)}},
        }
        began = time.monotonic()
        status, answer = cluster.request("PATCH", path, body, "application/apply-patch+yaml")
        if status != 200:
            raise RuntimeError(f"{name}: {answer}")
        times.append(time.monotonic() - began)
    return times


def main() -> int:
    """Print the table."""
    edits = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    state = os.environ.get("CELLPLANE_STATE") or str(Path.cwd() / ".cellplane")
    plane = Plane(layout=Layout.existing(Path(state)), grpcurl=Path("grpcurl"))
    cell = plane.ok("get", "cell", "boutique/development", "-o", "json").json
    namespace = cell["namespace"]
    on = [p["dataPlane"] for p in cell["dataPlanes"]]
    clusters = {name: plane.cluster(name) for name in on}
    watchers = {name: Watcher(cluster, namespace) for name, cluster in clusters.items()}
    editor = Editor(plane)
    times: dict[str, list[float]] = {name: [] for name in clusters}
    calls: list[float] = []
    for number in range(edits + 5):
        value = f"bench-{time.time_ns()}"
        began = time.monotonic()
        editor.set(value)
        called = time.monotonic() - began
        seen = {name: watcher.wait(value) - began for name, watcher in watchers.items()}
        if number >= 5:
            calls.append(called)
            for name, took in seen.items():
                times[name].append(took)
        time.sleep(0.3)
    bare = baseline(next(iter(clusters.values())), namespace, edits)
    first = [min(pair) for pair in zip(*times.values(), strict=True)]
    rows = {"call answered": calls, **{f"changed in {n}": t for n, t in times.items()}}
    rows["changed in the first"] = first
    rows["bare apply, for comparison"] = bare
    print(f"{edits} edits, one at a time; milliseconds from the call")
    for label, values in rows.items():
        print(
            f"{label:28} p50 {quantile(values, 0.5):6.1f}  p90 {quantile(values, 0.9):6.1f}"
            f"  p99 {quantile(values, 0.99):6.1f}  x bare"
            f" {statistics.median(values) / statistics.median(bare):4.1f}"
        )
    editor.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
