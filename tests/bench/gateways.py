"""What compiling gateways costs: ten thousand endpoints, and one change of one of them.

Usage: ``python -m tests.bench.gateways [ENDPOINTS]``. Times are of one core, in CPU seconds, so
that others on the machine do not count; each is told beside a baseline of the same run: the time
that writing the same objects as canonical JSON takes alone.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import replace
from datetime import timedelta

from cellplane.cell.cell import CellFrame, ResolvedCell, ResolvedComponent, ResolvedEndpoint
from cellplane.cell.manifest import Manifest, canonical
from cellplane.cell.plane import (
    CERT_MANAGER,
    ENVOY_GATEWAY,
    GATEWAY,
    DataPlaneProfile,
    Peers,
)
from cellplane.cell.protocol import Protocol
from cellplane.cell.traffic import (
    Authentication,
    Cors,
    JwtAuthentication,
    RateLimit,
    Timeouts,
    TrafficPolicy,
    Unit,
)
from cellplane.cell.visibility import Visibility
from cellplane.cell.workload import ComponentKind, Workload
from cellplane.gateway.compiler.compile import compile as compile_gateways

COMPONENTS, ENDPOINTS = 10, 10
"""Of one Cell, and of one of its components."""
TURNS = 50
PLANE = DataPlaneProfile(
    data_plane="west",
    uid="uid-1",
    organization="acme",
    trust_domain="example.com",
    capabilities=(CERT_MANAGER, GATEWAY, ENVOY_GATEWAY),
)
POLICY = TrafficPolicy(
    authentication=Authentication(
        jwt=JwtAuthentication(issuer="https://i.example", jwks_uri="https://i.example/keys")
    ),
    rate_limits=(RateLimit(requests=100, unit=Unit.SECOND),),
    timeouts=Timeouts(request=timedelta(seconds=5)),
    cors=Cors(allow_origins=("https://app.example.com",)),
)


def component(name: str) -> ResolvedComponent:
    """A component whose endpoints are public and the organization's, with policies."""
    return ResolvedComponent(
        component=name,
        release="r-1",
        kind=ComponentKind.SERVICE,
        workload=Workload(image="registry.example/app:1"),
        endpoints=tuple(
            ResolvedEndpoint(
                endpoint=f"e{index}",
                protocol=Protocol.HTTP,
                port=80 + index,
                target_port=8080 + index,
                visibilities=(Visibility.PUBLIC, Visibility.ORGANIZATION),
                path=f"/{name}/e{index}",
                organization_callers=("ledger", "payments"),
                traffic_policy=POLICY,
            )
            for index in range(ENDPOINTS)
        ),
    )


def cell(number: int) -> ResolvedCell:
    """A Cell of ten components of ten endpoints."""
    return ResolvedCell(
        cell=f"organizations/acme/projects/p{number}/cells/dev",
        revision=1,
        frame=CellFrame(
            organization="acme",
            project=f"p{number}",
            environment="dev",
            namespace=f"cell-p{number}-dev-x",
            public_domain="apps.example.com",
            organization_domain="internal.example.com",
        ),
        components=tuple(component(f"component-{i}") for i in range(COMPONENTS)),
    )


def main(count: int) -> int:
    """Print the table; 1 if one change costs 10 ms or touches what is not its own."""
    cells = [cell(number) for number in range(max(1, count // (COMPONENTS * ENDPOINTS)))]
    began = time.process_time()
    objects = [each for one in cells for each in compiled(one)]
    whole = time.process_time() - began
    bodies = [json.loads(each.content) for each in objects]
    began = time.process_time()
    for body in bodies:
        canonical(body)
    written = time.process_time() - began
    print(f"{len(cells) * COMPONENTS * ENDPOINTS} endpoints, {len(objects)} objects")
    print(f"all of them      {whole:8.2f} s   {whole / written:5.1f} x writing them")

    target = cells[len(cells) // 2]
    old = {m.key: m.digest for m in compiled(target)}
    spent, others = [], 0
    for turn in range(TURNS):
        first, *rest = target.components
        edited, *same = first.endpoints
        changed = replace(first, endpoints=(replace(edited, path=f"/moved/{turn}"), *same))
        part = replace(target, components=(changed,))
        began = time.process_time()
        answer = compile_gateways(part, PLANE, Peers(), include_frame=False)
        spent.append(time.process_time() - began)
        moved = {m.object for m in answer.manifests if old.get(m.key) != m.digest}
        own = {m.object for m in answer.manifests if f"-{edited.endpoint}-" in m.object}
        others += len(moved - own)
        assert len(rest) == COMPONENTS - 1
    one = statistics.median(spent)
    print(f"one change       {one * 1000:8.2f} ms  {whole / one:7.0f} x less than all")
    print(f"objects changed that are not the endpoint's own: {others}")
    return int(one >= 0.010 or others > 0)


def compiled(one: ResolvedCell) -> tuple[Manifest, ...]:
    """Everything of a Cell."""
    answer = compile_gateways(one, PLANE, Peers(), include_frame=True)
    assert not answer.problems, answer.problems
    return answer.manifests


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
