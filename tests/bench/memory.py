"""What a control plane on this machine weighs: resident memory of each process, and of all.

Usage: ``python -m tests.bench.memory`` beside a running one (``CELLPLANE_STATE``, or the folder
here). Shared pages count once for each process that maps them, so the sum is an upper bound; the
proportional set size (PSS) divides them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def rss_and_pss(pid: int) -> tuple[float, float]:
    """Resident and proportional set size of a process, in MB."""
    sizes = {
        line.split(":")[0]: int(line.split()[1]) / 1024
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    }
    return sizes["Rss"], sizes["Pss"]


def main() -> int:
    """Print the table."""
    state = Path(os.environ.get("CELLPLANE_STATE") or Path.cwd() / ".cellplane")
    files = {path.stem: path for path in sorted((state / "run").glob("*.pid"))}
    files["supervisor"] = state / "supervisor.json"
    for path in sorted((state / "state").glob("cluster-*/run/*")):
        files[f"{path.parents[1].name} {path.stem}"] = path
    total = total_shared = 0.0
    print(f"{'process':36} {'RSS MB':>8} {'PSS MB':>8}")
    for name, path in files.items():
        rss, pss = rss_and_pss(int(json.loads(path.read_text())["pid"]))
        total, total_shared = total + rss, total_shared + pss
        print(f"{name:36} {rss:8.0f} {pss:8.0f}")
    print(f"{'all':36} {total:8.0f} {total_shared:8.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
