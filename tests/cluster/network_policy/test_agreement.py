"""Our verdict against engines that know nothing of it, on every flow that we have a reason to ask.

A disagreement is a fault of ours: in what the verdict believes of an engine, or in what is emitted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellplane.cell.addresses import egress_ports
from cellplane.cell.cell import ResolvedCell
from cellplane.cell.plane import CILIUM_POLICY, KUBERNETES_POLICY, Peers
from cellplane.cell.visibility import Isolation
from cellplane.cli.documents.load import load
from cellplane.cli.offline import cells as offline
from cellplane.cli.offline import planes
from cellplane.cli.offline.compilers import compile_cell
from cellplane.network_policy.compiler.compile import compile as compile_policies
from cellplane.network_policy.compiler.flows import Flow, Node, Place, Pod
from cellplane.network_policy.compiler.judge_cilium import refusals
from tests.cluster.network_policy.engines import Engine, disagreements
from tests.golden import cases
from tests.golden.network_policy import mutants, world
from tests.golden.network_policy import test_platform as platform
from tests.golden.network_policy.test_network_policy import CASES, case_flows, compile_case
from tests.golden.network_policy.test_table import MUTATED, TABLE
from tests.property.compilers.strategies import cells, peers
from tests.property.compilers.test_network_policy import PORTS, plane_with, pod_of, strangers

pytestmark = pytest.mark.timeout(1800)

FULL = bool(os.environ.get("CELLPLANE_FULL"))
SAMPLES = Path(__file__).parents[3] / "samples"
MODELS = 10_000 if FULL else 200
Objects = Sequence[Mapping[str, Any]]
Count = Callable[[int], None]


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Iterator[Count]:
    """Adds up the verdicts that were compared, for the report of the run."""
    total = 0

    def add(more: int) -> None:
        nonlocal total
        total += more

    yield add
    record_property("verdicts compared", total)


def between_pods(flows: Sequence[Flow]) -> list[Flow]:
    """Those that Cyclonus knows: it has no nodes."""
    return [
        flow
        for flow in flows
        if not isinstance(flow.source, Node) and not isinstance(flow.destination, Node)
    ]


def compare(
    cilium: Engine, cyclonus: Engine, objects: Objects, flows: Sequence[Flow], count: Count
) -> list[str]:
    """All disagreements about *flows*, with every engine that knows these objects."""
    plain = any(o["kind"] == "NetworkPolicy" for o in objects)
    # A pod's own node gets in by NetworkPolicy's definition; in Cilium it is an option.
    found: list[str] = []
    for always in (True,) if plain else (True, False):
        found += disagreements(cilium, objects, flows, own_node_always=always)
        count(2 * len(flows))
    if plain:
        asked = between_pods(flows)
        found += disagreements(cyclonus, objects, asked)
        count(2 * len(asked))
    return found


@pytest.mark.parametrize("provider", world.PROVIDERS)
@pytest.mark.parametrize("mode", world.MODES)
def test_the_table(
    cilium: Engine, cyclonus: Engine, provider: str, mode: str, count: Count
) -> None:
    """The engines judge every flow of every row of the table as the verdict does."""
    for scene in world.scenes():
        if not scene.facts >= {provider, mode}:
            continue
        flows = [check.flow for check in world.checks(scene, TABLE)]

        assert cilium.ask(scene.objects, []).refused == {}
        assert compare(cilium, cyclonus, scene.objects, flows, count) == [], scene


@pytest.mark.parametrize("provider", world.PROVIDERS)
def test_every_mutant(cilium: Engine, cyclonus: Engine, provider: str, count: Count) -> None:
    """Of every policy with one thing dropped or widened, the engines think as the verdict does."""
    chosen = [s for s in MUTATED if provider in s.facts]
    for scene in chosen if FULL else chosen[:1]:
        flows = [check.flow for check in world.checks(scene, TABLE)]
        for name, objects in mutants.of(scene):
            ours = [o for o in objects if o["kind"] != "NetworkPolicy" and refusals(o)]
            theirs = cilium.ask(objects, []).refused
            assert len(ours) >= len(theirs), f"{name}: {theirs}"
            # We refuse more than this version does: no other is to read it otherwise. And Cilium
            # reads the rules of a NetworkPolicy that its policyTypes leave out, against its API.
            if len(ours) > len(theirs) or "cut spec/policyTypes" in name:
                continue
            asked = flows if FULL else flows[:: max(1, len(flows) // 60)]
            assert compare(cilium, cyclonus, objects, asked, count) == [], name


@pytest.mark.parametrize("provider", world.PROVIDERS)
@pytest.mark.parametrize("folder", CASES, ids=lambda path: path.name)
def test_the_golden_cases(
    cilium: Engine, cyclonus: Engine, folder: Path, provider: str, count: Count
) -> None:
    """The engines take every golden policy, and judge every golden flow as the verdict does."""
    case, compiled = compile_case(folder, provider)
    # What a mesh adds, the engines of networks do not know.
    objects = [o for o in cases.bodies(compiled.manifests) if "NetworkPolicy" in o["kind"]]

    assert cilium.ask(objects, []).refused == {}
    assert compare(cilium, cyclonus, objects, case_flows(folder, case), count) == []


@pytest.mark.parametrize("provider", world.PROVIDERS)
def test_the_gateways(cilium: Engine, cyclonus: Engine, provider: str, count: Count) -> None:
    """The engines take the policies of the shared gateways, and judge everyone to everyone."""
    objects = [o for o in platform.compiled(provider) if "NetworkPolicy" in o["kind"]]
    places = list(platform.PLACES.values())
    flows = [
        *map(platform.flow_of, platform.ROWS),
        *(
            Flow(source=source, destination=target, port=port, transport=transport)
            for source in places
            for target in places
            for port in (53, 4317, 8080, 10080, 10443, 18000, 19000, 19003)
            for transport in ("TCP", "UDP")
            if source is not target and isinstance(source, Pod) | isinstance(target, Pod)
        ),
    ]

    assert cilium.ask(objects, []).refused == {}
    if provider == "kubernetes":
        # A block of addresses holds pods for some engines, Cyclonus and us among them, and for
        # Cilium never: what the API leaves open is not asked of Cilium.
        assert disagreements(cyclonus, objects, between_pods(flows)) == []
        count(2 * len(flows))
        flows = [f for f in flows if not isinstance(f.source, Pod)]
    assert compare(cilium, cyclonus, objects, flows, count) == []


@pytest.mark.parametrize("provider", world.PROVIDERS)
@pytest.mark.parametrize("isolation", [Isolation.OPEN, Isolation.STRICT])
def test_the_samples(
    cilium: Engine, cyclonus: Engine, provider: str, isolation: Isolation, count: Count
) -> None:
    """The engines take the samples' policies, and judge all that could be tried among them."""
    objects, flows = sampled(provider, isolation)

    assert cilium.ask(objects, []).refused == {}
    assert compare(cilium, cyclonus, objects, flows, count) == []


def sampled(provider: str, isolation: Isolation) -> tuple[Objects, list[Flow]]:
    """All policies of the samples on one data plane, and everyone to everyone on every port."""
    plane = planes.load(SAMPLES / "planes" / f"{provider}.yaml")
    folders = [str(SAMPLES / name) for name in ("platform", "boutique", "payments")]
    loaded = offline.World(load(folders, plane.organization))
    found = [
        replace(cell, frame=replace(cell.frame, isolation=isolation))
        for cell, _ in offline.cells(loaded, "development")
    ]
    objects = [
        json.loads(m.content)
        for cell in found
        for m in compile_cell(cell, plane, found).manifests
        if "NetworkPolicy" in m.kind
    ]
    pods: list[Place] = [pod_of(cell, c.component) for cell in found for c in cell.components]
    places = [*pods, *world.PLACES.values()]
    ports = {e.target_port for cell in found for c in cell.components for e in c.endpoints}
    listeners = {p for cell in found for p in egress_ports(cell.frame).values()}
    flows = [
        Flow(source=source, destination=target, port=port, transport=transport)
        for pod in pods
        for other in places
        for source, target in ((pod, other), (other, pod))
        for port in sorted(ports | listeners | {53, 443, 4317, 9999})
        for transport in ("TCP", "UDP")
    ]
    return objects, flows if FULL else flows[::29]


@settings(
    max_examples=MODELS,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    cells(), peers, st.sampled_from([CILIUM_POLICY, KUBERNETES_POLICY]), st.lists(strangers), PORTS
)
def test_random_models(
    cilium: Engine,
    cyclonus: Engine,
    count: Count,
    cell: ResolvedCell,
    reached: Peers,
    provider: str,
    others: list[Place],
    port: int,
) -> None:
    """Whatever the model, the engines take its policies and judge its flows as the verdict does."""
    compiled = compile_policies(cell, plane_with(provider), reached, include_frame=True)
    objects = [json.loads(m.content) for m in compiled.manifests]
    pods = [pod_of(cell, c.component) for c in cell.components]
    ports = {port, *(e.target_port for c in cell.components for e in c.endpoints)}
    flows = [
        Flow(source=source, destination=target, port=number, transport=transport)
        for pod in pods
        for other in (*pods, *others)
        for source, target in ((pod, other), (other, pod))
        for number in sorted(ports)
        for transport in ("TCP", "UDP")
    ]

    assert cilium.ask(objects, []).refused == {}
    assert compare(cilium, cyclonus, objects, flows, count) == []
