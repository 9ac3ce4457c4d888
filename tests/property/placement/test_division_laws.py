"""Laws of dividing replicas, and of what a trace may weigh."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.cell.plane import CILIUM_POLICY
from cellplane.cell.requirement import (
    Division,
    DivisionMethod,
    LabelSelector,
    Operator,
    PlacementRequirement,
    Preference,
    Spread,
)
from cellplane.placement.scheduler.decide import Placed, decide
from cellplane.placement.scheduler.divide import Part, divide
from cellplane.placement.scheduler.snapshot import (
    ComponentDemand,
    Demand,
    Plane,
    PlaneState,
    Previous,
    Snapshot,
)
from cellplane.placement.scheduler.trace import BYTES, of_json, to_json

parts = st.lists(
    st.builds(
        Part,
        data_plane=st.sampled_from("abcdef"),
        weight=st.integers(1, 9),
        least=st.integers(0, 2),
        most=st.sampled_from([None, 2, 5, 20]),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda p: p.data_plane,
)


@settings(max_examples=200, deadline=None)
@given(total=st.integers(0, 60), given_parts=parts)
def test_a_division_is_exact_and_within_its_bounds(total: int, given_parts: list[Part]) -> None:
    """The sum is the total wherever the bounds leave a way, and only there."""
    found = divide(total, given_parts)
    least = sum(p.least for p in given_parts)
    most = sum(total if p.most is None else p.most for p in given_parts)
    assert (found is not None) is (least <= total <= most)
    if found is not None:
        assert sum(found.values()) == total
        for part in given_parts:
            assert part.least <= found[part.data_plane]
            assert part.most is None or found[part.data_plane] <= part.most


@settings(max_examples=200, deadline=None)
@given(total=st.integers(0, 40), given_parts=parts)
def test_one_more_replica_takes_nothing_from_anybody(total: int, given_parts: list[Part]) -> None:
    """House monotone: a larger total gives every part at least as many."""
    small, large = divide(total, given_parts), divide(total + 1, given_parts)
    if small is not None and large is not None:
        assert all(large[name] >= count for name, count in small.items())


@settings(max_examples=200, deadline=None)
@given(total=st.integers(0, 40), more=st.integers(-9, 9), given_parts=parts)
def test_what_is_there_stays(total: int, more: int, given_parts: list[Part]) -> None:
    """Growing only adds and shrinking only takes away, whatever the weights say of the rest."""
    there = divide(total, [replace(p, weight=10 - p.weight) for p in given_parts])
    if there is None:
        return
    kept = [replace(p, has=there[p.data_plane]) for p in given_parts]
    found = divide(max(0, total + more), kept)
    if found is not None:
        changes = [found[name] - count for name, count in there.items()]
        assert all(c >= 0 for c in changes) or all(c <= 0 for c in changes)


@settings(max_examples=60, deadline=None)
@given(
    capacities=st.lists(st.integers(0, 5), min_size=1, max_size=5),
    copies=st.integers(1, 3),
    replicas=st.integers(1, 12),
    method=st.sampled_from(list(DivisionMethod)),
)
def test_a_split_cell_is_placed_if_any_set_holds_it(
    capacities: list[int], copies: int, replicas: int, method: DivisionMethod
) -> None:
    """One component: found exactly if enough is free on some set with one replica each."""
    planes = tuple(
        Plane(
            data_plane=f"plane-{index}",
            organization="acme",
            state=PlaneState.READY,
            capabilities=frozenset({CILIUM_POLICY}),
            allocatable={"cpu_millis": free},
        )
        for index, free in enumerate(capacities)
    )
    demand = Demand(
        cell="shop/dev",
        organization="acme",
        requirement=PlacementRequirement(copies=copies, division=Division(method=method)),
        components=(
            ComponentDemand(component="web", replicas=replicas, resources={"cpu_millis": 1}),
        ),
    )
    decision = decide(Snapshot(planes=planes), demand, Previous())
    usable = sorted((c for c in capacities if c), reverse=True)
    sizes = range(1, copies + 1) if method is DivisionMethod.PACK else [copies]
    possible = [n for n in sizes if len(usable) >= n <= replicas <= sum(usable[:n])]
    assert isinstance(decision, Placed) is bool(possible)
    if isinstance(decision, Placed):
        shares = dict(decision.shares)["web"]
        assert sum(n for _, n in shares) == replicas
        assert {name for name, _ in shares} == set(decision.data_planes)
        assert all(1 <= n <= capacities[int(name[-1])] for name, n in shares)
        if method is DivisionMethod.PACK:
            assert len(shares) == possible[0]


def test_a_trace_is_below_two_kilobytes_whatever_the_fleet() -> None:
    """A thousand planes with the longest names: what is stored is short, and reads back."""
    planes = tuple(
        Plane(
            data_plane=f"plane-{index:04}".ljust(63, "x"),
            organization="acme",
            state=PlaneState.READY if index % 2 else PlaneState.LOST,
            labels={"region": f"region-{index % 7}"},
            capabilities=frozenset({CILIUM_POLICY}),
        )
        for index in range(1000)
    )
    selector = LabelSelector(key="region", operator=Operator.EXISTS)
    demand = Demand(
        cell="organizations/acme/projects/shop/cells/production",
        organization="acme",
        requirement=PlacementRequirement(
            copies=5,
            spreads=(Spread(topology_key="region", min_groups=3),),
            preferences=(Preference(selector=selector, weight=3),),
        ),
    )
    trace = decide(Snapshot(planes=planes), demand, Previous()).trace
    stored = json.dumps(to_json(trace), sort_keys=True)
    assert len(stored.encode()) <= BYTES
    again = of_json(json.loads(stored))
    assert again.summary == trace.summary
    assert again.rules == trace.rules == (("STATE", 500),)
    assert trace.candidates[: len(again.candidates)] == again.candidates
    assert len(again.candidates) >= 5
