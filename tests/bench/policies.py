"""What compiling network policies costs: many Cells, and one change of one component.

Usage: ``python -m tests.bench.policies [CELLS]``. Times are of one core, in CPU seconds, so that
others on the machine do not count; each is told beside a baseline of the same run: the time that
writing the same objects as canonical JSON takes alone.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

from cellplane.cell.cell import (
    CellFrame,
    CellTarget,
    ResolvedCell,
    ResolvedComponent,
    ResolvedConnection,
    ResolvedEndpoint,
)
from cellplane.cell.manifest import canonical
from cellplane.cell.plane import CILIUM_POLICY, KUBERNETES_POLICY, DataPlaneProfile, Peers
from cellplane.cell.protocol import Protocol
from cellplane.cell.visibility import Isolation, Visibility
from cellplane.cell.workload import ComponentKind, Workload
from cellplane.network_policy.compiler.compile import compile as compile_policies

COMPONENTS = 10


def cell(number: int, isolation: Isolation) -> ResolvedCell:
    """A Cell of ten components, each connected to the next two."""
    ids = [f"component-{i}" for i in range(COMPONENTS)]

    def made(index: int) -> ResolvedComponent:
        callees = [ids[(index + step) % COMPONENTS] for step in (1, 2)]
        callers = tuple(sorted(ids[(index - step) % COMPONENTS] for step in (1, 2)))
        return ResolvedComponent(
            component=ids[index],
            release="r-1",
            kind=ComponentKind.SERVICE,
            workload=Workload(image="registry.example/app:1"),
            endpoints=(
                ResolvedEndpoint(
                    endpoint="http",
                    protocol=Protocol.HTTP,
                    port=80,
                    target_port=8080,
                    visibilities=(Visibility.PUBLIC,) if index == 0 else (),
                    cell_callers=callers,
                ),
            ),
            connections=tuple(
                ResolvedConnection(
                    connection=callee,
                    protocol=Protocol.HTTP,
                    cell=CellTarget(component=callee, endpoint="http", port=80, target_port=8080),
                )
                for callee in callees
            ),
        )

    return ResolvedCell(
        cell=f"organizations/acme/projects/p{number}/cells/dev",
        revision=1,
        frame=CellFrame(
            organization="acme",
            project=f"p{number}",
            environment="dev",
            namespace=f"cell-p{number}-dev-x",
            isolation=isolation,
        ),
        components=tuple(made(index) for index in range(COMPONENTS)),
    )


def main(count: int) -> int:
    """Print the table."""
    print(
        f"{'provider':28} {'isolation':9} {'cells':>6} {'s':>7} {'one change ms':>14} {'ratio':>6}"
    )
    for provider in (CILIUM_POLICY, KUBERNETES_POLICY):
        plane = DataPlaneProfile(
            data_plane="a",
            uid="a",
            organization="acme",
            trust_domain="cellplane.local",
            capabilities=(provider,),
        )
        for isolation in (Isolation.OPEN, Isolation.STRICT):
            cells = [cell(number, isolation) for number in range(count)]
            began = time.process_time()
            compiled = [compile_policies(c, plane, Peers(), include_frame=True) for c in cells]
            took = time.process_time() - began
            bodies = [json.loads(m.content) for one in compiled for m in one.manifests]
            began = time.process_time()
            for body in bodies:
                canonical(body)
            baseline = time.process_time() - began
            changed = replace(cells[0], components=cells[0].components[:1])
            began = time.process_time()
            for _ in range(100):
                compile_policies(changed, plane, Peers(), include_frame=False)
            change = (time.process_time() - began) * 10
            print(
                f"{provider:28} {isolation.value:9} {count:6} {took:7.2f} {change:14.3f} "
                f"{took / baseline:6.1f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
